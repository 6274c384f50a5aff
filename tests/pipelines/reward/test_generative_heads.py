"""The heads: prompts are the judge's, answers are read as a judge's, and an answer's worth follows from label and twin."""

import asyncio

import pytest

from her.inference.call import Answer, Call
from her.judging.judge import PairJudge
from her.judging.pointwise import PointJudge
from her.store.ledger import Entry, StoredText
from pipelines.reward.generative_heads import HEADS, Worth, is_asked
from pipelines.reward.labelled_pairs import SIDES
from pipelines.reward.planted_critic import critique
from tests.pipelines.reward.critiques_for_tests import DECIDED, PAIRS, turned

PAIR = next(pair for pair in DECIDED if pair.label == "a")
TIE = next(pair for pair in PAIRS if pair.label == "tie")


def asked(form: str, instructions: str) -> dict[str, tuple[object, ...]]:
    """Return the messages that a judge of this form sends about the pair, by side."""
    calls: list[Call] = []

    async def ask(call: Call) -> Answer:
        calls.append(call)
        text = critique(PAIR, "a") if form == "pair" else "Score: 5"
        return Answer(call, Entry(b"k" * 32, call.stage, "m", StoredText(text)))

    async def run() -> None:
        for side, turn in zip(SIDES, (PAIR.a, PAIR.b), strict=True):
            if form == "pair":
                await PairJudge(ask, name="m", instructions=instructions).judge(PAIR.question, side)  # type: ignore[arg-type]
            else:
                await PointJudge(ask, instructions=instructions).score(side, PAIR.prompt, turn)  # type: ignore[arg-type]

    asyncio.run(run())
    return dict(zip(SIDES, (call.messages for call in calls), strict=True))


@pytest.mark.parametrize("form", ["pair", "point"])
@pytest.mark.parametrize("instructions", ["short", "full"])
def test_trained_prompts_are_those_of_the_judge_byte_for_byte(form: str, instructions: str) -> None:
    for side, messages in asked(form, instructions).items():
        trained = HEADS[form].messages(PAIR, "a" if side == "a" else "b", instructions)  # type: ignore[arg-type]
        assert trained == messages


def test_an_answer_counts_only_with_evidence() -> None:
    head, text = HEADS["pair"], critique(PAIR, "a")
    assert head.read(PAIR, "a", text).value == "a"
    assert head.read(PAIR, "a", turned(text)).value == "b"
    assert head.read(PAIR, "b", text).value == "b"  # the same words about the other order name the other candidate
    assert head.read(PAIR, "a", "Verdict: A").value is None
    assert head.read(PAIR, "a", "A is better, for it is kinder.").value is None
    invented = '- [kindness] A: "these words are nowhere" -> A (clear)\n'
    assert head.read(PAIR, "a", invented + text).value is None
    assert head.read(PAIR, "a", text + "\nVerdict: tie").value is None


def test_the_worth_of_a_verdict() -> None:
    head = HEADS["pair"]
    assert head.worth(PAIR, "a", "a", ["a", "a", "b", None]) == Worth(True, 1.0, 0.5)
    assert head.worth(PAIR, "b", "b", ["a", "b"]) == Worth(True, 0.0, 0.5)
    assert head.worth(TIE, "a", "tie", []) == Worth(True, 1.0, 0.0)
    assert head.worth(PAIR, "a", None, ["a"]).reward(0.3) == 0
    assert head.worth(PAIR, "a", "a", ["a"]).reward(0.3) == 1.3
    assert head.worth(PAIR, "a", "tie", ["tie"]).reward(0.3) == 0.3  # a shared tie is worth less than one right verdict


def test_the_worth_of_a_score_is_its_place_beside_the_other_candidate() -> None:
    head = HEADS["point"]
    assert head.worth(PAIR, "a", 8.0, [6.0, 8.0, 9.0, None]).agreement == 0.5
    assert head.worth(PAIR, "b", 2.0, [6.0, 8.0]).agreement == 1
    assert head.worth(PAIR, "b", 9.0, [6.0, 8.0]).agreement == 0
    assert head.worth(TIE, "a", 5.0, [5.0, 6.0]).agreement == 0.5
    assert head.worth(PAIR, "a", 5.0, [None]).agreement == 0.5
    assert head.agrees(PAIR, (7.0, 3.0)) and not head.agrees(PAIR, (3.0, 3.0)) and not head.agrees(PAIR, (None, 3.0))
    assert head.read(PAIR, "a", '- [voice] "aye": it fits\nScore: 7').value == 7


def test_settled_pairs_are_not_asked_about() -> None:
    assert is_asked(PAIR) and not is_asked(PAIR.model_copy(update={"b": PAIR.a}))
