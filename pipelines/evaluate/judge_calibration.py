"""Say beside every score how far its judge agrees with people.

    her eval coser --data test_set.json --actor SPEC --judge SPEC calibration=CHARACTER_BENCH     # the run's judge is asked
    her eval report RUN --calibration judge-check                    # the report card of a run of `her run judge-check`

CharacterBench's human scores give a rank correlation, votes of people an agreement beside what two people reach.
"""

import asyncio
import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from her.errors import InputError
from her.files.atomic import replacing
from her.judging.judge import Ask, PairJudge
from her.judging.labelled import LabelledQuestion, LabelledTurn, judged_pair
from her.judging.pointwise import PointJudge
from her.judging.principles import library_hash, load_principles
from her.judging.report_card import CardSettings, JudgedPair, ReportCard, ScoredTurn, report_card
from her.judging.role_play_benchmarks import read_labelled
from her.runs.folder import run_folder
from her.types import Language

CARD, OWN_CARD = "report_card.json", "judge_calibration.json"
ItemT = TypeVar("ItemT")
MOST = 200
"""Turns, and pairs, that a judge is asked about: Spearman's rho is then known to about .12."""
LANGUAGES: tuple[Language, ...] = ("en", "zh")
UNCALIBRATED = (
    "The judge is not calibrated: nobody has measured how far it agrees with people. "
    "her run judge-check does, on CharacterBench's human scores or on votes."
)


async def calibrated(source: str, folder: Path, ask: Ask, model: str) -> str:
    """Return the card that calibrates a judge: the one that is named, or a new one where `source` holds labels of people.

    The new card is written into `folder`; calls go through `ask`, so a run that is started again asks nothing twice.

    Raises:
        InputError: the labels cannot be read.
        BudgetSpent, BackendError: the run ends.
    """
    if not _holds_labels(source):
        return source
    card = await _labelled_card(Path(source), ask, model)
    with replacing(folder / OWN_CARD) as file:
        file.write(f"[{card.model_dump_json(indent=2)}]\n")
    return str(folder / OWN_CARD)


def _holds_labels(source: str) -> bool:
    path = Path(source)
    if not source or not path.exists() or (path / CARD).is_file():
        return False
    try:
        return not (path.is_file() and _cards(source))
    except InputError:
        return True


async def _labelled_card(path: Path, ask: Ask, model: str) -> ReportCard:
    """Ask a judge about turns that people scored and pairs that they voted on; a missing verdict is counted."""
    labelled = read_labelled(path)
    rules: dict[Language, Any] = {language: load_principles(language) for language in LANGUAGES}
    point = PointJudge(ask, principles=rules, library=library_hash())
    pair = PairJudge(ask, name=model, model=model, principles=rules, library=library_hash())

    async def scored(turn: LabelledTurn) -> ScoredTurn:
        found = await point.score(turn.id, turn.prompt, turn.turn, turn.language)
        return ScoredTurn(turn.id, turn.conversation, found.score, turn.score, turn.language, turn.dimension)

    async def compared(one: LabelledQuestion) -> JudgedPair:
        forth, back = await asyncio.gather(pair.judge(one.question, "a"), pair.judge(one.question, "b"))
        return judged_pair(one, forth.verdict, back.verdict)

    turns = await asyncio.gather(*map(scored, _some(labelled.turns)))
    pairs = [] if turns else await asyncio.gather(*map(compared, _some(labelled.pairs)))
    return report_card(pairs, CardSettings(judge=(model, model)), turns)


def _some(items: Sequence[ItemT]) -> list[ItemT]:
    return list(items) if len(items) <= MOST else random.Random(0).sample(list(items), MOST)


def calibration_lines(source: str, judges: Iterable[str]) -> tuple[str, ...]:
    """Return sentences on the judges of a report.

    Args:
        source: name of a judge-check run, or path of its folder or card; empty for none.
        judges: models that judged, as the scores name them.

    Raises:
        InputError: there is no card, or it cannot be read.
    """
    wanted = sorted(filter(None, set(judges)))
    if not source:
        return (UNCALIBRATED,) if wanted else ()
    cards = _cards(source)
    lines = [line for card in cards for line in _lines(card)]
    known = {str(card.get(name)) for card in cards for name in ("judge", "model")}
    other = [judge for judge in wanted if judge not in known]
    if other:
        lines.append(f"The judge of these scores, {', '.join(other)}, is another one than that of this card.")
    return tuple(lines)


def _cards(source: str) -> list[dict[str, Any]]:
    path = Path(source)
    if path.is_dir():
        path = path / CARD
    elif not path.is_file():
        path = run_folder(path.name) / CARD
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' is no report card ({error}); give a run of her run judge-check") from error
    cards = found if isinstance(found, list) else [found]
    if not cards or not all(isinstance(card, dict) and "agreement" in card for card in cards):
        raise InputError(f"'{path}' is no report card; give a run of her run judge-check")
    return cards


def _lines(card: dict[str, Any]) -> Iterator[str]:
    name = f"{card.get('judge') or 'the judge'}" + (f" ({card['name']})" if card.get("name") else "")
    if turns := card.get("turns"):
        rho = (card.get("correlation") or {}).get("all")
        yield f"{name}: Spearman's rho {_interval(rho)} with people's scores of {turns:,} turns."
    if pairs := card.get("pairs"):
        ceiling = card.get("ceiling")
        people = f"two people agree in {_interval(ceiling)}" if ceiling else "what people reach is unknown"
        yield f"{name}: agreement {_interval(card.get('agreement'))} with the labels of {pairs:,} pairs; {people}."


def _interval(found: Any) -> str:
    """Return a value with its limits; a card has null where there is none."""
    numbers = [float(number) if isinstance(number, int | float) else math.nan for number in (found or [None])]
    if math.isnan(numbers[0]):
        return "unknown"
    limits = "" if len(numbers) < 3 or math.isnan(numbers[1]) else f" ({numbers[1]:.2f} to {numbers[2]:.2f})"
    return f"{numbers[0]:.2f}{limits}"
