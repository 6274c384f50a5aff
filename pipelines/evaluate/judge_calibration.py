"""Say beside every score how far its judge agrees with people: from the report card that `her run judge-check` wrote.

    her run judge-check --data CHARACTER_BENCH 'endpoints=["SPEC OF THE JUDGE"]' judge.form=pointwise
    her eval report RUN --calibration judge-check

CharacterBench's human scores give a rank correlation, votes of people an agreement beside what two people reach.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from her.errors import InputError
from her.runs.folder import run_folder

CARD = "report_card.json"
UNCALIBRATED = (
    "The judge is not calibrated: nobody has measured how far it agrees with people. "
    "her run judge-check does, on CharacterBench's human scores or on votes."
)


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
