"""Measure sampled turns: patterns, phrases, diversity, copying, leaks. Counts alone; no model.

Entropy has the Miller-Madow correction (Miller 1955): the plain estimate of n samples from k kinds is too low by about
(k - 1) / (2 n) nats, so a small sample would look collapsed.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from her.format import pattern, pattern_entropy
from her.judging import turn_signs
from her.kinds import PLAN
from her.types import Message, Turn, Value
from her.words import runs, words

PHRASE, COPIED = 4, 4
"""Words in a row of a phrase, of a copy from the prompt."""
BLEU_TURNS, BLEU_ORDER = 32, 4


class SampledAnswer(NamedTuple):
    """A sampled turn with its prompt and why it failed the format gate."""

    prompt: tuple[Message, ...]
    turn: Turn
    fault: str = ""


class TurnFigures(Value):
    """Figures of sampled turns; shares are 0 to 1.

    Args:
        words: mean words a turn, plan included; `plan_words` those of the plan alone.
        entropy: of patterns, in bits, Miller-Madow corrected; `top_pattern` has the share `top_share`.
        phrase: the four words in a row that most turns hold; `phrase_share` how many do.
        distinct_2: distinct word pairs over all, in windows of 500.
        self_bleu: mean BLEU-4 of a turn against others, of at most 32 turns.
        copied: mean share of a turn's word fours that stand in its prompt.
        plan_leaks: share of turns whose reply shows planning; `thought_leaks` of turns whose speech says the whole thought.
    """

    turns: int
    words: float
    plan_words: float
    entropy: float
    top_pattern: str
    top_share: float
    phrase: str
    phrase_share: float
    distinct_2: float
    self_bleu: float
    copied: float
    malformed: float
    plan_leaks: float
    thought_leaks: float


def turn_figures(answers: Sequence[SampledAnswer]) -> TurnFigures:
    """Return the figures of some turns.

    Raises:
        ValueError: there is none.
    """
    if not answers:
        raise ValueError("no turns to measure; sample at least one")
    turns = [answer.turn for answer in answers]
    said = [turn_signs.visible_words(turn) for turn in turns]
    patterns = Counter(pattern(turn.parts) for turn in turns)
    top, count = max(patterns.items(), key=lambda item: (item[1], item[0]))
    phrase, holders = _top_phrase(said)
    return TurnFigures(
        turns=len(turns),
        words=_mean(len(words(turn.text())) for turn in turns),
        plan_words=_mean(len(words(turn.text(PLAN))) for turn in turns),
        entropy=corrected_entropy(patterns),
        top_pattern=top,
        top_share=count / len(turns),
        phrase=" ".join(phrase),
        phrase_share=holders / len(turns),
        distinct_2=turn_signs.distinct(said, 2) or 0.0,
        self_bleu=self_bleu(said[:BLEU_TURNS]),
        copied=_mean(_copied(answer, own) for answer, own in zip(answers, said, strict=True)),
        malformed=_mean(bool(answer.fault) for answer in answers),
        plan_leaks=_mean(turn_signs.shows_plan(turn, turn_signs.language_of_turn(turn)) for turn in turns),
        thought_leaks=_mean(bool(turn_signs.thought_echoes(turn)) for turn in turns),
    )


def corrected_entropy(patterns: Counter[str]) -> float:
    """Return the entropy of patterns in bits with the Miller-Madow correction, never above that of equal shares."""
    total = patterns.total()
    if not total:
        return 0.0
    return pattern_entropy(patterns.elements()) + (len(patterns) - 1) / (2 * total * math.log(2))


def self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """Return the mean BLEU-4 of each text against the others (Zhu et al. 2018), without smoothing."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    texts = [text for text in texts if len(text) >= BLEU_ORDER]
    if len(texts) < 2:
        return 0.0
    smooth = SmoothingFunction().method1
    scores = (
        sentence_bleu([*texts[:place], *texts[place + 1 :]], text, smoothing_function=smooth) for place, text in enumerate(texts)
    )
    return _mean(scores)


def _top_phrase(said: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], int]:
    holders: Counter[tuple[str, ...]] = Counter()
    for own in said:
        holders.update(set(runs(own, PHRASE)))
    return max(holders.items(), key=lambda item: (item[1], item[0]), default=((), 0))


def _copied(answer: SampledAnswer, own: Sequence[str]) -> float:
    own_runs = list(runs(own, COPIED))
    known = set(runs(words(" ".join(message.content for message in answer.prompt)), COPIED)) if own_runs else set()
    return sum(run in known for run in own_runs) / len(own_runs) if own_runs else 0.0


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else 0.0
