"""Read preferences, leave out unfit ones, and hold out whole conversations that no principle is made from."""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from her.errors import InputError
from her.judging.preference_pairs import VIEWER, split_conversations, why_unfit
from her.training_data.preference_files import preferences_in
from her.types import Preference
from her.view import line
from pipelines.principles.options import ContrastOptions
from pipelines.principles.planted import planted_pairs


class Contrasts(NamedTuple):
    """Pairs that principles are made from, pairs that they are tested on, numbers left out by reason, and planted rules."""

    named_from: tuple[Preference, ...]
    held_out: tuple[Preference, ...]
    left_out: dict[str, int]
    rules: frozenset[str] | None = None


def load_contrasts(options: ContrastOptions, seed: int) -> Contrasts:
    """Read or plant the pairs and split them by conversation.

    Raises:
        InputError: a line is no `Preference`, or one of the two parts is empty.
    """
    left_out: Counter[str] = Counter()
    rules = None
    if options.planted.pairs:
        fit, rules = planted_pairs(options.planted, seed)
    else:
        fit = tuple(_fit([row for path in options.files for row in preferences_in(path)], options, left_out))
    named_from, held_out = split_conversations(fit, options.held_out_share, seed)
    if not named_from or not held_out:
        counts = ", ".join(f"{why}: {count}" for why, count in left_out.items()) or "none was left out"
        raise InputError(
            f"{len(fit)} fit pairs ({counts}) make {len(named_from)} to name principles for and {len(held_out)} to test them on; "
            "give pairs of at least two conversations, or change pairs.held_out_share"
        )
    contrasts = Contrasts(
        _drawn(named_from, options.most_named, seed),
        _drawn(held_out, options.most_held_out, seed),
        dict(sorted(left_out.items())),
        rules,
    )
    logging.getLogger(__name__).info(
        "%d pairs to name principles for, %d to test them on; left out: %s",
        len(contrasts.named_from),
        len(contrasts.held_out),
        contrasts.left_out or "none",
    )
    return contrasts


def turn_text(preference: Preference, chosen: bool) -> str:
    """Return a turn of a pair as a judge reads it: thoughts shown, the plan hidden."""
    return line(preference.chosen if chosen else preference.rejected, VIEWER)


def _fit(preferences: Sequence[Preference], options: ContrastOptions, left_out: Counter[str]) -> list[Preference]:
    fit: list[Preference] = []
    for preference in preferences:
        if why := why_unfit(preference, options.length_gap):
            left_out[why] += 1
        else:
            fit.append(preference)
    return fit


def _drawn(pairs: Sequence[Preference], most: int, seed: int) -> tuple[Preference, ...]:
    """Return at most so many of the pairs, in their order; 0 for all."""
    if not most or len(pairs) <= most:
        return tuple(pairs)
    places = sorted(random.Random(f"drawn {seed}").sample(range(len(pairs)), most))
    return tuple(pairs[place] for place in places)
