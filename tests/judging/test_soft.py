"""her/judging/soft.py: soft verdicts and scores, read by the judges from what a server sends."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.backends.base import TokenChoice
from her.format import parse
from her.inference.caller import Caller, CallLimits, Ledger
from her.judging.groups import Group, GroupDesign, judge_group
from her.judging.judge import Judged, PairJudge, PairQuestion
from her.judging.pointwise import PointJudge
from her.judging.soft import CHOICES, expected_score, verdict_probability
from her.types import Message
from tests.servers import ModelServer, Script

QUICK = CallLimits(retries=0, timeout=5, cool_down=0.02, patience=1)
PROMPT = (Message(role="system", content="You are Mara."), Message(role="user", content="Tom: Was there post?"))
QUESTION = PairQuestion("q", PROMPT, parse("No post today.", "Mara"), parse("A letter came.", "Mara"))
ANALYSIS = '- [own-voice] A: "No post" -> A (clear): it hides\n'
TAIL = [("Ver", {}), ("dict", {}), (":", {})]


def chosen(*tokens: tuple[str, dict[str, float]]) -> tuple[TokenChoice, ...]:
    return tuple(
        TokenChoice(text=text, logprobs=tuple((each, math.log(share)) for each, share in (likely or {text: 1.0}).items()))
        for text, likely in tokens
    )


@pytest.mark.parametrize(
    ("text", "outcome", "tokens", "found"),
    [
        ("Verdict: A", "a", [(":", {}), (" A", {" A": 0.6, " B": 0.2, " tie": 0.2})], 0.7),
        ("Verdict: A\n", "a", [(":", {}), (" A", {" A": 0.6, " B": 0.4}), ("\n", {}), ("<|im_end|>", {})], 0.6),
        ("Verdict: B", "b", [(": ", {}), ("B", {"B": 0.5, "A": 0.25, "both": 0.25})], 0.375),
        ("Verdict: B", "b", [(": B", {": B": 0.8, ": A": 0.1, " is": 0.1})], 1 / 9),
        ("Verdict: tie", "tie", [(":", {}), (" t", {" t": 0.8, " A": 0.2}), ("ie", {})], 0.6),
        ("Verdict: both bad", "both_bad", [(" both", {" both": 0.9, " B": 0.1}), (" bad", {})], 0.45),
        ("**Verdict:** **Candidate A**", "a", [("Candidate", {}), (" A", {" A": 0.9, " B": 0.1}), ("**", {})], 0.9),
        ("裁决：平局", "tie", [("：", {}), ("平", {"平": 0.5, "A": 0.5}), ("局", {})], 0.75),
        ("Verdict: A\nVerdict: A", "a", [(" A", {" A": 0.1, " B": 0.9}), ("\nVerdict:", {}), (" A", {" A": 1.0})], 1.0),
        # what the tokens do not show is None
        ("Verdict: A", "a", [], None),
        ("Verdict: A", "b", [(" A", {" A": 1.0})], None),  # another outcome was read
        ("Verdict: A", "a", [(" A", {" A": 0.3, " not": 0.7})], None),  # it was about to write something else
        ("Verdict: A", "a", [(" B", {" B": 1.0})], None),  # tokens of another text
        ("Verdict: A. The plan hides it, which the scene asks for.", "a", [(" asks", {}), (" for", {}), (".", {})], None),
        ("I cannot say.", "a", [(" say", {}), (".", {})], None),
        ("Verdict: a tie", "tie", [(" a", {" a": 1.0}), (" tie", {" tie": 1.0})], None),
    ],
)
def test_a_verdict_becomes_a_probability(text: str, outcome: Any, tokens: Any, found: float | None) -> None:
    value = verdict_probability(text, outcome, chosen(*tokens))
    assert value == (None if found is None else pytest.approx(found))


@pytest.mark.parametrize(
    ("text", "score", "tokens", "found"),
    [
        ("Score: 7", 7, [(":", {}), (" 7", {" 7": 0.5, " 8": 0.25, " 6": 0.25})], 7.0),
        ("Score: 7/10", 7, [(" 7", {" 7": 0.5, " 9": 0.5}), ("/", {}), ("10", {})], 8.0),
        ("Score: 9", 9, [(" ", {}), ("9", {"9": 0.6, "10": 0.4})], 9.4),
        ("Score: 9", 9, [(" ", {}), ("9", {"9": 0.6, "1": 0.4})], 9.0),  # a tokenizer of digits: 1 may be the start of 10
        ("Score: 1", 1, [(" ", {}), ("1", {"1": 0.5, "2": 0.5})], 1.5),
        ("Score: 10", 10, [("1", {"1": 0.9, "9": 0.1}), ("0", {})], None),
        ("Score: 7.5", 7.5, [("7", {"7": 1.0}), (".5", {})], None),
        ("评分：4", 4, [("：", {}), ("4", {"4": 0.75, "99": 0.25})], 4.0),
    ],
)
def test_a_score_becomes_its_expectation(text: str, score: float, tokens: Any, found: float | None) -> None:
    value = expected_score(text, score, chosen(*tokens), 1, 10)
    assert value == (None if found is None else pytest.approx(found))


@given(st.text(max_size=40), st.lists(st.tuples(st.text(max_size=6), st.floats(-50, 0)), max_size=6))
def test_law_any_text_and_tokens_give_a_probability_or_none(text: str, tokens: list[tuple[str, float]]) -> None:
    choices = tuple(TokenChoice(text=token, logprobs=((token, value), (" B", -1.0))) for token, value in tokens)
    for outcome in ("a", "b", "tie", "both_bad"):
        value = verdict_probability(f"{text}\nVerdict: {text}", outcome, choices)  # type: ignore[arg-type]
        assert value is None or 0 <= value <= 1


def asked(script: Script, judge: Any, ledger: Path | None = None) -> Any:
    """Return what `judge` makes of a caller over a server with this script, and what the server was sent."""

    async def run(server: ModelServer) -> Any:
        opened = Ledger(ledger) if ledger else None
        try:
            async with Caller([f"openai:{server.url}#test-her"], opened, QUICK) as caller:
                return await judge(caller)
        finally:
            if opened is not None:
                opened.close()

    with ModelServer(script) as server:
        found = asyncio.run(run(server))
        return found, server.chats


def verdict(script: Script, first: Any = "a", ledger: Path | None = None) -> tuple[Judged, list[dict[str, Any]]]:
    found = asked(script, lambda caller: PairJudge(caller.ask, name="j", choices=CHOICES).judge(QUESTION, first), ledger)
    return found[0], found[1]


def test_the_probability_is_in_the_verdict_and_in_the_ledger(tmp_path: Path) -> None:
    script = Script(text=ANALYSIS + "Verdict: A", choices=[*TAIL, (" A", {" A": 0.8, " B": 0.2})])
    judged, sent = verdict(script, ledger=tmp_path / "calls.sqlite3")
    assert judged.verdict is not None and judged.verdict.probability == pytest.approx(0.8)
    assert (sent[0]["logprobs"], sent[0]["top_logprobs"]) == (True, CHOICES)
    again, sent = verdict(Script(text="never asked"), ledger=tmp_path / "calls.sqlite3")
    assert again == judged and not sent
    swapped, _ = verdict(Script(text=ANALYSIS + "Verdict: A", choices=script.choices), "b")
    assert swapped.verdict is not None and swapped.verdict.winner == "b"
    assert swapped.verdict.probability == pytest.approx(0.2)  # of candidate a, which was shown as B


@pytest.mark.parametrize("refused", [True, False], ids=["refused with 400", "ignored"])
def test_a_server_without_log_probabilities_gives_hard_verdicts(refused: bool) -> None:
    judged, sent = verdict(Script(text=ANALYSIS + "Verdict: A", refuse_choices=refused))
    assert judged.verdict is not None and (judged.verdict.winner, judged.verdict.probability) == ("a", None)
    assert len(sent) == 1 + refused and ("logprobs" in sent[-1]) is not refused


def test_the_second_answer_has_its_own_probability() -> None:
    def text(body: dict[str, Any]) -> str:
        return ANALYSIS + "Verdict: A" if len(body["messages"]) > 2 else "No idea."

    judged, sent = verdict(Script(text=text, choices=[*TAIL, (" A", {" A": 0.9, " B": 0.1})]))
    assert judged.verdict is not None and judged.verdict.probability == pytest.approx(0.9) and len(sent) == 2


def test_a_pointwise_judge_takes_the_expectation() -> None:
    script = Script(text='[own-voice] "No post": plain\nScore: 6', choices=[(":", {}), (" 6", {" 6": 0.5, " 7": 0.5})])
    scored, _ = asked(script, lambda caller: PointJudge(caller.ask, choices=CHOICES).score("q", PROMPT, QUESTION.a))
    assert scored.score == pytest.approx(6.5)


@pytest.mark.parametrize(("design", "soft"), [("all_pairs", True), ("paper", False)])
def test_groups_are_rewarded_by_probabilities_but_in_the_papers_design(design: Any, soft: bool) -> None:
    group = Group("g", PROMPT, (QUESTION.a, QUESTION.b), reference=parse("Hm.", "Mara"))

    def rewards(share: float) -> tuple[float | None, ...]:
        script = Script(text=ANALYSIS + "Verdict: tie", choices=[*TAIL, (" tie", {" tie": 1 - share, " A": share})])
        judged, _ = asked(
            script,
            lambda caller: judge_group(
                PairJudge(caller.ask, name="j", choices=CHOICES), group, GroupDesign(design=design, rounds=1)
            ),
        )
        return judged.rewards

    assert (rewards(0.4) != rewards(0.01)) is soft
