"""Assign conversations to splits by conversation or by book, keep the CoSER test set out, and find leaks between splits.

Titles are compared by `title_key`, so that curly quotes, accents and file-name spellings do not hide a book. Spoken lines are
compared as well: conversations that share lines always go to the same split.
"""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic_core import from_json

from her.characters.coser import BookScene, load_book
from her.errors import InputError
from her.format import merged
from her.types import NonEmpty, Transcript, Value

By = Literal["conversation", "book"]
SHARES: dict[str, float] = {"sft": 0.33, "rm_sft": 0.33, "rm_rl": 0.2, "rl": 0.1, "test": 0.04}
"""Default shares of all target turns; HER's released split script has 33, 34, 25 and 8 % for the first four."""
REWARD_SPLITS = ("rm_sft", "rm_rl")
"""Splits of reward models; what RL answers is in neither."""
LINE_LETTERS = 32
"""Least letters and digits of a line that is compared; two books share a shorter line by chance."""
SHARED_LINES = 2
"""Number of common lines from which on two conversations count as the same scene."""
_STOCK = 64  # a line in more groups than this is a stock phrase and joins nothing
_WITNESSES = 8  # conversations kept for one line and split; without a bound, a common line makes `leaks` quadratic


class SplitUnit(Value):
    """Facts about one transcript that splitting needs.

    Args:
        id: id of the transcript.
        book: `title_key` of its source.
        turns: number of turns that have samples; the size of a split is the sum of these.
        lines: `fingerprints` of the transcript.
    """

    id: NonEmpty
    book: str
    turns: int
    lines: frozenset[int] = frozenset()


class Splits(Value):
    """Split of every conversation (`of`, by transcript id), and the settings that led to it."""

    by: By
    seed: int
    shares: dict[str, float]
    of: dict[str, str]


class HeldOut(Value):
    """Content of a CoSER test set that may not be trained on.

    Args:
        name: name of its file.
        books: `title_key`s of books that are held out completely.
        cases: id of each case by (title key, plot, conversation).
        lines: ids of the cases that have a line, by fingerprint.
        sizes: number of fingerprints of each case.
    """

    name: str
    books: frozenset[str]
    cases: dict[tuple[str, int, int], str]
    lines: dict[int, frozenset[str]]
    sizes: dict[str, int]

    def why(self, scene: BookScene) -> str:
        """Return why this scene may not be trained on; an empty string when it may."""
        if case := self.cases.get((title_key(scene.book), scene.plot, scene.conversation)):
            return f"it is case {case} of {self.name}"
        return self.why_transcript(scene.transcript())

    def why_transcript(self, transcript: Transcript) -> str:
        """Return why this transcript may not be trained on, by its book and its lines; an empty string when it may."""
        if title_key(transcript.scenario.source) in self.books:
            return f"{transcript.scenario.source!r} is a book that {self.name} holds out"
        shared = Counter(case for line in fingerprints(transcript) for case in self.lines.get(line, ()))
        for case, count in sorted(shared.items()):
            if count >= min(SHARED_LINES, self.sizes[case]):
                return f"{count} of its lines are those of case {case} of {self.name}"
        return ""


def title_key(title: str) -> str:
    """Return the letters and digits of a title without case and accents; the stripped title where it has none."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", title.casefold()) if not unicodedata.combining(c))
    # A title such as "???" has no letter; it must not equal every other one without letters.
    return re.sub(r"[\W_]+", "", plain) or title.strip()


def fingerprints(transcript: Transcript) -> frozenset[int]:
    """Return 63-bit hashes of the setting and of the speech of each turn, without case, blanks and punctuation."""
    # Merged as samples are: a line that stands in two turns of one file and in one of another is the same line.
    texts = [transcript.scenario.setting, *(turn.text("speech") for turn in merged(transcript.turns))]
    keys = (title_key(text) for text in texts)
    return frozenset(line_fingerprint(key) for key in keys if len(key) >= LINE_LETTERS)


def line_fingerprint(key: str) -> int:
    """Return the 63-bit hash of a line, given as its `title_key`."""
    return _number(key)


def chat_split(conversation: str, shares: Mapping[str, float] = SHARES, seed: int = 42) -> str:
    """Return the split of a chat of the playground, by a hash of its id: the same at every export, however many chats follow."""
    place = _number(f"{seed}\n{conversation}") / 2**63 * sum(shares.values())
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return list(shares)[-1]


def conversation(transcript: Transcript, turns: int) -> SplitUnit:
    """Return the facts about this transcript that splitting needs; `turns` is the number of its turns with samples."""
    book = title_key(transcript.scenario.source)
    return SplitUnit(id=transcript.id, book=book, turns=turns, lines=fingerprints(transcript))


def read_held_out(path: Path, whole_books: bool = False) -> HeldOut:
    """Read what a CoSER test set (`test_set.json`) holds out: each case, and the books tagged `ood`.

    Args:
        path: the file.
        whole_books: whether all books of the test set are held out completely, not only those tagged `ood`.

    Raises:
        InputError: as in `her.characters.coser.load_book`.
    """
    scenes = load_book(path).scenes
    content = from_json(path.read_bytes())
    ood = (
        {title_key(str(case.get("book"))) for case in content if case.get("tag") == "ood"} if isinstance(content, list) else set()
    )
    lines: defaultdict[int, set[str]] = defaultdict(set)
    cases, sizes = {}, {}
    for scene in scenes:
        case = f"{scene.book}-{scene.plot}-{scene.conversation}"
        cases[title_key(scene.book), scene.plot, scene.conversation] = case
        own = fingerprints(scene.transcript())
        sizes[case] = len(own)
        for line in own:
            lines[line].add(case)
    return HeldOut(
        name=path.name,
        books=frozenset({title_key(scene.book) for scene in scenes} if whole_books else ood),
        cases=cases,
        lines={line: frozenset(names) for line, names in lines.items()},
        sizes=sizes,
    )


def split(
    conversations: Iterable[SplitUnit],
    shares: Mapping[str, float],
    by: By = "conversation",
    seed: int = 42,
    keep: Mapping[str, str] | None = None,
) -> Splits:
    """Assign a split to every conversation; conversations that share lines, an id or (`by="book"`) a book stay together.

    The splits do not depend on the order of the conversations.

    Args:
        conversations: what to split.
        shares: wanted share of all turns by split; they are divided by their sum.
        by: what stays together at least.
        seed: seed of the order in which groups are assigned.
        keep: splits of an earlier run by transcript id, so that a conversation that was trained on is never tested on.

    Raises:
        InputError: no share is above 0, or `keep` puts conversations that belong together into two splits.
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    if not wanted or any(share < 0 for share in shares.values()):
        raise InputError(f"the shares {dict(shares)} give no split; at least one has to be above 0 and none below")
    groups = _groups(conversations, by)
    total = sum(size for _, size in groups)
    room = {name: share / sum(wanted.values()) * total for name, share in wanted.items()}
    of: dict[str, str] = {}
    fixed = {members: _kept(members, keep or {}, set(wanted)) for members, _ in groups}
    # Kept groups come first and use up room; the others follow in a random order that depends on the seed alone.
    ordered = sorted(groups, key=lambda group: (not fixed[group[0]], _number(f"{seed}\n{group[0][0]}")))
    for members, size in ordered:
        # The split with the most room left takes the group; equal room is decided by name, to be the same in every run.
        name = fixed[members] or max(room, key=lambda split: (room[split], split))
        if name in room:
            room[name] -= size
        of.update(dict.fromkeys(members, name))
    return Splits(by=by, seed=seed, shares=dict(wanted), of=dict(sorted(of.items())))


def leaks(conversations: Iterable[SplitUnit], splits: Splits) -> list[str]:
    """Return one sentence for each leak between two splits; an empty list when there is none."""
    problems: list[str] = []
    books: defaultdict[str, set[str]] = defaultdict(set)
    owners: defaultdict[int, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for unit in sorted(conversations, key=lambda unit: unit.id):
        if not (name := splits.of.get(unit.id, "")):
            problems.append(f"conversation {unit.id} is in no split")
            continue
        books[unit.book].add(name)
        for line in unit.lines:
            if len(ids := owners[line][name]) < _WITNESSES:
                ids.append(unit.id)
    shared = Counter(pair for by_split in owners.values() for pair in _across(by_split))
    for (first, second), count in sorted(shared.items()):
        if count >= SHARED_LINES:
            problems.append(f"{count} lines of {first} ({splits.of[first]}) are in {second} ({splits.of[second]}) as well")
    if splits.by == "book":
        parted = sorted((book, sorted(names)) for book, names in books.items() if len(names) > 1)
        problems += [f"book {book!r} is in the splits {', '.join(names)}" for book, names in parted]
    return problems


def _across(owners: Mapping[str, list[str]]) -> Iterable[tuple[str, str]]:
    """Yield the pairs of conversations of different splits, each in alphabetical order."""
    for (_, ours), (_, theirs) in combinations(owners.items(), 2):
        yield from ((min(left, right), max(left, right)) for left in ours for right in theirs)


class _Groups:
    """Groups of conversations that have to stay together, as a union-find whose roots are the smallest ids.

    Units have to be added in the order of their ids, so that the groups do not depend on the order of the input.
    """

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._owners: defaultdict[int, set[str]] = defaultdict(set)
        self._books: dict[str, str] = {}

    def add(self, unit: SplitUnit, by: By) -> None:
        """Add a unit and join it with every group it shares enough lines, or its book, with."""
        self._parent.setdefault(unit.id, unit.id)
        if by == "book":
            self._join(unit.id, self._books.setdefault(unit.book, unit.id))
        shared = Counter(root for line in unit.lines for root in self._roots(line))
        for root, count in shared.items():
            # A unit with a single line needs only that one.
            if count >= min(SHARED_LINES, len(unit.lines)):
                self._join(unit.id, root)
        for line in unit.lines:
            self._owners[line].add(self.root(unit.id))

    def root(self, unit_id: str) -> str:
        """Return the smallest id of the unit's group, and shorten the path to it (path halving)."""
        while (parent := self._parent[unit_id]) != unit_id:
            self._parent[unit_id] = unit_id = self._parent[parent]
        return unit_id

    def _roots(self, line: int) -> set[str]:
        """Return the groups that have this line; none when there are so many that it is a stock phrase."""
        roots = self._owners[line] = {self.root(owner) for owner in self._owners[line]}
        return roots if len(roots) <= _STOCK else set()

    def _join(self, left: str, right: str) -> None:
        low, high = sorted((self.root(left), self.root(right)))
        self._parent[high] = low


def _groups(conversations: Iterable[SplitUnit], by: By) -> list[tuple[tuple[str, ...], int]]:
    """Return the groups that have to stay together: their ids in order, and the sum of their turns."""
    groups = _Groups()
    turns: dict[str, int] = {}
    for unit in sorted(conversations, key=lambda unit: unit.id):
        groups.add(unit, by)
        turns[unit.id] = unit.turns
    members: defaultdict[str, list[str]] = defaultdict(list)
    for unit_id in turns:
        members[groups.root(unit_id)].append(unit_id)
    return [(tuple(ids), sum(turns[unit_id] for unit_id in ids)) for ids in members.values()]


def _kept(members: tuple[str, ...], keep: Mapping[str, str], names: set[str]) -> str:
    """Return the split that an earlier run gave to a group; an empty string when it had none of its members."""
    earlier = {keep[member] for member in members if member in keep}
    if len(earlier) > 1:
        raise InputError(
            f"the kept splits separate conversations that belong together ({members[0]}: {sorted(earlier)}); split without `keep`"
        )
    if unknown := earlier - names:
        raise InputError(f"a kept split is {unknown.pop()!r}; the shares name {', '.join(sorted(names))}")
    return next(iter(earlier), "")


def _number(text: str) -> int:
    # `hash` differs from process to process; 63 bits fit a signed 64-bit integer.
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1
