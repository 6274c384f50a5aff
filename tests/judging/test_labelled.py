"""her/judging/labelled.py: preferences and rows of others become labelled pairs that favour no place; votes stay apart."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from her.errors import InputError
from her.files import jsonl
from her.format import parse
from her.judging.labelled import LabelledQuestion, majority, read_pair_rows, read_preferences, rows
from her.types import Comparison, Message, Outcome, Preference, Verdict

PROMPT = (Message(role="system", content="You are Mara."), Message(role="user", content="Tom: Was there post?"))


def preference(chosen: str = "Mara: No.", rejected: str = "Mara: Yes.", **fields: Any) -> Preference:
    verdict = fields.pop("verdict", Verdict(winner="a", judge="rule"))
    turns = [parse(text, "Mara") for text in (chosen, rejected)]
    return Preference(prompt=PROMPT, chosen=turns[0], rejected=turns[1], verdict=verdict, **fields)


def winner(pair: LabelledQuestion) -> str:
    """The words of the candidate that the label names."""
    assert pair.label in ("a", "b")
    return (pair.question.a if pair.label == "a" else pair.question.b).text("speech")


def test_the_chosen_candidate_wins_wherever_it_stands(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "p.jsonl", [preference(f"Mara: No, {number}.", f"Mara: Yes, {number}.") for number in range(60)])
    pairs = read_preferences(tmp_path / "p.jsonl").pairs
    assert len(pairs) == 60 and all(winner(pair).startswith("No") for pair in pairs)
    places = Counter(pair.label for pair in pairs)
    assert min(places["a"], places["b"]) > 15, "a judge that takes one place must not look good"


def test_rows_that_share_an_id_are_two_conversations(tmp_path: Path) -> None:
    row = {"prompt": "Was there post?", "chosen": "No.", "rejected": "Yes."}
    joined = [{"id": 0, **row}, {"id": 0, **row, "chosen": "Never."}, {"id": 0, "subset": "other", **row}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, joined)), "utf-8")
    pairs = read_pair_rows(tmp_path / "rows.jsonl").pairs
    assert len({pair.conversation for pair in pairs}) == 3 and len({(pair.dimension, pair.question.id) for pair in pairs}) == 3


def test_votes_on_one_pair_are_one_pair_with_its_majority(tmp_path: Path) -> None:
    votes = [preference(rater=f"rater:{number}") for number in range(2)]
    votes.append(preference("Mara: Yes.", "Mara: No.", rater="rater:2"))
    jsonl.write(tmp_path / "p.jsonl", votes)
    (pair,) = read_preferences(tmp_path / "p.jsonl").pairs
    assert winner(pair) == "No." and Counter(pair.votes) == {pair.label: 2, "b" if pair.label == "a" else "a": 1}
    jsonl.write(tmp_path / "p.jsonl", votes[1:])
    (undecided,) = read_preferences(tmp_path / "p.jsonl").pairs
    assert undecided.label is None and len(undecided.votes) == 2


def test_the_dimension_is_the_one_on_which_they_differ(tmp_path: Path) -> None:
    names: list[tuple[str, Outcome]] = [("voice", "a"), ("pace", "tie")]
    one = tuple(Comparison(principle=name, winner=won) for name, won in names if won != "both_bad")
    two = tuple(each.model_copy(update={"winner": "a"}) for each in one)
    verdicts = [Verdict(winner="a", judge="j", comparisons=each) for each in (one, two)]
    jsonl.write(
        tmp_path / "p.jsonl",
        [preference(f"Mara: {number}.", verdict=verdict, conversation="c") for number, verdict in enumerate(verdicts)],
    )
    assert [(pair.dimension, pair.conversation) for pair in read_preferences(tmp_path / "p.jsonl").pairs] == [
        ("voice", "c"),
        ("", "c"),
    ]


def test_a_tie_stays_a_tie(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "p.jsonl", [preference(verdict=Verdict(winner="tie", judge="j"))])
    assert read_preferences(tmp_path / "p.jsonl").pairs[0].label == "tie"


def test_rows_of_reward_bench_are_read_with_their_subset(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "subset": "safety",
        "prompt": "Was there post?",
        "chosen": "No.",
        "rejected": [{"role": "assistant", "content": "Yes."}],
    }
    for name, text in (("rows.json", json.dumps([row])), ("rows.jsonl", json.dumps(row) + "\n\n")):
        (tmp_path / name).write_text(text)
        (pair,) = read_pair_rows(tmp_path / name).pairs
        assert winner(pair) == "No." and (pair.dimension, pair.question.id, pair.conversation) == ("safety", "7", "safety 7")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[{"prompt": "p", "chosen": "", "rejected": "x"}]', "row 1 is no pair: .*'chosen' is missing or empty"),
        ('[{"prompt": 7, "chosen": "a", "rejected": "x"}]', "row 1 is no pair"),
        ('[{"prompt": "p", "chosen": "a", "rejected": "x", "margin": NaN}]', r"row 1 is no pair: margin: [^\n]+; give prompt"),
        ('[{"prompt": "p", "chosen": "a", "rejected": "b"}, 5]', "is no list of JSON objects"),
        ('{"a": 1}\n{"a": ', "line 2 is not JSON"),
        ("[1, 2", "is no list of JSON objects"),
    ],
    ids=["empty answer", "prompt of a wrong kind", "margin that is no number", "a number", "cut line", "cut list"],
)
def test_what_is_no_pair_is_refused_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_pair_rows(tmp_path / "rows.jsonl")


def test_a_table_is_read_by_its_heads(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("\ufeffwinner,model_a\nA,x\n", "utf-8")
    assert rows(tmp_path / "votes.csv") == [{"winner": "A", "model_a": "x"}]
    with pytest.raises(InputError, match="cannot be read"):
        rows(tmp_path / "none.json")


def test_no_majority_is_none() -> None:
    assert majority(["a", "b"]) is None and majority([]) is None and majority(["a", "b", "a"]) == "a"


def test_separators_inside_a_text_do_not_end_its_line(tmp_path: Path) -> None:
    texts = ["one\u2028two", "one\u0085two", "one\u2029two"]
    lines = [json.dumps({"prompt": "p", "chosen": text, "rejected": "r"}, ensure_ascii=False) for text in texts]
    (tmp_path / "p.jsonl").write_text("\r\n".join(lines), "utf-8", newline="")
    assert [row["chosen"] for row in rows(tmp_path / "p.jsonl")] == texts


def test_a_huge_turn_in_a_table_is_read_whole(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)  # the module's own
    (tmp_path / "p.csv").write_text(f'prompt,chosen,rejected\np,"{"x" * 200_000}\nend",r\n', "utf-8")
    assert len(rows(tmp_path / "p.csv")[0]["chosen"]) == 200_004


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}\n" + '{"a":' * 100_000, "line 2 is nested too deeply"),
        ("[" * 100_000, "is no list of JSON objects"),
    ],
)
def test_deep_nesting_is_refused_in_a_sentence(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "p.jsonl").write_text(text, "utf-8")
    with pytest.raises(InputError, match=reason):
        rows(tmp_path / "p.jsonl")


def test_a_prompt_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": 3, "chosen": "c", "rejected": "r"}', "utf-8")
    with pytest.raises(InputError, match="'prompt' is 3; give a text or a list of messages"):
        read_pair_rows(tmp_path / "p.jsonl")
