"""Read preferences, check that no conversation is in two splits, leave out unfit pairs, and hold out whole conversations.

Replies that failed or were stopped are left out when votes are exported (her/feedback/preferences.py): a `Preference` does not
record how a generation ended. What is left out here is counted by its reason.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from her.errors import InputError
from her.feedback.raters import RaterVote
from her.judging.preference_pairs import conversation_of, split_conversations, why_unfit
from her.statistics import Interval
from her.training_data.preference_files import preferences_in
from her.training_data.splits import REWARD_SPLITS
from her.types import Preference
from pipelines.reward.options import PairOptions
from pipelines.reward.people import people_pairs
from pipelines.reward.planted import planted_preferences, with_raters
from pipelines.reward.voters import planted_votes

log = logging.getLogger(__name__)


class PairSet(NamedTuple):
    """Preferences to train on and to evaluate on, and how many were left out, by reason.

    Args:
        ceiling: how often two people name the same winner, where people voted; `votes` are theirs.
    """

    train: tuple[Preference, ...]
    held_out: tuple[Preference, ...]
    left_out: dict[str, int]
    ceiling: Interval | None = None
    votes: tuple[RaterVote, ...] = ()


def load_pair_sets(options: PairOptions, seed: int, folder: Path) -> dict[str, PairSet]:
    """Read or make the preferences and split them; one set for each model to train, a single one under ''.

    Args:
        folder: of the run, for the report on people and for the database of planted votes.

    Raises:
        InputError: a line is no `Preference`, no model may be trained from the votes, a conversation is in two splits, or a split
            is empty.
    """
    if options.people.database:
        return _people_sets(options, options.people.database, folder, seed)
    if options.planted.votes:
        return _planted_sets(options, folder, seed)
    return {"": load_pairs(options, seed)}


def load_pairs(options: PairOptions, seed: int) -> PairSet:
    """Read preferences from files, or make them, and split them.

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
    return _pair_set(train, held_out, left_out)


def _planted_sets(options: PairOptions, folder: Path, seed: int) -> dict[str, PairSet]:
    """Let scripted raters vote on planted pairs, then read their database like a playground's."""
    planted = planted_preferences(options.planted.pairs, options.planted.books, seed)
    file = folder / "votes.sqlite3"
    planted_votes(planted, options.planted.votes, file, seed)
    # Chats have random ids; by those of the planted pairs the same seed holds out the same ones in every run.
    conversations = {turn.id: each.conversation for each in planted for turn in (each.chosen, each.rejected)}
    every = options.model_copy(update={"people": options.people.model_copy(update={"splits": ()})})
    return _people_sets(every, str(file), folder, seed, conversations)


def _people_sets(
    options: PairOptions, database: str, folder: Path, seed: int, conversations: Mapping[str, str] | None = None
) -> dict[str, PairSet]:
    read = people_pairs(options.people, database, folder, seed)
    sets = {}
    for name, group in read.groups.items():
        left_out = read.left_out.copy()
        if conversations is not None:
            group = tuple(each.model_copy(update={"conversation": conversations[each.chosen.id]}) for each in group)
        train, held_out = split_conversations(tuple(_fit(group, options, left_out)), options.held_out_share, seed)
        sets[name] = _pair_set(train, held_out, left_out)._replace(ceiling=read.ceilings[name], votes=read.votes[name])
    return sets


def _pair_set(train: tuple[Preference, ...], held_out: tuple[Preference, ...], left_out: Counter[str]) -> PairSet:
    """Return a set whose splits share no conversation and are not empty."""
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
        for number, preference in enumerate(preferences_in(path), 1):
            name = conversation_of(preference)
            earlier = splits.setdefault(name, preference.split)
            if earlier != preference.split:
                raise InputError(
                    f"file '{path}' line {number}: conversation '{name}' is in split '{preference.split}' and in '{earlier}'; "
                    "a conversation belongs to one split, export the preferences again"
                )
            wanted = (split,) if split else ("", *REWARD_SPLITS)
            if preference.split not in wanted:
                left_out["other split"] += 1
            else:
                yield preference


def _fit(preferences: Iterable[Preference], options: PairOptions, left_out: Counter[str]) -> Iterator[Preference]:
    for preference in preferences:
        if why := why_unfit(preference, options.length_gap):
            left_out[why] += 1
        else:
            yield preference
