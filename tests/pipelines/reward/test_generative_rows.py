"""Rows: only what a judge wrote and what agrees with the label, twins as neighbours, balance measured."""

import pytest

pytest.importorskip("torch")
from her.types import Message  # noqa: E402
from pipelines.models.chat_template import ChatTemplate  # noqa: E402
from pipelines.models.loading import load_tokenizer  # noqa: E402
from pipelines.models.options import ModelOptions  # noqa: E402
from pipelines.reward.generative_heads import HEADS  # noqa: E402
from pipelines.reward.generative_rows import IGNORED, balance_of, balance_twins, choose_twins, grpo_rows, sft_rows  # noqa: E402
from pipelines.reward.labelled_pairs import as_preference, from_preferences  # noqa: E402
from tests.pipelines.reward.critiques_for_tests import DECIDED, PAIRS, critiques, turned  # noqa: E402
from tests.pipelines.reward.pairs_for_tests import SHAPE  # noqa: E402

HEAD = HEADS["pair"]


def test_faulty_critiques_are_left_out_and_counted() -> None:
    rows = critiques(DECIDED[:5])
    rows[0] = rows[0].model_copy(update={"text": turned(rows[0].text)})  # against the label, in one order
    rows[2] = rows[2].model_copy(update={"text": "I like A."})
    del rows[4]
    twins, left_out = choose_twins(rows, HEAD)
    assert [twin.pair.id for twin in twins] == [pair.id for pair in DECIDED[3:5]]
    assert left_out == {"other than the label": 1, "cannot be read": 1, "one side only": 1}
    assert twins[0].texts == (rows[5].text, rows[6].text)


def test_the_rows_train_the_text_and_its_end_and_nothing_else() -> None:
    twins, _ = choose_twins(critiques(), HEAD)
    texts = [text for twin in twins for text in twin.texts]
    template = ChatTemplate(load_tokenizer(ModelOptions(shape=SHAPE), texts))
    rows, left_out = sft_rows(template, HEAD, twins, "short", 10_000)
    assert not left_out and len(rows["input_ids"]) == 2 * len(twins) == 2 * len(PAIRS)
    for place, (ids, labels) in enumerate(zip(rows["input_ids"], rows["labels"], strict=True)):
        twin, side = twins[place // 2], "ab"[place % 2]
        trained = [token for token in labels if token != IGNORED]
        assert template.tokenizer.decode(trained) == f"{twin.texts[place % 2]}<|im_end|>\n"
        prompt = HEAD.messages(twin.pair, "a" if side == "a" else "b", "short")
        assert ids[: len(ids) - len(trained)] == template.ids(prompt, ask=True)
    longest = max(map(len, rows["input_ids"]))
    fewer, counted = sft_rows(template, HEAD, twins, "short", longest - 1)
    assert counted["too long"] >= 1 and len(fewer["input_ids"]) % 2 == 0


def test_balancing_reaches_its_shares_and_keeps_ties() -> None:
    twins, _ = choose_twins(critiques(), HEAD)
    longer = [twin for twin in twins if twin.pair.label == ("a" if len(twin.pair.a.raw) > len(twin.pair.b.raw) else "b")]
    ties = [twin for twin in twins if twin.pair.label == "tie"]
    skewed = [*longer, *ties, *[twin for twin in twins if twin not in longer and twin not in ties][:8]]
    before, kept = balance_of(skewed), balance_twins(skewed, mixed=0.0, length_gap=0.05, seed=0)
    after = balance_of(kept)
    assert before.longer_wins > 0.65 and 0.4 <= after.longer_wins <= 0.56
    assert sum(twin.pair.label == "tie" for twin in kept) == len(ties) and kept == balance_twins(
        skewed, mixed=0.0, length_gap=0.05, seed=0
    )
    one_sided = [twin for twin in twins if not twin.mixed] + [twin for twin in twins if twin.mixed][:1]
    assert balance_of(one_sided).mixed < 0.4 <= balance_of(balance_twins(one_sided, mixed=0.4, length_gap=0.5, seed=0)).mixed


def test_twins_are_neighbours_in_reinforcement_learning() -> None:
    rows = grpo_rows(HEAD, DECIDED[:3], "short")
    assert [(row["place"], row["side"]) for row in rows] == [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b")]
    assert rows[3]["prompt"] == [
        {"role": message.role, "content": message.content} for message in HEAD.messages(DECIDED[1], "b", "short")
    ]
    assert isinstance(Message(**rows[0]["prompt"][0]), Message)


def test_preferences_become_pairs_whose_better_side_is_drawn() -> None:
    preferences = [as_preference(pair) for pair in DECIDED]
    pairs = from_preferences(preferences, "votes")
    assert {pair.label for pair in pairs} == {"a", "b"}
    assert [pair.better for pair in pairs] == [preference.chosen for preference in preferences]
    assert pairs == from_preferences(preferences, "votes")
