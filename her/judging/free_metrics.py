"""Measure format and inner life of turns without a judge, on every checkpoint: no call, no model, a millisecond a turn.

    metrics = transcript_metrics(transcripts)            # evaluation: by language
    run.log_metric(step=step, **free_metrics([[turn] for turn in turns]).figures())   # training: turns for prompts

English and Chinese are never pooled where words count. docs/evaluation.md defines every figure and says what it cannot see.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from her.format import pattern, pattern_entropy
from her.judging import turn_signs
from her.types import ENVIRONMENT, Language, Transcript, Turn, Value
from her.words import runs

DRIFT_TURNS = 6
"""Turns of one character from which its first and last third are compared."""


class PersonaLikelihood(NamedTuple):
    """Natural logarithms of the probability of one turn, with and without the persona in the prompt, and its tokens."""

    with_persona: float
    without: float
    tokens: int


class FreeMetrics(Value):
    """Figures of some turns; shares are 0 to 1, and None says that there was nothing to count.

    Args:
        turns: turns of characters; `conversations` they are from.
        well_formed: share without any defect; `defects` counts turns by defect.
        spoken: share in which something can be seen or heard.
        patterns: number of patterns, `pattern_entropy` theirs in bits, `top_pattern` the most frequent and `top_share` its share.
        thoughtful: share with an inner thought; `first_person` share of thoughts that say "I".
        plan_shown: share in which planning shows; `assistant` share that speaks as an assistant or refuses.
        thought_fits: share of turns whose thought shares a telling word with the reply or the turn before.
        thought_echoed: share whose speech says the whole thought again.
        repeated: mean share of a turn's n-grams that its speaker used before; `looped` share of turns that loop.
        words: mean visible words a turn (characters in Chinese); `drift` the ratio of the last third to the first, of those who
            speak six times or more, as a geometric mean.
        distinct_1: distinct words over all, in windows of 500; `distinct_2` the same of pairs.
        persona_gain: mean over tokens of the log-probability that the persona adds, in nats.
    """

    conversations: int
    turns: int
    well_formed: float | None = None
    defects: dict[str, int] = {}
    spoken: float | None = None
    patterns: int = 0
    pattern_entropy: float | None = None
    top_pattern: str = ""
    top_share: float | None = None
    thoughtful: float | None = None
    first_person: float | None = None
    plan_shown: float | None = None
    assistant: float | None = None
    thought_fits: float | None = None
    thought_echoed: float | None = None
    repeated: float | None = None
    looped: float | None = None
    words: float | None = None
    drift: float | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    persona_gain: float | None = None

    def figures(self) -> dict[str, float]:
        """Return the numbers that are known, by name, for a line of metrics."""
        return {name: value for name, value in self.model_dump().items() if isinstance(value, int | float)}


class _Measured(NamedTuple):
    """Counts of one turn; `language` is the conversation's."""

    turn: Turn
    language: Language
    words: list[str]
    fits: bool | None
    repeated: float | None


def free_metrics(
    conversations: Iterable[Sequence[Turn]],
    *,
    language: Language | None = None,
    plans: bool = True,
    likelihoods: Mapping[str, PersonaLikelihood] | None = None,
    speakers: frozenset[str] | None = None,
) -> FreeMetrics:
    """Return the figures of these conversations; a turn alone is a conversation of one turn.

    Args:
        language: of all turns; None reads it from each turn.
        plans: whether a turn without a plan has a defect.
        likelihoods: by id of the turn, where log-probabilities are given.
        speakers: whose turns count; None for all but the environment.
    """
    measured: list[_Measured] = []
    drifts: list[float] = []
    count = 0
    for count, turns in enumerate(conversations, 1):  # noqa: B007
        own = list(_measure(turns, language, speakers))
        measured += own
        drifts += _drifts(own)
    known = likelihoods or {}
    gained = [known[each.turn.id] for each in measured if each.turn.id in known]
    return FreeMetrics(
        conversations=count,
        turns=len(measured),
        **_format_figures([each.turn for each in measured], plans),
        **_voice_figures(measured),
        repeated=_mean([each.repeated for each in measured]),
        looped=_mean([turn_signs.loops(each.turn.text()) for each in measured]),
        words=_mean([len(each.words) for each in measured]),
        drift=math.exp(float(np.mean(drifts))) if drifts else None,
        distinct_1=turn_signs.distinct([each.words for each in measured], 1),
        distinct_2=turn_signs.distinct([each.words for each in measured], 2),
        persona_gain=_gain(gained),
    )


def transcript_metrics(
    transcripts: Iterable[Transcript],
    *,
    plans: bool = True,
    likelihoods: Mapping[str, PersonaLikelihood] | None = None,
    speakers: frozenset[str] | None = None,
) -> dict[Language, FreeMetrics]:
    """Return the figures of simulated scenes, by language."""
    by_language: dict[Language, list[tuple[Turn, ...]]] = defaultdict(list)
    for transcript in transcripts:
        by_language[transcript.scenario.language].append(transcript.turns)
    return {
        language: free_metrics(turns, language=language, plans=plans, likelihoods=likelihoods, speakers=speakers)
        for language, turns in sorted(by_language.items())
    }


def _measure(turns: Sequence[Turn], language: Language | None, speakers: frozenset[str] | None) -> Iterator[_Measured]:
    earlier: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    before: Turn | None = None
    for turn in turns:
        if turn.speaker != ENVIRONMENT if speakers is None else turn.speaker in speakers:
            own = language or turn_signs.language_of_turn(turn)
            said, used = turn_signs.visible_words(turn), earlier[turn.speaker]
            # A first turn cannot repeat: it would only dilute the share.
            repeated = turn_signs.repeated_share(said, used, own) if used else None
            yield _Measured(turn, own, said, turn_signs.thought_fits(turn, own, before), repeated)
            used.update(runs(said, turn_signs.GRAM[own]))
        before = turn


def _drifts(measured: Sequence[_Measured]) -> Iterator[float]:
    """Yield the log ratio of the lengths of the last and first third of each character's turns."""
    lengths: dict[str, list[int]] = defaultdict(list)
    for each in measured:
        lengths[each.turn.speaker].append(len(each.words))
    for said in lengths.values():
        third = len(said) // 3
        first, last = sum(said[:third]), sum(said[-third:])
        if len(said) >= DRIFT_TURNS and first > 0 and last > 0:
            yield math.log(last / first)


def _format_figures(turns: Sequence[Turn], plans: bool) -> dict[str, Any]:
    named = [[defect.name for defect in turn.defects if plans or defect.name != "plan_missing"] for turn in turns]
    patterns = Counter(found for turn in turns if (found := pattern(turn.parts)))
    top = max(patterns, key=lambda name: (patterns[name], name), default="")
    return {
        "well_formed": _mean([not names for names in named]),
        "defects": dict(Counter(name for names in named for name in names).most_common()),
        "spoken": _mean([turn.spoken for turn in turns]),
        "patterns": len(patterns),
        "pattern_entropy": pattern_entropy(patterns.elements()) if patterns else None,
        "top_pattern": top,
        "top_share": patterns[top] / patterns.total() if patterns else None,
    }


def _voice_figures(measured: Sequence[_Measured]) -> dict[str, Any]:
    thoughts = [turn_signs.thoughts_in_first_person(each.turn, each.language) for each in measured]
    return {
        "thoughtful": _mean([bool(found) for found in thoughts]),
        "first_person": _mean([each for found in thoughts for each in found]),
        "plan_shown": _mean([turn_signs.shows_plan(each.turn, each.language) for each in measured]),
        "assistant": _mean([turn_signs.speaks_as_assistant(each.turn) for each in measured]),
        "thought_fits": _mean([each.fits for each in measured]),
        "thought_echoed": _mean([turn_signs.thought_echoes(each.turn) for each in measured]),
    }


def _gain(known: Sequence[PersonaLikelihood]) -> float | None:
    tokens = sum(each.tokens for each in known)
    return sum(each.with_persona - each.without for each in known) / tokens if tokens else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
