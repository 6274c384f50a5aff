"""Read soft verdicts and soft scores from the log-probabilities of an answer's last line.

The judge has analysed and then names one outcome; at that token it might have named another, and the probabilities say how
nearly it did. A verdict becomes the probability that the candidate shown as A wins, with a tie divided between both; a score
becomes its expectation, so that whole numbers tie less often. What the tokens do not show is None, never a guess.
"""

import math
import re
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import TypeVar

from her.backends.base import TokenChoice
from her.types import Outcome

CHOICES = 8
"""Likeliest tokens that are asked for at each place: four outcomes in two spellings; servers allow at most 20."""
LEAST_KNOWN = 0.5
"""Least probability of all tokens together that name an outcome; below it the model was about to write something else."""
KindT = TypeVar("KindT")
_VERDICT_LINE = re.compile(
    r"(?:verdict|winner|裁决|结论)[\W_]*?(?:is\b)?\s*[:：=-][\s*_`'\"“‘「『(（\[]*(?:candidate\s+|候选\s*)?", re.IGNORECASE
)
_SCORE_LINE = re.compile(r"(?:score|rating|分数|评分)[\W_]*?[:：=][\s*_`]*", re.IGNORECASE)
_OUTCOME_STARTS: tuple[tuple[re.Pattern[str], Outcome], ...] = (
    (re.compile(r"[Aa]"), "a"),
    (re.compile(r"[Bb]"), "b"),
    (re.compile(r"(?:t|ti|tie|draw|equal|平|平局)", re.IGNORECASE), "tie"),
    (re.compile(r"(?:bo|bot|both|ne|neither|都|都不)", re.IGNORECASE), "both_bad"),
)


def verdict_probability(text: str, outcome: Outcome, choices: tuple[TokenChoice, ...]) -> float | None:
    """Return the probability that the candidate shown as A wins, from the token that names the outcome.

    Args:
        text: the answer.
        outcome: by slot, as it was read from the text; a token that names another one is not the verdict's.
        choices: the last tokens of the answer.
    """
    shares = _shares(text, _VERDICT_LINE, choices, _outcome_of, outcome)
    if shares is None:
        return None
    return shares.get("a", 0.0) + (shares.get("tie", 0.0) + shares.get("both_bad", 0.0)) / 2


def expected_score(text: str, score: float, choices: tuple[TokenChoice, ...], lowest: int, highest: int) -> float | None:
    """Return the expectation of a whole-number score over the token that names it; other arguments as `verdict_probability`.

    A score that its tokenizer writes in several tokens, such as 10 in digits, has none: the first digit says too little.
    """
    shares = _shares(text, _SCORE_LINE, choices, lambda token: _whole_number(token, lowest, highest), score)
    if shares is None:
        return None
    if highest >= 10 and not any(value >= 10 for value in shares) and score != 1:
        shares.pop(1.0, None)  # where no token is a whole 10, a 1 is as likely its first digit
    return sum(value * share for value, share in shares.items()) / sum(shares.values())


def _shares(
    text: str, line: re.Pattern[str], choices: tuple[TokenChoice, ...], kind: Callable[[str], KindT | None], said: KindT
) -> dict[KindT, float] | None:
    """Return the share of each outcome at the token after the last match of `line`, all together 1."""
    matches = list(line.finditer(text))
    choice = _token_at(text, matches[-1].end(), choices) if matches else None
    if choice is None or kind(choice.text) != said:
        return None
    shares: dict[KindT, float] = {}
    for token, logprob in choice.logprobs:
        if (named := kind(token)) is not None:
            shares[named] = shares.get(named, 0.0) + math.exp(logprob)
    known = sum(shares.values())
    return {named: share / known for named, share in shares.items()} if known >= LEAST_KNOWN else None


def _token_at(text: str, place: int, choices: Iterable[TokenChoice]) -> TokenChoice | None:
    """Return the token in which the character at `place` of the text stands; None when the tokens do not end as the text does."""
    # Answers are stripped by some servers, and some list the stop token as the last one.
    ends = text.rstrip()
    kept = list(choices)
    while kept and not "".join(token.text for token in kept).rstrip().endswith(ends[-1:] or "-"):
        kept.pop()
    joined = "".join(token.text for token in kept).rstrip()
    start = len(ends) - len(joined)
    if not joined or (not ends.endswith(joined) if start >= 0 else not joined.endswith(ends)):
        return None
    bounds = accumulate((len(token.text) for token in kept), initial=start)
    found = [token for begin, token in zip(bounds, kept, strict=False) if begin <= place < begin + len(token.text)]
    return found[0] if found else None


def _outcome_of(token: str) -> Outcome | None:
    bare = _bare(token)
    return next((outcome for pattern, outcome in _OUTCOME_STARTS if pattern.fullmatch(bare)), None)


def _whole_number(token: str, lowest: int, highest: int) -> float | None:
    bare = _bare(token)
    return float(bare) if bare.isascii() and bare.isdigit() and len(bare) < 4 and lowest <= int(bare) <= highest else None


def _bare(token: str) -> str:
    """Return a token without the spaces, colons and marks that tokenizers join to a word."""
    return token.strip(" \t\r\n*_`'\"“”‘’「」『』.。:：=!！[]()（）▁Ġ")
