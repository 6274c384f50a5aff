"""Play sessions in place of TRL's sampling: rows of turns with known answers and rewards (sessions.py)."""

import random
from collections.abc import Sequence
from typing import Any

from her.backends.base import Completion
from her.backends.open import open_backend
from her.rollouts.players import BackendPlayer, Player, PlayerRequest
from her.rollouts.rollout import PromptBudget
from her.types import Message, Sampling
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.loading import model_source
from pipelines.models.persona_chats import ASIDES
from pipelines.rl.options import RlOptions
from pipelines.rl.redrawing import Redrawing, Reward, RewardMemory, answer_message, flat_groups
from pipelines.rl.sessions import PlayedBatch, SessionPlayer, joined

VISITOR_TOKENS = 200
"""Most tokens of a visitor's line."""


class WrittenVisitor(Player):
    """Visitor who says written lines, such as "Go on."; needs no model."""

    async def answer(self, request: PlayerRequest) -> Completion:
        """Return a line that follows from the request's seed, in the language of the prompt."""
        chinese = any("\u3400" <= letter <= "\u9fff" for letter in request.messages[0].content[:200])
        line = random.Random(request.seed).choice(ASIDES["zh" if chinese else "en"])
        return Completion(text=f"{request.speaker}: {line}", finish="stop")


def session_player(options: RlOptions, tokenizer: Any) -> SessionPlayer:
    """Return the player of a run's sessions.

    Raises:
        InputError: `rollout.visitor` is no spec.
    """
    visitor: Player = WrittenVisitor()
    if spec := options.rollout.visitor:
        visitor = BackendPlayer(open_backend(spec, pipeline=True), Sampling(max_tokens=VISITOR_TOKENS))
    plans = options.reward is None or options.reward.plans

    def read(ids: Sequence[int]) -> str:
        return answer_message(tokenizer, ids)[0]["content"]

    template, room = ChatTemplate(tokenizer), tokens_of_context(options) - options.rollout.tokens
    budget = PromptBudget(room, lambda messages: len(template.ids(messages, ask=True)))
    return SessionPlayer(visitor, options.rollout.session_turns, plans, tokenizer.eos_token_id, read, budget)


def tokens_of_context(options: RlOptions) -> int:
    """Return the most positions of the policy."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_source(options.model), revision=options.model.revision or "main")
    return int(config.get_text_config().max_position_embeddings)


class SessionRollouts(Redrawing):
    """Sessions for one trainer; groups of sessions without different rewards are played again, then dropped.

    Args:
        reward: the one reward function; `memory`, `tries` and `most_dropped` as in `Redrawing`.
        player: plays and judges.
        template: of the policy.
    """

    def __init__(
        self,
        reward: Reward,
        memory: RewardMemory,
        tries: int,
        most_dropped: float,
        player: SessionPlayer,
        template: ChatTemplate,
    ) -> None:
        super().__init__(reward, memory, tries, most_dropped)
        self._player, self._template = player, template
        self._played = PlayedBatch([], [], [], [])

    def prepared(self, trainer: Any, inputs: Sequence[dict[str, Any]], size: int) -> Sequence[dict[str, Any]]:
        """Play and judge the sessions; return one row a turn."""
        self.begin(inputs, size)
        groups = [inputs[first : first + size] for first in range(0, len(inputs), size)]
        played = self._play(trainer, groups, size, 0)
        redrawn = 0
        for attempt in range(1, self._tries + 1):
            flat = [number for number, batch in enumerate(played) if flat_groups(batch.rewards[:size], size)]
            if not flat:
                break
            redrawn += len(flat)
            for number, batch in zip(flat, self._play(trainer, [groups[at] for at in flat], size, attempt), strict=True):
                played[number] = batch
        trainer._metrics["train"]["groups/redrawn"].append(redrawn / len(groups))
        self._played = joined(played)
        shares = self._played.shares
        trainer._metrics["train"]["sessions/turns"].append(sum(share > 0 for share in shares) / len(inputs))
        self.rewards = list(self._played.rewards)
        return self._played.inputs

    def sample(self, trainer: Any, prompt_ids: Sequence[Sequence[int]], draw: Any) -> tuple[Any, Any]:
        """Return the answers that were played."""
        return list(self._played.answers), None

    def drop_flat(self, trainer: Any, output: dict[str, Any]) -> None:
        """Give each turn its share of the session's advantage, mask turns that were never played, and drop flat groups."""
        import torch

        shares = torch.tensor(self._played.shares, device=output["advantages"].device)
        output["advantages"] = output["advantages"] * shares.reshape(-1, *[1] * (output["advantages"].dim() - 1))
        output["completion_mask"][shares == 0] = 0
        output["num_items_in_batch"] = trainer.accelerator.gather(output["completion_mask"].sum()).sum()
        super().drop_flat(trainer, output)

    def _play(self, trainer: Any, groups: Sequence[Sequence[dict[str, Any]]], size: int, attempt: int) -> list[PlayedBatch]:
        """Return the rows of each group."""

        def draw(prompts: Sequence[tuple[Message, ...]]) -> list[list[int]]:
            answers, _ = trainer.draw([self._template.ids(prompt, ask=True) for prompt in prompts], 1)
            return [list(ids) for ids in answers]

        def reward(**judged: Any) -> list[float | None]:
            return self._memory.ask(self._reward, trainer._log_metric, **judged)

        rows = [row for group in groups for row in group]
        seed = trainer.state.global_step * 1009 + attempt
        batch = self._player.play(rows, size, seed, draw, reward, trainer_state=trainer.state)
        each = len(batch.inputs) // len(groups)
        return [batch.rows(first, first + each) for first in range(0, len(batch.inputs), each)]
