"""Test the reader of a judge's answers and the formula: published scores, broken answers, three rules of severity."""

import json
import math

import pytest

from pipelines.evaluate.judgements import TITLES, read_judgement, score

AN = "anthropomorphism"
GOLDEN = [
    # Case, R, then the sum of severities and the score of SC, AN, CF, SQ, as CoSER's repository publishes them for gpt-4o.
    ("King Lear-17-0", 11, (10, 66.5), (11, 61.5), (15, 41.5), (10, 66.5)),
    ("King Lear-16-0", 5, (7, 72.5), (14, 37.5), (12, 47.5), (5, 82.5)),
    ("Othello-9-0", 13, (12, 59.5), (12, 59.5), (11, 64.5), (6, 89.5)),
]


def answer(*severities, title="Anthropomorphism", **more):
    flaws = [{"instance": "He says it.", "type": "Self-identity", "severity": each} for each in severities]
    return json.dumps({title: {"flaws": flaws}, **more})


@pytest.mark.parametrize(("case", "rounds", "published"), [(row[0], row[1], row[2:]) for row in GOLDEN])
def test_the_published_scores_through_the_reader(case, rounds, published):
    for dimension, (total, expected) in zip(TITLES, published, strict=True):
        severities = [3] * (total // 3) + [total % 3] * bool(total % 3)
        read = read_judgement(answer(*severities, title=TITLES[dimension]), dimension, "coser")
        assert math.isclose(score(read.severity, rounds), expected, abs_tol=1e-4), (case, dimension)


@pytest.mark.parametrize(("total", "rounds", "expected"), [(0, 10, 100), (40, 0, 0), (3, 10, 100), (20, 0, 0), (3.5, 10, 97.5)])
def test_a_score_is_clipped(total, rounds, expected):
    assert score(total, rounds) == expected


CLEAN = answer(3, 2)
READABLE = {
    "clean": CLEAN,
    "fenced": f"```json\n{CLEAN}\n```",
    "prose around": f"Here is my judgement.\n{CLEAN}\nI hope this helps.",
    "thinking first": f'<think>maybe {{"Anthropomorphism": {{"flaws": []}}}}, no</think>\n{CLEAN}',
    "raw newline in a text": CLEAN.replace("He says", "He\nsays", 1),
    "unescaped quote": CLEAN.replace("He says it.", 'He says "it" here.', 1),
    "trailing comma": CLEAN.replace("]}", ",]}"),
    "lower-case key": CLEAN.replace("Anthropomorphism", "anthropomorphism"),
    "another dimension beside it": answer(3, 2, Realism={"flaws": []}),
    "severity as text": CLEAN.replace(": 3", ': "3"'),
}


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE)
def test_an_answer_that_can_be_read(text):
    read = read_judgement(text, AN)
    assert not read.problem and read.severity == 5 and read.flaws[0].kind == "Self-identity"


def test_an_empty_list_is_a_perfect_scene():
    read = read_judgement(answer(), AN)
    assert read.flaws == () and score(read.severity, 0) == 100


UNREADABLE = {
    "nothing": "",
    "prose": "The scene was lovely, I would give it a 9.",
    "unclosed": CLEAN[:-20],
    "cut in the list": CLEAN[: CLEAN.index("}, {") + 1],
    "only thinking": f"<think>{CLEAN}</think> I cannot judge this.",
    "unclosed thinking": f"<think>{CLEAN}",
    "a list": "[]",
    "a number": "100",
    "empty object": "{}",
    "wrong dimension": answer(3, title="Realism"),
    "flaws alone": '{"flaws": []}',
    "flaws are no list": '{"Anthropomorphism": {"flaws": "none"}}',
    "flaws are texts": '{"Anthropomorphism": {"flaws": ["none"]}}',
    "no flaws": '{"Anthropomorphism": {"score": 90}}',
    "a refusal": "I'm sorry, but I can't help with that.",
    "severity 50": answer(50),
    "severity negative": answer(5, -3),
    "severity zero": answer(0),
    "severity 8 where 5 is the worst": answer(8),
    "severity in words": answer("high"),
    "severity missing": '{"Anthropomorphism": {"flaws": [{"instance": "x", "type": "y"}]}}',
    "severity null": answer(None),
    "severity true": answer(True),
    "severity of 400 digits": answer(10**400),
    "severity of 5000 digits": answer(3).replace("3", "9" * 5000),
    "severity infinite": answer(3).replace("3", "1e999"),
    "severity NaN": answer(3).replace("3", "NaN"),
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_an_answer_that_cannot_be_read_has_a_problem_and_no_flaws(text):
    read = read_judgement(text, AN)
    assert read.flaws is None and read.problem and read.severity == 0


def test_mechanical_repetition_may_be_worse_than_five():
    text = answer(10, title="Storyline Quality")
    assert read_judgement(text, "storyline_quality").severity == 10


@pytest.mark.parametrize(
    ("said", "coser", "her"), [(3, 3, 3), (None, 1, 0), ("3", 0, 0), (2.5, 0, 2.5), (10, 10, 10), (0, 0, 0), ("high", 0, 0)]
)
def test_the_rules_of_the_published_code(said, coser, her):
    assert read_judgement(answer(said, 2), AN, "coser").severity == coser + 2
    assert read_judgement(answer(said, 2), AN, "her").severity == her + 2


@pytest.mark.parametrize("rule", ["coser", "her"])
@pytest.mark.parametrize("said", [-1, 50, -2.5])
def test_no_rule_lets_a_severity_pay_for_other_flaws(rule, said):
    assert read_judgement(answer(5, said), AN, rule).problem


def test_a_flaw_says_its_turn_where_the_judge_names_it():
    flaws = [{"turn": 4, "instance": "a", "severity": 1}, {"turn": "x", "instance": 3, "severity": 1}]
    flaws += [{"turn": "[12]", "severity": "2"}, {"turn": "9" * 5000, "severity": 1}, {"turn": True, "severity": 1}]
    first, second, third, *last = read_judgement(json.dumps({"Anthropomorphism": {"flaws": flaws}}), AN).flaws
    assert (first.turn, second.turn, second.text, third.turn) == (4, 0, "", 12) and [each.turn for each in last] == [0, 0]
