"""Read preferences, check that no conversation is in two splits, leave out unfit pairs, and hold out whole conversations.

Replies that failed or were stopped are left out when votes are exported (her/feedback/preferences.py): a `Preference` does not
record how a generation ended. What is left out here is counted by its reason.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from her.errors import InputError
from her.files import jsonl
from her.judging.preference_pairs import conversation_of, split_conversations, why_unfit
from her.types import Preference
from pipelines.reward.options import PairOptions
from pipelines.reward.planted import planted_preferences, with_raters

log = logging.getLogger(__name__)


class PairSet(NamedTuple):
    """Preferences to train on and to evaluate on, and how many were left out, by reason."""

    train: tuple[Preference, ...]
    held_out: tuple[Preference, ...]
    left_out: dict[str, int]


def load_pairs(options: PairOptions, seed: int) -> PairSet:
    """Read or make the preferences and split them.

    Raises:
        InputError: a line is no `Preference`, a conversation is in two splits, or a split is empty.
    """
    left_out: Counter[str] = Counter()
    if options.planted.pairs:
        planted = planted_preferences(options.planted.pairs, options.planted.books, seed)
        train, held_out = split_conversations(planted, options.held_out_share, seed)
        if options.planted.careless >= 0:
            train = with_raters(train, options.planted.careless, seed)
    else:
        train = tuple(_fit(_read(options.files, options.split, left_out), options, left_out))
        if options.held_out:
            held_out = tuple(_fit(_read(options.held_out, "", left_out), options, left_out))
        else:
            train, held_out = split_conversations(train, options.held_out_share, seed)
    require_apart(train, held_out)
    for name, kept in (("train on", train), ("evaluate on", held_out)):
        if not kept:
            counts = ", ".join(f"{why}: {count}" for why, count in left_out.items()) or "none was left out"
            raise InputError(f"there is no preference to {name} ({counts}); give more conversations, or change held_out_share")
    log.info("%d pairs to train on, %d held out; left out: %s", len(train), len(held_out), dict(left_out) or "none")
    return PairSet(train, held_out, dict(sorted(left_out.items())))


def require_apart(train: Iterable[Preference], held_out: Iterable[Preference]) -> None:
    """Refuse a conversation that is both trained and evaluated on.

    Raises:
        InputError: names one such conversation.
    """
    if shared := sorted({*map(conversation_of, train)} & {*map(conversation_of, held_out)}):
        raise InputError(
            f"{len(shared)} conversations are both trained and evaluated on, such as '{shared[0]}'; "
            "take them out of pairs.files or out of pairs.held_out"
        )


def _read(files: Sequence[Path], split: str, left_out: Counter[str]) -> Iterator[Preference]:
    """Yield the preferences of some files; refuse a conversation with two splits."""
    splits: dict[str, str] = {}
    for path in files:
        for number, preference in enumerate(jsonl.read(path, Preference), 1):
            name = conversation_of(preference)
            earlier = splits.setdefault(name, preference.split)
            if earlier != preference.split:
                raise InputError(
                    f"file '{path}' line {number}: conversation '{name}' is in split '{preference.split}' and in '{earlier}'; "
                    "a conversation belongs to one split, export the preferences again"
                )
            if split and preference.split != split:
                left_out["other split"] += 1
            else:
                yield preference


def _fit(preferences: Iterable[Preference], options: PairOptions, left_out: Counter[str]) -> Iterator[Preference]:
    for preference in preferences:
        if why := why_unfit(preference, options.length_gap):
            left_out[why] += 1
        else:
            yield preference
