"""Ask for rewards while sampling, draw flat groups again, drop those that stay flat, and remember every reward.

A group whose rewards are all equal or missing has no advantage. It is drawn again at most `tries` times; after that its answers
leave the loss, its normaliser included, and a step of which more than `most_dropped` is lost stops the run. A reward that
was given once is kept in the run's folder, so that a run which was killed asks no judge twice.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from her.errors import HerError
from her.files import atomic as files
from her.rewards import ROUNDING

log = logging.getLogger(__name__)
Reward = Callable[..., "list[float | None]"]
"""A reward function with TRL's signature: prompts, completions, completion_ids and the columns of the data set."""


class RewardMemory:
    """Rewards that were asked for, by what was judged; one line of JSON for each call.

    Args:
        path: file in the run's folder; lines of an earlier start are read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        for line in _whole_lines(path):
            self._known[line["key"]] = line

    def ask(self, reward: Reward, report: Callable[[str, float], None], **judged: Any) -> list[float | None]:
        """Return the rewards of a call, from the file when the same was judged before; metrics are reported in both cases."""
        key = _key(judged)
        if key not in self._known:
            metrics: list[tuple[str, float]] = []
            rewards = reward(**judged, log_metric=lambda name, value: metrics.append((name, float(value))))
            line = {"key": key, "rewards": list(rewards), "metrics": metrics}
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")
            self._known[key] = line
        for name, value in self._known[key]["metrics"]:
            report(name, value)
        found: list[float | None] = self._known[key]["rewards"]
        return found


class Redrawing:
    """Draws answers with their rewards for one trainer; see the module.

    Args:
        reward: the one reward function.
        tries: how often a flat group is drawn again.
        most_dropped: share of a step's groups that may stay flat.
    """

    def __init__(self, reward: Reward, memory: RewardMemory, tries: int, most_dropped: float) -> None:
        self._reward, self._memory, self._tries, self._most_dropped = reward, memory, tries, most_dropped
        self._inputs: Sequence[dict[str, Any]] = ()
        self._size = 1
        self.rewards: list[float | None] | None = None

    def begin(self, inputs: Sequence[dict[str, Any]], size: int) -> None:
        """Take the rows of the data set, one an answer, that are sampled next."""
        self._inputs, self._size, self.rewards = inputs, size, None

    def prepared(self, trainer: Any, inputs: Sequence[dict[str, Any]], size: int) -> Sequence[dict[str, Any]]:
        """Return the rows that TRL samples for, after `begin`; sessions put a row for each turn in their place."""
        self.begin(inputs, size)
        return inputs

    def sample(self, trainer: Any, prompt_ids: Sequence[Sequence[int]], draw: Callable[..., Any]) -> tuple[Any, Any]:
        """Return answers and their log-probabilities (None without vLLM); `rewards` has their rewards then."""
        answers, logprobs = draw(prompt_ids)
        answers, logprobs = list(answers), None if logprobs is None else list(logprobs)
        rewards = self._ask(trainer, range(len(answers)), answers)
        redrawn = 0
        for _ in range(self._tries if _draws_alone(trainer) else 0):
            places = [place for group in flat_groups(rewards, self._size) for place in self._places(group)]
            if not places:
                break
            redrawn += len(places) // self._size
            fresh, fresh_logprobs = draw([prompt_ids[place] for place in places])
            for place, answer, value in zip(places, fresh, self._ask(trainer, places, fresh), strict=True):
                answers[place], rewards[place] = answer, value
            if logprobs is not None:
                for place, one in zip(places, fresh_logprobs, strict=True):
                    logprobs[place] = one
        trainer._metrics["train"]["groups/redrawn"].append(redrawn * self._size / len(answers))
        self.rewards = rewards
        return answers, logprobs

    def drop_flat(self, trainer: Any, output: dict[str, Any]) -> None:
        """Take flat groups out of the loss of a sampled batch.

        Raises:
            HerError: more than `most_dropped` of all groups of the step are flat.
        """
        import torch

        rewards = self.rewards or []
        dropped = flat_groups(rewards, self._size)
        groups = len(rewards) // self._size
        gather, device = trainer.accelerator.gather, trainer.accelerator.device
        lost, drawn = gather(torch.tensor([[len(dropped), groups]], device=device)).sum(0).tolist()
        trainer._metrics["train"]["groups/dropped"].append(lost / drawn)
        if lost > self._most_dropped * drawn:
            missing = sum(reward is None for reward in rewards)
            raise HerError(
                f"{lost} of {drawn} groups of step {trainer.state.global_step + 1} have equal or missing rewards after "
                f"{self._tries} more tries ({missing} rewards are missing), and at most {self._most_dropped:.0%} may; the run "
                "ended after its last checkpoint. Use prompts on which answers differ, a reward with more levels, a higher "
                "temperature, or mend the reward service, and start it again"
            )
        for group in dropped:
            output["completion_mask"][self._places(group)] = 0
        if dropped or lost:
            output["num_items_in_batch"] = gather(output["completion_mask"].sum()).sum()

    def _places(self, group: int) -> list[int]:
        return list(range(group * self._size, (group + 1) * self._size))

    def _ask(self, trainer: Any, places: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float | None]:
        inputs = [self._inputs[place] for place in places]
        columns = {name: [row[name] for row in inputs] for name in inputs[0] if name not in ("completion", "completion_ids")}
        rewards = self._memory.ask(
            self._reward,
            trainer._log_metric,
            prompts=columns.pop("prompt"),
            completions=[answer_message(trainer.processing_class, ids) for ids in answers],
            completion_ids=[list(ids) for ids in answers],
            trainer_state=trainer.state,
            **columns,
        )
        if len(rewards) != len(answers):
            raise HerError(f"the reward function returned {len(rewards)} rewards for {len(answers)} answers; it gives one each")
        return list(rewards)


def flat_groups(rewards: Sequence[float | None], size: int) -> list[int]:
    """Return the groups whose rewards are all equal, or of which fewer than two are known."""
    flat = []
    for group in range(len(rewards) // size):
        known = [reward for reward in rewards[group * size : (group + 1) * size] if reward is not None]
        if len(known) < 2 or max(known) - min(known) <= ROUNDING * max(1.0, max(map(abs, known))):
            flat.append(group)
    return flat


def answer_message(tokenizer: Any, ids: Sequence[int]) -> list[dict[str, str]]:
    """Return an answer as a message without its stop token; other special tokens stay, so that the format gate sees them."""
    kept = list(ids)
    if tokenizer.eos_token_id in kept:
        kept = kept[: kept.index(tokenizer.eos_token_id)]
    text = tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return [{"role": "assistant", "content": text}]


def _draws_alone(trainer: Any) -> bool:
    """Return whether a process can sample without the others; sharded weights and vLLM need all of them at once."""
    together = trainer.use_vllm or trainer._dist.is_fsdp or trainer._dist.is_zero3
    return trainer.accelerator.num_processes == 1 or not together


def _key(judged: dict[str, Any]) -> str:
    kept = {name: value for name, value in judged.items() if name != "trainer_state"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of the file; a last line that a kill cut is deleted."""
    if not path.is_file():
        return
    text = path.read_text("utf-8")
    if not text.endswith("\n") and text:
        text = text[: text.rfind("\n") + 1]
        with files.replacing(path) as part:
            part.write(text)
    for line in text.splitlines():
        yield json.loads(line)
