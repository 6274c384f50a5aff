"""pipelines/rl/redrawing.py: flat groups are drawn again, counted and dropped; no judge is asked twice."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from her.errors import HerError
from pipelines.rl.redrawing import Redrawing, RewardMemory, flat_groups

SIZE = 2
PROMPTS = [[1, 2], [1, 2], [3], [3], [4], [4]]
INPUTS = [{"prompt": [{"role": "user", "content": str(ids)}], "id": str(ids)} for ids in PROMPTS]


class Words:
    """Stands for a tokenizer: an id is its own text, 0 ends an answer."""

    eos_token_id = 0

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return " ".join(map(str, ids))


def make_trainer() -> Any:
    accelerator = SimpleNamespace(num_processes=1, device="cpu", gather=lambda tensor: tensor)
    return SimpleNamespace(
        processing_class=Words(),
        accelerator=accelerator,
        use_vllm=False,
        _dist=SimpleNamespace(is_fsdp=False, is_zero3=False),
        _metrics={"train": defaultdict(list)},
        _log_metric=lambda name, value: None,
        state=SimpleNamespace(global_step=4),
    )


class Draws:
    """Draws answers whose first token says its reward; every draw of a prompt takes the next of its list."""

    def __init__(self, **answers: Sequence[int]) -> None:
        self._left = {int(name[1:]): list(values) for name, values in answers.items()}
        self.asked: list[int] = []

    def __call__(self, prompts: Sequence[Sequence[int]]) -> tuple[list[list[int]], None]:
        self.asked.append(len(prompts))
        return [[self._left[prompt[0]].pop(0), 0] for prompt in prompts], None


def reward(completions: Any, **_: Any) -> list[float | None]:
    values = [float(completion[0]["content"]) for completion in completions]
    return [None if value == 9 else value for value in values]


def sample(tmp_path: Path, draws: Draws, tries: int = 2, most: float = 0.5) -> tuple[Redrawing, Any, list[list[int]]]:
    trainer = make_trainer()
    redrawing = Redrawing(reward, RewardMemory(tmp_path / "judged.jsonl"), tries, most)
    redrawing.begin(INPUTS, SIZE)
    answers, _ = redrawing.sample(trainer, PROMPTS, draws)
    return redrawing, trainer, answers


def test_only_flat_groups_are_drawn_again_and_at_most_twice(tmp_path: Path) -> None:
    draws = Draws(_1=[1, 2], _3=[5, 5, 5, 6], _4=[9, 9, 9, 9, 7, 7])
    redrawing, trainer, answers = sample(tmp_path, draws)
    assert draws.asked == [6, 4, 2]
    assert redrawing.rewards == [1, 2, 5, 6, 7, 7] and answers[2:4] == [[5, 0], [6, 0]]
    assert trainer._metrics["train"]["groups/redrawn"] == [1.0]


def test_flat_groups_leave_the_loss_and_its_normaliser(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    redrawing, trainer, _ = sample(tmp_path, Draws(_1=[1, 2], _3=[5, 5], _4=[3, 4]), tries=0)
    output = {"completion_mask": torch.ones(6, 2, dtype=torch.long), "num_items_in_batch": torch.tensor(12)}
    redrawing.drop_flat(trainer, output)
    assert output["completion_mask"].sum(1).tolist() == [2, 2, 0, 0, 2, 2] and int(output["num_items_in_batch"]) == 8
    assert trainer._metrics["train"]["groups/dropped"] == [1 / 3]


def test_a_step_that_loses_more_than_half_stops_the_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    redrawing, trainer, _ = sample(tmp_path, Draws(_1=[1, 2], _3=[5, 5], _4=[9, 9]), tries=0)
    output = {"completion_mask": torch.ones(6, 2), "num_items_in_batch": torch.tensor(12)}
    with pytest.raises(HerError, match=r"2 of 3 groups of step 5 .* \(2 rewards are missing\)"):
        redrawing.drop_flat(trainer, output)


def test_what_was_judged_is_not_asked_again_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    calls: list[int] = []

    def judge(**judged: Any) -> list[float | None]:
        calls.append(1)
        judged["log_metric"]("judge/seconds", 2.0)
        return [1.0, None]

    seen: list[tuple[str, float]] = []
    words = {"prompts": ["a", "a"], "completions": ["b", "c"], "trainer_state": object()}
    for _ in range(2):
        assert RewardMemory(path).ask(judge, lambda name, value: seen.append((name, value)), **words) == [1.0, None]
    assert calls == [1] and seen == [("judge/seconds", 2.0)] * 2
    RewardMemory(path).ask(judge, lambda name, value: None, **{**words, "completions": ["b", "d"]})
    assert len(calls) == 2


def test_a_line_that_a_kill_cut_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    memory = RewardMemory(path)
    memory.ask(lambda **_: [1.0], lambda name, value: None, prompts=["a"])
    whole = path.read_text()
    path.write_text(whole + whole[:20])
    RewardMemory(path).ask(lambda **_: [2.0], lambda name, value: None, prompts=["b"])
    assert len(path.read_text().splitlines()) == 2
    assert RewardMemory(path).ask(lambda **_: [5.0], lambda name, value: None, prompts=["b"]) == [2.0]


def test_a_reward_function_that_answers_for_another_number_is_refused(tmp_path: Path) -> None:
    redrawing = Redrawing(lambda **_: [1.0], RewardMemory(tmp_path / "judged.jsonl"), 0, 1)
    redrawing.begin(INPUTS, SIZE)
    with pytest.raises(HerError, match="1 rewards for 6 answers"):
        redrawing.sample(make_trainer(), PROMPTS, Draws(_1=[1, 2], _3=[5, 5], _4=[3, 4]))


@pytest.mark.parametrize(
    ("rewards", "flat"), [([1, 1, 1, 2], [0]), ([None, 1, None, None], [0, 1]), ([None, 1, 2, 3], [0]), ([0.1 + 0.2, 0.3], [0])]
)
def test_groups_without_a_difference_are_found(rewards: list[float | None], flat: list[int]) -> None:
    assert flat_groups(rewards, 2) == flat
