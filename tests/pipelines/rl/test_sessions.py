"""pipelines/rl/sessions.py: one row a turn with its own prompt, its session's reward, and its share of the advantage."""

from collections.abc import Sequence
from typing import Any

import pytest

from her.errors import InputError
from her.types import CastMember, Message, Scenario, Transcript
from pipelines.rl.prompts import RolloutPrompt
from pipelines.rl.sessions import SessionPlayer, session_rows
from tests.rollouts.test_rollout import Visitor

STOP = 9
TEXTS = {
    1: "<system_thinking>Plan.</system_thinking>Mara: Good evening.",
    2: "<system_thinking>Plan.</system_thinking>Mara: Well met.",
    3: "Mara: No plan.",
}


def rows(*names: str) -> list[dict[str, Any]]:
    from her.format import plain_turn

    cast = (CastMember(name="Mara"), CastMember(name="Tom"))
    prompts = [
        RolloutPrompt(
            id=name,
            messages=(Message(role="user", content=name),),
            speaker="Mara",
            start=Transcript(scenario=Scenario(id="s"), cast=cast, turns=(plain_turn("Tom", f"Hello from {name}."),)),
        )
        for name in names
    ]
    return session_rows(prompts)


class Policy:
    """Draws the given tokens, session by session, and keeps its prompts."""

    def __init__(self, *drawn: list[int]) -> None:
        self.drawn, self.prompts = list(drawn), 0

    def __call__(self, prompts: Sequence[tuple[Message, ...]]) -> list[list[int]]:
        self.prompts += len(prompts)
        return [[self.drawn.pop(0)[0], STOP] for _ in prompts]


def player(visitor: Visitor, turns: int = 2) -> SessionPlayer:
    return SessionPlayer(visitor, turns, True, STOP, lambda ids: TEXTS[ids[0]])


def test_rows_are_turns_in_groups_of_one_turn_number() -> None:
    seen: dict[str, Any] = {}

    def reward(**judged: Any) -> list[float | None]:
        seen.update(judged)
        return [1.0, -1.0]

    policy = Policy([1], [2], [2], [1])
    batch = player(Visitor()).play(rows("a") * 2, 2, 0, policy, reward, extra=5)
    assert [ids[0] for ids in batch.answers] == [1, 2, 2, 1] and batch.rewards == [1.0, -1.0, 1.0, -1.0]
    assert batch.shares == [0.5] * 4 and policy.prompts == 4 and seen["extra"] == 5 and seen["fault"] == ["", ""]
    first, second, third, fourth = (row["prompt"] for row in batch.inputs)
    assert first == second and third != fourth and "Good evening" in str(third) and "Well met" in str(fourth)
    assert "Plan." not in str(third) and "And then 1?" in seen["completions"][0][0]["content"]


def test_a_malformed_session_is_short_and_its_missing_turns_are_masked() -> None:
    def reward(**judged: Any) -> list[float | None]:
        assert judged["fault"] == ["", "plan_missing"]
        return [1.0, -1.0]

    batch = player(Visitor(), 3).play(rows("a") * 2, 2, 0, Policy([1], [3], [1], [2]), reward)
    assert batch.shares == pytest.approx([1 / 3, 1.0, 1 / 3, 0.0, 1 / 3, 0.0])
    assert batch.rewards == [1.0, -1.0] * 3 and batch.answers[3] == batch.answers[5] == [STOP]


def test_a_session_that_its_visitor_ended_has_no_reward() -> None:
    batch = player(Visitor(fails="from b")).play(rows("a", "b"), 2, 0, Policy([1], [1], [2]), lambda **_: [1.0, 1.0])
    assert batch.rewards == [1.0, None, 1.0, None]


def test_prompts_without_a_chat_before_them_are_refused() -> None:
    lone = RolloutPrompt(id="x", messages=(Message(role="user", content="x"),), speaker="Mara")
    with pytest.raises(InputError, match="can begin a session"):
        session_rows([lone])


@pytest.mark.whole
def test_a_trainer_learns_from_sessions(tmp_path: Any) -> None:
    """Two steps with TRL over sessions of 3 turns: each row has its own prompt and a third of the session's advantage."""
    pytest.importorskip("trl")
    from datasets import Dataset

    from pipelines.models.chat_template import ChatTemplate
    from pipelines.rl.redrawing import RewardMemory
    from pipelines.rl.session_rollouts import SessionRollouts, WrittenVisitor
    from tests.pipelines.rl.groups import SIZE, make_trainer
    from tests.tiny import make_tiny

    folder = make_tiny(tmp_path / "tiny", context=2048)
    trainer = make_trainer(folder, gradient_accumulation_steps=1)
    trainer.train_dataset = Dataset.from_list(rows("a", "b"))
    judged: list[int] = []

    def reward(**given: Any) -> list[float | None]:
        judged.append(len(given["completions"]))
        return [float(number % SIZE) for number in range(len(given["completions"]))]

    tokenizer = trainer.processing_class
    texts = iter(range(10**6))
    told = SessionPlayer(WrittenVisitor(), 3, False, tokenizer.eos_token_id, lambda ids: f"Mara: Line {next(texts)}.")
    trainer.redrawing = SessionRollouts(reward, RewardMemory(tmp_path / "judged.jsonl"), 2, 0.5, told, ChatTemplate(tokenizer))
    eos = tokenizer.eos_token_id
    trainer.draw = lambda prompts, size: ([[40 + len(prompt) % 7, 41, eos] for prompt in prompts], None)
    seen: list[Any] = []
    compute = trainer._compute_loss

    def spied(model: Any, inputs: Any) -> Any:
        seen.append(inputs)
        return compute(model, inputs)

    trainer._compute_loss = spied
    trainer.train()
    assert judged == [2 * SIZE] * 2 and trainer.state.global_step == 2
    advantages = seen[0]["advantages"]
    assert len(advantages) == 2 * SIZE * 3 and float(advantages.abs().max()) < 0.5
    assert float(advantages.sum()) == pytest.approx(0, abs=1e-4)
    assert len({tuple(ids) for ids in seen[0]["prompt_ids"].tolist()}) == 2 * (1 + 2 * SIZE)
