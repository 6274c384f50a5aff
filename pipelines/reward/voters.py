"""Scripted raters who vote on planted pairs through the store, so that a run can be tried from a database without people.

Twelve raters: honest ones of two camps of taste, a noisy one, one who votes at random and one who always takes the left side.
The camps' rules weigh the features of pipelines/reward/planted.py: both like inner thoughts and no fillers, and they disagree on
the act, which one wants to fit the prompt and the other to surprise. Each rater votes on pairs that others see as well, on catch
pairs, and on some of the first again with sides swapped.
"""

import hashlib
import math
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from her.store import Draft, Generation, Node, Store, Vote
from her.types import CastMember, Part, Preference, Sampling, Scenario, Turn, Winner

TASTES: dict[str, dict[str, float]] = {
    "A": {"thought": 1.0, "filler": 0.8, "gate": 1.6},
    "B": {"thought": 1.6, "filler": 0.8, "gate": -0.5},
}
"""What the good value of each feature is worth; A is the rule of the planted pairs. No sum with signs is 0."""
RATERS = [("A", "honest")] * 5 + [("B", "honest")] * 4 + [("A", "noisy"), ("A", "careless"), ("B", "left")]
TEMPERATURE = {"honest": 0.2, "noisy": 0.8}
CATCH_PAIRS = 10
REPEATED = 2
"""One in so many plain votes is repeated with sides swapped: few votes need many checks to tell guessing from care."""
OBVIOUS = 2.0
"""What a reply is worth more than a planted bad one, in every taste."""
VISITOR = "Tom"


class Shown(NamedTuple):
    """A pair in the store: chat, nodes of a and b, and what a is worth more than b in each taste."""

    chat: str
    nodes: tuple[str, str]
    worth: Mapping[str, float]
    worse_id: str | None = None


class Rater(NamedTuple):
    """A scripted rater: id as a visitor, taste and kind."""

    visitor_id: str
    taste: str
    kind: str


def planted_votes(preferences: Sequence[Preference], votes: int, file: Path, seed: int) -> None:
    """Write a database in which scripted raters have voted; nothing is done when the file is there, complete.

    Args:
        preferences: planted pairs.
        votes: of each rater on pairs that others see; repeats of some and CATCH_PAIRS catch pairs come on top.
    """
    if file.is_file():
        return
    part = file.with_name(f"{file.stem}-part{file.suffix}")
    _remove(part)
    chance = random.Random(f"voters {seed}")
    with closing(Store(f"sqlite:///{part}")) as store:
        author = visitor("author")
        pairs = _store_pairs(store, author, preferences)
        catches = [_catch_pair(store, author, pair) for pair in chance.sample(pairs, min(CATCH_PAIRS, len(pairs)))]
        for rater in raters():
            _cast(store, rater, chance.sample(pairs, min(votes, len(pairs))), catches, chance)
    os.replace(part, file)  # the last connection of a database writes its log back when it closes
    _remove(part)


def _remove(file: Path) -> None:
    """Remove a database and the files beside it."""
    for end in ("", "-wal", "-shm", ".lock"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def visitor(name: str) -> str:
    """Return the id of a scripted person."""
    return hashlib.sha256(name.encode()).hexdigest()


def raters() -> list[Rater]:
    """Return the twelve raters."""
    return [Rater(visitor(f"{number:02}-{taste}-{kind}"), taste, kind) for number, (taste, kind) in enumerate(RATERS)]


def _store_pairs(store: Store, author: str, preferences: Sequence[Preference]) -> list[Shown]:
    """Store the pairs in one chat for each of their conversations, each pair below a line of its own."""
    chats: dict[str, str] = {}
    pairs = []
    for preference in preferences:
        name, speaker = preference.conversation, preference.chosen.speaker
        if name not in chats:
            draft = Draft(
                title=name,
                persona_id=name.removeprefix("persona:"),
                visitor_name=VISITOR,
                speaker=speaker,
                scenario=Scenario(id=name),
                cast=(CastMember(name=speaker), CastMember(name=VISITOR)),
            )
            chats[name] = store.create_conversation(author, draft).id
        cue = Turn(speaker=VISITOR, parts=(Part(kind="speech", text=preference.prompt[-1].content),))
        above = store.add_turn(author, chats[name], None, cue, "visitor")
        a_wins = preference.verdict.winner == "a"
        sides = (preference.chosen, preference.rejected) if a_wins else (preference.rejected, preference.chosen)
        nodes = [_reply(store, author, above, preference, turn) for turn in sides]
        pairs.append(Shown(chats[name], (nodes[0].id, nodes[1].id), _worth(preference)))
    return pairs


def _reply(store: Store, author: str, above: Node, preference: Preference, turn: Turn) -> Node:
    record = Generation(
        conversation_id=above.conversation_id,
        parent_id=above.id,
        messages=preference.prompt,
        sampling=Sampling(),
        spec="planted:",
        model="planted",
        finish="stop",
        raw=turn.raw,
        started_at=0,
        ended_at=0,
    )
    return store.add_turn(author, above.conversation_id, above.id, turn, "model", generation=record, move_head=False)


def _worth(preference: Preference) -> dict[str, float]:
    """Return by taste what a is worth more than b, from the comparisons by which the pair was made."""
    signs: dict[Winner, int] = {"a": 1, "b": -1, "tie": 0}
    sides = {comparison.principle: signs[comparison.winner] for comparison in preference.verdict.comparisons}
    return {taste: sum(worth * sides[name] for name, worth in rule.items()) for taste, rule in TASTES.items()}


def _catch_pair(store: Store, author: str, pair: Shown) -> Shown:
    """Return a pair of a good reply and a planted one that says nothing."""
    good = store.node(author, pair.chat, pair.nodes[0])
    empty = Turn(speaker=good.turn.speaker, parts=(Part(kind="speech", text=":"),), raw=":")
    bad = store.add_turn(author, pair.chat, good.parent_id, empty, "planted", move_head=False)
    return Shown(pair.chat, (good.id, bad.id), dict.fromkeys(TASTES, OBVIOUS), bad.id)


def _cast(store: Store, rater: Rater, pairs: Sequence[Shown], catches: Sequence[Shown], chance: random.Random) -> None:
    """Cast all votes of one rater: plain ones, catch pairs, then repeats."""
    store.ensure_visitor(rater.visitor_id)
    asked = []
    for pair in [*pairs, *catches]:
        turned = chance.random() < 0.5
        shown = pair.nodes[::-1] if turned else pair.nodes
        ballot = store.add_ballot(rater.visitor_id, pair.chat, shown, worse_id=pair.worse_id)
        _vote(store, rater, ballot.id, pair, turned, chance)
        asked.append((ballot.id, pair, turned))
    for ballot_id, pair, turned in asked[: len(pairs) // REPEATED]:
        repeat = store.repeat_ballot(rater.visitor_id, ballot_id)
        _vote(store, rater, repeat.id, pair, not turned, chance)


def _vote(store: Store, rater: Rater, ballot_id: str, pair: Shown, turned: bool, chance: random.Random) -> None:
    """Vote by what this rater sees: the names a and b of a ballot follow the order of the nodes' ids."""
    worth = pair.worth[rater.taste]
    if rater.kind == "left":
        first = not turned
    elif rater.kind == "careless":
        first = chance.random() < 0.5
    else:
        first = chance.random() < 1 / (1 + math.exp(-worth / TEMPERATURE[rater.kind]))
    winner: Winner = "a" if first == (pair.nodes[0] < pair.nodes[1]) else "b"
    store.vote(rater.visitor_id, ballot_id, Vote(winner=winner))
