"""Read what a pairwise judge wrote: compared principles with quoted evidence, then one verdict line.

The answer is text with the verdict last, so that the analysis comes before it:

    - [no-mind-reading] A: "I know you fear it" B: "You need not drink it" -> B (clear): A answers an unspoken thought.
    Verdict: B

A and B are the slots in which the candidates were shown. The reader never raises for a judge's text and never guesses: an
answer that names no winner, two winners, or quotes what is in neither candidate has a `problem` instead of an outcome.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from her.format.plan_splitter import PlanSplitter
from her.types import Comparison, Degree, Outcome, Verdict, Winner

Slot = Literal["a", "b"]
_LINE = re.compile(
    r"^[\W\d]*\[(?P<principle>[^\]\n]{1,80})\](?P<analysis>.*)(?:->|→|=>|⇒)\s*\**\s*(?P<winner>A|B|tie|平局?)\**"
    r"\s*(?:[(（](?P<degree>slight|clear|significant)[)）])?\s*[:：]?(?P<reason>.*)$",
    re.IGNORECASE,
)
_VERDICT = re.compile(
    r"^[\W_]*(?:(?:final|overall)\s+)?(?:verdict|winner|裁决|结论)[\W_]*?(?:is\b)?\s*[:：=-]\s*(?P<said>[^\n]{1,60})$",
    re.IGNORECASE,
)
_OUTCOMES: tuple[tuple[re.Pattern[str], Outcome], ...] = (
    (re.compile(r"(?:candidate|候选)?\s*a", re.IGNORECASE), "a"),
    (re.compile(r"(?:candidate|候选)?\s*b", re.IGNORECASE), "b"),
    (re.compile(r"(?:a\s+)?tie|draw|equal|平局?", re.IGNORECASE), "tie"),
    (
        re.compile(r"(?:both|neither)(?:\s+(?:are|is))?\s+(?:bad|good|acceptable|invalid)|都不行|都不好", re.IGNORECASE),
        "both_bad",
    ),
)
_QUOTE = re.compile(r"[\"“”«»「」『』]([^\"“”«»「」『』\n]{1,400})[\"“”«»「」『』]")
_LETTERS = re.compile(r"[\W_]+")
_TURNED: dict[str, Winner] = {"a": "b", "b": "a"}
LONGEST = 100_000
"""Characters of an answer that are read; its verdict stands at the end."""


class ReadVerdict(NamedTuple):
    """Verdict that one answer states, by slot. `outcome` is None exactly when `problem` says why, in a sentence for the judge.

    Args:
        unsupported: lines dropped because no quote of theirs is in a candidate.
    """

    outcome: Outcome | None
    comparisons: tuple[Comparison, ...] = ()
    problem: str = ""
    unsupported: int = 0


def read_verdict(text: str, first: str, second: str) -> ReadVerdict:
    """Return the verdict of one answer; `first` and `second` are the words of the turns shown as A and B."""
    shown = strip_thinking(text)
    comparisons, unsupported = _comparisons(shown, first, second)
    outcome, problem = _outcome(shown)
    if not problem and unsupported and not comparisons:
        problem = "none of the quotes stands in a candidate; copy them exactly"
    if problem:
        return ReadVerdict(None, comparisons, problem, unsupported)
    return ReadVerdict(outcome, comparisons, "", unsupported)


def strip_thinking(text: str) -> str:
    """Return the end of an answer without the plan that a thinking model wrote into it."""
    splitter = PlanSplitter()
    before, after = splitter.feed(text[-LONGEST:]), splitter.close()
    return before.content + after.content


def _outcome(text: str) -> tuple[Outcome | None, str]:
    """Return the outcome of the verdict lines, or the problem with them."""
    said = [match["said"] for line in text.splitlines() if (match := _VERDICT.match(line))]
    if not said:
        return None, "no line 'Verdict: A', 'Verdict: B', 'Verdict: tie' or 'Verdict: both bad' ends the answer"
    named = {_named(each) for each in said}
    if named == {None}:
        return None, f"the verdict '{said[-1].strip()}' is none of A, B, tie, both bad"
    if len(named) > 1:
        return None, "the verdict lines contradict each other; end with exactly one"
    return named.pop(), ""


def _named(said: str) -> Outcome | None:
    """Return the outcome that a verdict names; None for any other word and for several outcomes."""
    bare = said.strip(" \t*_`'\"“”.。!！[]()（）{}")
    return next((outcome for pattern, outcome in _OUTCOMES if pattern.fullmatch(bare)), None)


def _comparisons(text: str, first: str, second: str) -> tuple[tuple[Comparison, ...], int]:
    """Return the lines that a quote supports, and how many others there are; of one principle the last line counts."""
    letters = (letters_only(first), letters_only(second))
    found: dict[str, Comparison] = {}
    unsupported = 0
    for match in _lines(text):
        quotes = _QUOTE.findall(match["analysis"] + " " + match["reason"])
        # One letter stands in every candidate, but is matched: else its marks would pair with those of its neighbours.
        words = [(quote, letters_only(quote)) for quote in quotes if len(quote) > 1]
        evidence = tuple(quote for quote, word in words if word and any(word in side for side in letters))
        if not evidence:
            unsupported += 1
            continue
        winner, degree = _winner(match["winner"]), match["degree"]
        found[match["principle"].strip()] = Comparison(
            principle=match["principle"].strip(),
            winner=winner,
            reason=match["reason"].strip(),
            degree=_degree(degree) if winner != "tie" else None,
            evidence=evidence,
        )
    return tuple(found.values()), unsupported


def _lines(text: str) -> Iterator[re.Match[str]]:
    for line in text.splitlines():
        # a line longer than this is no comparison; the pattern would search it again and again
        if len(line) <= 4000 and (match := _LINE.match(line.strip())):
            yield match


def _winner(said: str) -> Winner:
    return {"a": "a", "b": "b"}.get(said.lower(), "tie")  # type: ignore[return-value]


def _degree(said: str | None) -> Degree | None:
    return said.lower() if said else None  # type: ignore[return-value]


def letters_only(text: str) -> str:
    """Return letters and digits alone: judges change spaces, tags and quotation marks when they quote."""
    return _LETTERS.sub("", text).casefold()


def in_candidates(outcome: Outcome, comparisons: Sequence[Comparison], first: Slot) -> tuple[Outcome, tuple[Comparison, ...]]:
    """Return what was read by slot in terms of candidates a and b, given which of them stood in slot A."""
    if first == "a":
        return outcome, tuple(comparisons)
    turned = (
        comparison.model_copy(update={"winner": _TURNED.get(comparison.winner, comparison.winner)}) for comparison in comparisons
    )
    return _TURNED.get(outcome, outcome), tuple(turned)


def join_orders(first: Verdict | None, second: Verdict | None) -> Verdict | None:
    """Return the verdict of both orders: their common winner, a tie where they disagree, None where one is missing."""
    if first is None or second is None:
        return None
    known = [verdict.probability for verdict in (first, second) if verdict.probability is not None]
    agreed = first.winner == second.winner
    return first.model_copy(
        update={
            "winner": first.winner if agreed else "tie",
            "comparisons": first.comparisons + second.comparisons,
            "reason": first.reason if agreed else f"orders disagree: {first.winner} then {second.winner}",
            "probability": sum(known) / len(known) if len(known) == 2 else None,
            "first": None,
        }
    )
