"""Summarise the scores of a run: one sheet for each model, protocol, judge, sight of thoughts and language, never pooled.

Every score stands beside the rates of what went wrong on the way to it, and beside what two runs of the same model differ by.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from her.errors import InputError
from her.judging.statistics import (
    USUAL,
    Estimate,
    Observation,
    PairedDifference,
    Uncertainty,
    mean_score,
    same_model_noise,
)
from her.types import Language, Transcript, Value
from pipelines.evaluate.scores import TEXT_METRICS, CaseScore, Thoughts, transcript_id

AVERAGE = "average"
"""Mean of the dimensions of a case, which counts only where all of them were judged."""
WEIGHTS: dict[str, float] = {
    "basics": 1 / 6,
    "logic": 1 / 6,
    "knowledge": 1 / 6,
    "diversity": 1 / 8,
    "content_logic": 1 / 8,
    "interaction": 1 / 4,
}
"""Weights of Role-Play Bench's dimensions in its overall score, as published; all other dimensions weigh the same."""
FREQUENT = {"missing": 0.02, "fallbacks": 0.1, "empty": 0.01, "failed": 0.01, "truncated": 0.02, "refused": 0.01}
"""Rates above which a sheet warns: the score is then one of the model's failures as much as of its play."""
_ROUNDS = ((10, "up to 10"), (15, "11 to 15"), (20, "16 to 20"))


class SheetKey(NamedTuple):
    """Key that the scores of one sheet share."""

    model: str
    protocol: str
    judge: str
    thoughts: Thoughts
    language: Language


class Rates(Value):
    """Rates beside a score, 0 to 1 and None where nothing could happen.

    Args:
        plays: cases times runs.
        missing: judgements without a score; `reasked` answers of the judge asked for again, for each judgement.
        fallbacks: next speakers that were drawn because the answer named nobody who may speak, of those asked for.
        empty, refused, truncated, failed: turns of characters.
        ended: plays that ended before the last round.
        leaked: plays in which held-out plots of the book could be retrieved.
        rounds: mean turns of characters a play; `words` theirs a turn.
    """

    plays: int
    missing: float | None = None
    reasked: float | None = None
    fallbacks: float | None = None
    empty: float | None = None
    refused: float | None = None
    truncated: float | None = None
    failed: float | None = None
    ended: float | None = None
    leaked: float | None = None
    rounds: float | None = None
    words: float | None = None


class ScoreSheet(Value):
    """Scores of one model under one protocol and judge, in one language.

    Args:
        figures: `average` first, then the dimensions.
        overlap: overlap with the book's words, 0 to 1.
        breakdowns: kind -> group -> average, such as `split` -> `ood`.
        noise: second run less first, by figure; empty with one run.
        reasons: why judgements are missing, and how often.
        warnings: sentences for the reader.
    """

    model: str
    protocol: str
    judge: str
    thoughts: Thoughts
    language: Language
    cases: int
    books: int
    runs: int
    figures: dict[str, Estimate]
    overlap: dict[str, Estimate] = {}
    rates: Rates
    breakdowns: dict[str, dict[str, Estimate]] = {}
    noise: dict[str, PairedDifference] = {}
    reasons: dict[str, int] = {}
    warnings: tuple[str, ...] = ()


def sheets(
    scores: Iterable[CaseScore], transcripts: Mapping[str, Transcript] | None = None, settings: Uncertainty = USUAL
) -> list[ScoreSheet]:
    """Return a sheet for each group of scores, sorted by model.

    Args:
        transcripts: by id; with them flaws are broken down by their place in the scene.
    """
    judged, overlaps = grouped(scores)
    found = []
    for key in sorted(judged):
        rows = judged[key]
        overlap = overlaps.get(key._replace(judge="", thoughts="hidden"), [])
        found.append(_sheet(key, rows, overlap, transcripts or {}, settings))
    return found


def grouped(scores: Iterable[CaseScore]) -> tuple[dict[SheetKey, list[CaseScore]], dict[SheetKey, list[CaseScore]]]:
    """Return the judged scores and those of text overlap, each by sheet."""
    judged: dict[SheetKey, list[CaseScore]] = defaultdict(list)
    overlaps: dict[SheetKey, list[CaseScore]] = defaultdict(list)
    for row in scores:
        key = SheetKey(row.model, row.protocol, row.judge, row.thoughts, row.language)
        if row.dimension in TEXT_METRICS:
            overlaps[key._replace(judge="", thoughts="hidden")].append(row)
        else:
            judged[key].append(row)
    return judged, overlaps


def dimensions(rows: Iterable[CaseScore]) -> list[str]:
    """Return the dimensions in the order in which they come first."""
    return list(dict.fromkeys(row.dimension for row in rows))


def observations(rows: Iterable[CaseScore], dimension: str) -> list[Observation]:
    """Return the scores of one dimension, or the weighted mean of all of them for `average`."""
    if dimension == AVERAGE:
        return _averages(rows)
    return [Observation(row.case, row.book, row.run, row.score) for row in rows if row.dimension == dimension]


def _averages(rows: Iterable[CaseScore]) -> list[Observation]:
    listed = list(rows)
    names = dimensions(listed)
    weights = {name: WEIGHTS.get(name, 1.0) for name in names}
    plays: dict[tuple[str, str, int], dict[str, float | None]] = defaultdict(dict)
    for row in listed:
        if row.dimension in plays[row.case, row.book, row.run]:
            raise InputError(f"case {row.case!r} has two scores of {row.dimension} in run {row.run}; keep one")
        plays[row.case, row.book, row.run][row.dimension] = row.score
    found = []
    for (case, book, run), scores in plays.items():
        known = {name: score for name, score in scores.items() if score is not None}
        whole = sum(weights[name] * score for name, score in known.items()) / sum(weights.values())
        found.append(Observation(case, book, run, whole if len(known) == len(names) else None))
    return found


def _sheet(
    key: SheetKey,
    rows: Sequence[CaseScore],
    overlap: Sequence[CaseScore],
    transcripts: Mapping[str, Transcript],
    settings: Uncertainty,
) -> ScoreSheet:
    names = dimensions(rows)
    shown = [AVERAGE, *names] if len(names) > 1 else names
    values = {name: observations(rows, name) for name in shown}
    noise = {name: same_model_noise(each, settings) for name, each in values.items()}
    figures = {name: mean_score(each, settings) for name, each in values.items()}
    rates = rates_of(rows)
    return ScoreSheet(
        **key._asdict(),
        cases=len({row.case for row in rows}),
        books=len({row.book for row in rows}),
        runs=len({row.run for row in rows}),
        figures=figures,
        overlap={name: mean_score(observations(overlap, name), settings) for name in dimensions(overlap)},
        rates=rates,
        breakdowns=_breakdowns(rows, transcripts, settings),
        noise={name: each for name, each in noise.items() if each is not None},
        reasons=dict(Counter(row.missing for row in rows if row.missing).most_common()),
        warnings=tuple(_warnings(figures[shown[0]], rates)),
    )


def rates_of(rows: Sequence[CaseScore]) -> Rates:
    """Return the rates beside the scores of these rows; a play counts once, however many dimensions it has."""
    plays = list({(row.case, row.run): row for row in rows}.values())

    def share(count: Callable[[CaseScore], int], among: Callable[[CaseScore], int]) -> float | None:
        total = sum(map(among, plays))
        return sum(map(count, plays)) / total if total else None

    def turns(row: CaseScore) -> int:
        return row.rounds

    def one(row: CaseScore) -> int:
        return 1

    return Rates(
        plays=len(plays),
        missing=sum(row.score is None for row in rows) / len(rows) if rows else None,
        reasked=sum(row.reasked for row in rows) / len(rows) if rows else None,
        fallbacks=share(lambda row: row.fallbacks, lambda row: row.choices),
        empty=share(lambda row: row.empty, turns),
        refused=share(lambda row: row.refused, turns),
        truncated=share(lambda row: row.truncated, turns),
        failed=share(lambda row: row.failed, turns),
        ended=share(lambda row: row.ended, one),
        leaked=share(lambda row: row.leaked, one),
        rounds=share(turns, one),
        words=share(lambda row: row.words, turns),
    )


def groups_of(row: CaseScore) -> dict[str, str]:
    """Return the group of a case in each breakdown; a case that does not say has none."""
    length = next((name for most, name in _ROUNDS if row.rounds <= most), "over 20")
    return {"split": row.split, "characters": str(row.characters) if row.characters < 5 else "5 and more", "rounds": length}


def _breakdowns(
    rows: Sequence[CaseScore], transcripts: Mapping[str, Transcript], settings: Uncertainty
) -> dict[str, dict[str, Estimate]]:
    parts: dict[str, dict[str, list[CaseScore]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for kind, group in groups_of(row).items():
            if group:
                parts[kind][group].append(row)
    whole = AVERAGE if len(dimensions(rows)) > 1 else dimensions(rows)[0]
    found = {
        kind: {group: mean_score(observations(part, whole), settings) for group, part in sorted(groups.items())}
        for kind, groups in parts.items()
    }
    if places := _by_place(rows, transcripts, settings):
        found["severity a turn by place in the scene"] = places
    return found


def _by_place(rows: Sequence[CaseScore], transcripts: Mapping[str, Transcript], settings: Uncertainty) -> dict[str, Estimate]:
    """Return the mean severity a turn in each five turns of the scene: where models fall off."""
    severities: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
    for row in rows:
        for flaw in row.flaws:
            severities[row.case, row.book, row.run][flaw.turn] += flaw.severity or 0  # type: ignore[assignment]
    by_place: dict[str, list[Observation]] = defaultdict(list)
    for case, book, run in dict.fromkeys((row.case, row.book, row.run) for row in rows):
        transcript = transcripts.get(transcript_id(case, run, rows[0].model))
        if transcript is None:
            continue
        found = severities[case, book, run]
        for start in range(0, len(transcript.turns), 5):
            turns = transcript.turns[start : start + 5]
            mean = sum(found[turn.id] for turn in turns) / len(turns)
            by_place[f"turns {start + 1:>2} to {start + 5}"].append(Observation(case, book, run, float(mean)))
    return {place: mean_score(each, settings) for place, each in sorted(by_place.items())}


def _warnings(figure: Estimate, rates: Rates) -> Iterable[str]:
    if figure.reason:
        yield f"No interval: {figure.reason}."
    if figure.shift:
        yield f"The runs of this model lie {figure.shift:.1f} points apart, more than noise explains; something has changed."
    for name, most in FREQUENT.items():
        if (rate := getattr(rates, name)) is not None and rate > most:
            yield f"{RATE_WORDS[name].capitalize()}: {rate:.1%}."
    if rates.leaked:
        yield f"In {rates.leaked:.0%} of plays the actor could look up held-out plots of the book."


RATE_WORDS = {
    "missing": "judgements without a score",
    "reasked": "answers of the judge asked for again, for each judgement",
    "fallbacks": "next speakers drawn because the answer named nobody who may speak",
    "empty": "empty turns",
    "refused": "refusals",
    "truncated": "truncated turns",
    "failed": "turns whose call failed",
    "ended": "scenes ended before the last round",
    "leaked": "plays with held-out plots in reach",
    "rounds": "turns of characters a scene",
    "words": "words a turn",
}
"""Names of the rates for people, in the order of the page."""
