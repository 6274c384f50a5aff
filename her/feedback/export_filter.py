"""Read what an export is limited to from the words of a command line or of the organiser's page."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from her.errors import InputError
from her.feedback.rubric import RUBRIC
from her.store.exports import ExportFilter

_RATER = re.compile(r"(?:rater:)?([a-z]{2,12}-[a-z]{2,12}-[0-9a-z]{4})")


def read_filter(
    *,
    since: str = "",
    until: str = "",
    personas: Iterable[str] = (),
    raters: Iterable[str] = (),
    missions: Iterable[str] = (),
    dimension: str = "",
) -> ExportFilter:
    """Return the filter.

    Args:
        since: day or moment in UTC, as 2026-11-28 or 2026-11-28T18:30; empty for the beginning.
        until: the last day, or the first moment after; empty for the end.
        raters: names as in files, such as rater:amber-heron-k4t9.

    Raises:
        InputError: one of them cannot be read, or the rubric has no such dimension.
    """
    known = [label.id for label in RUBRIC.dimensions]
    if dimension and dimension not in known:
        raise InputError(f"dimension {dimension[:40]!r} is not in rubric {RUBRIC.version}; known are {', '.join(known)}")
    first, after = _moment("since", since, 0), _moment("until", until, 1)
    if first is not None and after is not None and first >= after:
        raise InputError(f"since {since!r} is not before until {until!r}, so nothing would be left; exchange them")
    return ExportFilter(
        since=first,
        until=after,
        personas=tuple(personas),
        raters=tuple(map(_rater, raters)),
        missions=tuple(missions),
        dimension=dimension,
    )


def _moment(name: str, text: str, days: int) -> int | None:
    """Return a moment in milliseconds since 1970; `days` are added to a day without a time. None for an empty text."""
    if not text:
        return None
    try:
        # A moment without a zone is UTC, as all times of this project.
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment += timedelta(days=days if _is_day(text) else 0)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InputError(f"{name} is {text[:40]!r}; write a day as 2026-11-28 or a moment as 2026-11-28T18:30") from None


def _is_day(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def _rater(name: str) -> str:
    if (found := _RATER.fullmatch(name)) is None:
        raise InputError(f"rater {name[:40]!r} is no name of a rater; write it as in files, such as rater:amber-heron-k4t9")
    return found[1]
