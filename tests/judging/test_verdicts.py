"""her/judging/verdicts.py: answers of judges in two tables, readable and unreadable, and the joining of orders."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.judging.verdicts import in_candidates, join_orders, read_verdict
from her.types import Outcome, Verdict

FIRST = "He must not know. No post today, Tom."
SECOND = "A letter came. (She smiles “sweetly”.) 今天没有信。"
LINE = '- [thought-spoken] A: "No post today" B: "A letter came" -> A (clear): B says what it hides.'

READABLE: list[tuple[str, Outcome]] = [
    (f"{LINE}\nVerdict: A", "a"),
    (f"{LINE}\n**Verdict: B**", "b"),
    (f"{LINE}\n\n### Final verdict: Candidate A.", "a"),
    ("Verdict: tie", "tie"),
    ("verdict - a tie", "tie"),
    ("Overall verdict is: B", "b"),
    ("Verdict: both bad", "both_bad"),
    ("Winner: neither is acceptable", "both_bad"),
    ("裁决：A", "a"),
    ("裁决：都不行。", "both_bad"),
    ("结论：平局", "tie"),
    ("<think>Verdict: A? No.\nVerdict: A</think>\nVerdict: B", "b"),
    ("Verdict: A\nVerdict: A", "a"),
    ("Verdict: `B`\n\n", "b"),
    ("Verdict: [A]", "a"),
]
UNREADABLE = [
    ("", "no line"),
    ("I think that candidate A is better.", "no line"),
    ("The verdict must wait, because A and B", "no line"),
    ("Verdict: A and B", "is none of"),
    ("Verdict: C", "is none of"),
    ("Verdict: A, though B is close", "is none of"),
    ("Verdict: {winner}", "is none of"),
    ("Verdict: A\nOn second thought:\nVerdict: B", "contradict"),
    ("Verdict: A\nVerdict: whatever", "contradict"),
    (LINE, "no line"),
    ('- [x] A: "never said" -> A (clear): made up\nVerdict: A', "none of the quotes"),
]


@pytest.mark.parametrize(("text", "outcome"), READABLE)
def test_a_readable_answer(text: str, outcome: Outcome) -> None:
    reading = read_verdict(text, FIRST, SECOND)
    assert (reading.outcome, reading.problem) == (outcome, "")


@pytest.mark.parametrize(("text", "problem"), UNREADABLE)
def test_an_unreadable_answer_is_missing(text: str, problem: str) -> None:
    reading = read_verdict(text, FIRST, SECOND)
    assert reading.outcome is None and problem in reading.problem


def test_a_line_is_read_with_its_evidence() -> None:
    (comparison,) = read_verdict(f"{LINE}\nVerdict: A", FIRST, SECOND).comparisons
    assert comparison.principle == "thought-spoken" and comparison.winner == "a" and comparison.degree == "clear"
    assert comparison.evidence == ("No post today", "A letter came")
    assert comparison.reason == "B says what it hides."


@pytest.mark.parametrize(
    ("quote", "kept"),
    [
        ("no post TODAY, tom", True),
        ("He must not know. No post today", True),
        ("今天没有信", True),
        ("She smiles sweetly", True),
        ("No letters today", False),
        ("...", False),
    ],
    ids=["case and marks", "across layers", "Chinese", "inner quotes", "changed word", "no letters"],
)
def test_only_quotes_that_stand_in_a_candidate_are_evidence(quote: str, kept: bool) -> None:
    reading = read_verdict(f"1. [own-voice] A: “{quote}” → B: livelier\nVerdict: B", FIRST, SECOND)
    assert (len(reading.comparisons), reading.unsupported) == ((1, 0) if kept else (0, 1))
    assert (reading.outcome == "b") is kept


@pytest.mark.parametrize("mark", ['":"', '"A"', '"，"'])
def test_a_quotation_of_one_character_does_not_shift_the_others(mark: str) -> None:
    text = f'- [own-voice] A ends with {mark} but says "No post today" and B "never said" -> A: plainer\nVerdict: A'
    reading = read_verdict(text, FIRST, SECOND)
    assert reading.outcome == "a" and reading.comparisons[0].evidence == ("No post today",)


def test_supported_lines_carry_a_verdict_that_also_has_an_invented_quote() -> None:
    text = f'{LINE}\n- [own-voice] A: "never said" -> B (slight): invented\nVerdict: A'
    reading = read_verdict(text, FIRST, SECOND)
    assert reading.outcome == "a" and reading.unsupported == 1 and len(reading.comparisons) == 1


def test_a_tie_has_no_degree_and_the_last_line_of_a_principle_counts() -> None:
    text = f'{LINE}\n- [thought-spoken] "No post today" -> tie (clear): both hold\nVerdict: tie'
    (comparison,) = read_verdict(text, FIRST, SECOND).comparisons
    assert (comparison.winner, comparison.degree) == ("tie", None)


@given(st.text(max_size=300))
def test_any_text_is_an_outcome_or_a_problem(text: str) -> None:
    reading = read_verdict(text, FIRST, SECOND)
    assert (reading.outcome is None) == bool(reading.problem)


def test_a_huge_answer_is_read_in_linear_time() -> None:
    began = time.process_time()
    text = "- [" * 60_000 + "\n" + '- [x] "a" -> ' * 20_000 + "\n" + LINE + "\nVerdict: B"
    assert read_verdict(text, FIRST, SECOND).outcome == "b"
    assert time.process_time() - began < 5


def test_slots_become_candidates() -> None:
    reading = read_verdict(f"{LINE}\nVerdict: A", FIRST, SECOND)
    assert reading.outcome == "a"
    assert in_candidates("a", reading.comparisons, "a") == ("a", reading.comparisons)
    outcome, (comparison,) = in_candidates("a", reading.comparisons, "b")
    assert outcome == "b" and comparison.winner == "b"
    assert in_candidates("both_bad", (), "b") == ("both_bad", ())
    assert in_candidates("tie", (), "b") == ("tie", ())


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [("a", "a", "a"), ("a", "b", "tie"), ("tie", "a", "tie"), ("both_bad", "both_bad", "both_bad"), ("both_bad", "a", "tie")],
)
def test_orders_that_disagree_are_a_tie(first: Outcome, second: Outcome, joined: Outcome) -> None:
    one, other = (Verdict(winner=winner, judge="j", probability=0.8, first="a") for winner in (first, second))
    verdict = join_orders(one, other)
    assert verdict is not None and verdict.winner == joined and verdict.first is None
    assert verdict.probability == pytest.approx(0.8)


def test_a_missing_order_is_a_missing_verdict() -> None:
    assert join_orders(None, Verdict(winner="a", judge="j")) is None
    assert join_orders(Verdict(winner="a", judge="j"), None) is None
