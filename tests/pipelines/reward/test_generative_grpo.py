"""Reinforcement learning: the reward of a batch, with twins in it; TRL's own order of rows keeps twins together."""

from typing import Any

import pytest

from pipelines.reward.generative_grpo import twin_worths, verdict_reward
from pipelines.reward.generative_heads import HEADS
from pipelines.reward.options import GrpoOptions
from pipelines.reward.planted_critic import critique
from tests.pipelines.reward.critiques_for_tests import DECIDED, slot, turned

HEAD, STOP, END = HEADS["pair"], 2, [5, 2]
PAIRS = DECIDED[:2]


def batch(*rows: tuple[int, str, str, list[int]]) -> dict[str, Any]:
    """Return what TRL gives a reward function, of rows (place, side, text, token ids)."""
    return {
        "prompts": [],
        "completions": [[{"role": "assistant", "content": text}] for _, _, text, _ in rows],
        "completion_ids": [ids for *_, ids in rows],
        "place": [place for place, *_ in rows],
        "side": [side for _, side, *_ in rows],
    }


def right(place: int, side: str) -> str:
    return critique(PAIRS[place], slot(side))


def test_form_label_and_order_make_the_reward() -> None:
    logged: dict[str, float] = {}
    rows = [
        (0, "a", right(0, "a"), END),  # right, and the twin's answers agree half of the time
        (0, "a", turned(right(0, "a")), END),  # wrong; half of the twin's answers are wrong in the same way
        (0, "b", right(0, "b"), END),
        (0, "b", turned(right(0, "b")), END),
        (1, "a", "A is better.", END),
        (1, "a", right(1, "a"), END),
        (1, "b", right(1, "b"), [5, 5]),  # cut at the token limit: its end was never written
        (1, "b", right(1, "b"), END),
    ]
    reward = verdict_reward(HEAD, PAIRS, 0.4, STOP)
    assert reward(**batch(*rows), log_metric=logged.__setitem__) == pytest.approx([1.2, 0.2, 1.2, 0.2, 0, 1.2, 0, 1.2])
    assert logged["readable"] == 6 / 8 and logged["agreement"] == pytest.approx(4 / 6)


def test_a_constant_answer_earns_half_and_no_bonus() -> None:
    rows = []
    for side in ("a", "a", "b", "b"):
        text = right(0, side)
        rows.append((0, side, text if text.endswith("A") else turned(text), END))
    assert sum(verdict_reward(HEAD, PAIRS, 0.4, STOP)(**batch(*rows))) == 2


def test_a_twin_in_another_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="another batch"):
        twin_worths(HEAD, PAIRS, [0, 1, 1], ["a", "a", "b"], ["a", "a", "a"])


def test_rows_must_divide_the_answers_of_a_step() -> None:
    with pytest.raises(ValueError, match="take 8"):
        GrpoOptions(pairs=2, answers=8, rows=24)


@pytest.mark.whole
def test_every_batch_of_trl_holds_whole_pairs(tmp_path: Any) -> None:
    pytest.importorskip("trl")
    from pipelines.models.loading import load_tokenizer
    from pipelines.models.options import ModelOptions
    from pipelines.reward.generative_grpo import build_trainer
    from pipelines.reward.options import GenerativeOptions
    from tests.pipelines.reward.pairs_for_tests import SHAPE, options

    pairs = DECIDED[:7]
    texts = [message.content for pair in pairs for message in HEAD.messages(pair, "a", "short")]
    tokenizer = load_tokenizer(ModelOptions(shape=SHAPE), texts)
    grpo = GrpoOptions(steps=2, pairs=2, answers=2, rows=4, tokens=8)
    settings = options(generative=GenerativeOptions(grpo=grpo))
    trainer = build_trainer(settings, settings.model, tokenizer, pairs, tmp_path, "cpu")
    batches = [[(row["place"], row["side"]) for row in rows] for rows in trainer.get_train_dataloader()]
    assert batches and all(len(rows) == 8 for rows in batches)
    for rows in batches:
        assert sorted(rows) == sorted((place, side) for place in {at for at, _ in rows} for side in "aabb")
