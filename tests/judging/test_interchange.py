"""her/judging/interchange.py: what is written in another layout is read back, and foreign rows are read or refused."""

import json
from typing import Any

import pytest

from her.errors import InputError
from her.format import parse
from her.judging.interchange import from_her_verdict, from_pair_row, from_verl, to_her_verdict, to_pair_row, to_verl
from her.judging.judge import PairQuestion
from her.judging.principles import load_principles
from her.types import Comparison, Message, Outcome, Preference, Turn, Verdict

PROMPT = (Message(role="system", content="You are Mara."), Message(role="user", content="Tom: Post?"))
PRINCIPLES = {principle.id: principle for principle in load_principles()}
VERDICT = Verdict(
    comparisons=(
        Comparison(principle="thought-spoken", winner="a", reason="b tells", degree="clear", evidence=("A letter came",)),
        Comparison(principle="repeats-itself", winner="tie", reason="neither"),
    ),
    winner="a",
    reason="a keeps the secret",
    judge="test",
)


def preference() -> Preference:
    chosen = parse("<system_thinking>Hide it.</system_thinking>Mara: <role_action>turns</role_action>No post.", "Mara")
    rejected = parse("Mara: A letter came.", "Mara")
    return Preference(prompt=PROMPT, chosen=chosen, rejected=rejected, verdict=VERDICT, margin=0.5, weight=0.8, conversation="c1")


def visible(turn: Turn) -> list[Any]:
    return [part for part in turn.parts if part.kind != "system_thinking"]


@pytest.mark.parametrize("winner", ["a", "b", "tie", "both_bad"])
def test_her_verdicts_make_the_round_trip(winner: Outcome) -> None:
    pair = preference()
    verdict = VERDICT.model_copy(update={"winner": winner})
    row = json.loads(json.dumps(to_her_verdict(PairQuestion("q", PROMPT, pair.chosen, pair.rejected), verdict, PRINCIPLES)))
    assert from_her_verdict(row, "test") == verdict
    answer = row["result"][0]
    assert "Hide it" not in answer["cand_1"] and answer["better_response"] in ("cand_1", "cand_2", "tie")
    assert answer["principle"]["Principle 1"]["dimension_name"] == "layers"
    assert answer["principle"]["Principle 2"]["principle_level"] == "session"


@pytest.mark.parametrize(
    "row",
    [{}, {"result": []}, {"result": ["x"]}, {"result": [{"better_response": "cand_3"}]}, {"result": [{}]}],
)
def test_a_her_verdict_without_a_winner_is_refused(row: Any) -> None:
    with pytest.raises(InputError, match="HER verdict"):
        from_her_verdict(row, "test")


def test_verl_rows_hold_both_orders_with_the_right_letter() -> None:
    pair, orders = preference(), ("a", "b")
    rows = [to_verl(pair, first, "p1", index, "Mara") for index, first in enumerate(orders)]  # type: ignore[arg-type]
    assert [row["reward_model"]["ground_truth"] for row in rows] == ["a", "b"]
    assert all(set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"} for row in rows)
    assert all([message["role"] for message in row["prompt"]] == ["system", "user"] for row in rows)
    chosen = rows[1]["prompt"][1]["content"].partition("===Candidate B===")[2]
    assert "No post." in chosen and "Hide it" not in rows[0]["prompt"][1]["content"]
    assert "===Principles===" not in rows[0]["prompt"][0]["content"]
    assert from_verl(json.loads(json.dumps(rows[1]))) == (pair, "b")
    with pytest.raises(InputError, match="data_source is 'gsm8k'"):
        from_verl({"data_source": "gsm8k"})


def test_pair_rows_make_the_round_trip_without_plans() -> None:
    row = json.loads(json.dumps(to_pair_row(preference(), "p1")))
    assert row["chosen"][0]["role"] == "assistant" and "Hide it" not in json.dumps(row)
    again = from_pair_row(row)
    assert visible(again.chosen) == visible(preference().chosen) and visible(again.rejected) == visible(preference().rejected)
    assert (again.prompt, again.verdict, again.margin, again.weight, again.conversation) == (PROMPT, VERDICT, 0.5, 0.8, "c1")


def test_foreign_pair_rows_are_read() -> None:
    found = from_pair_row({"id": 7, "prompt": "Hello?", "chosen": "Hi there.", "rejected": "No."})
    assert found.prompt == (Message(role="user", content="Hello?"),)
    assert found.chosen.text("speech") == "Hi there." and found.verdict.winner == "a"
    for side in ("chosen", "rejected"):
        row = {"id": 7, "prompt": "Hello?", "chosen": "Hi there.", "rejected": "No.", side: " "}
        with pytest.raises(InputError, match=f"'{side}' is missing or empty"):
            from_pair_row(row)
