"""Which conversation trains what: splits by conversation or by book, what the CoSER test set holds out, and leaks between.

Names are compared by `title_key` on both sides, so that curly quotes, accents and file-name spellings do not hide a book.
Beside names, what is said is compared: two conversations that share lines are one as far as splits are concerned.
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
from her.types import NonEmpty, Transcript, Value

By = Literal["conversation", "book"]
SHARES: dict[str, float] = {"sft": 0.33, "rm_sft": 0.33, "rm_rl": 0.2, "rl": 0.1, "test": 0.04}
"""Parts of all target turns; of the order that her.md section 3 gives."""
LINE_LETTERS = 32
"""A spoken line with at least so many letters is one that two books do not share by chance."""
SHARED_LINES = 2
"""So many lines in common and two conversations tell the same scene."""
_STOCK = 64  # a line in more families than this is a stock phrase
_WITNESSES = 8  # conversations a split is asked for, for one line


class SplitUnit(Value):
    """What splitting has to know of a transcript.

    Args:
        id: of the transcript.
        book: `title_key` of its source.
        turns: how many turns may become samples; sizes of splits are counted in these.
        lines: `fingerprints` of what is said.
    """

    id: NonEmpty
    book: str
    turns: int
    lines: frozenset[int] = frozenset()


class Splits(Value):
    """The split of every conversation, by transcript id, and how it came about."""

    by: By
    seed: int
    shares: dict[str, float]
    of: dict[str, str]


class HeldOut(Value):
    """What a CoSER test set holds out of training.

    Args:
        name: of its file.
        books: `title_key`s of whole books that may not be trained on.
        cases: id of a case by `book, plot, conversation`.
        lines: which case says a line, by fingerprint; `sizes` how many such lines a case has.
    """

    name: str
    books: frozenset[str]
    cases: dict[tuple[str, int, int], str]
    lines: dict[int, frozenset[str]]
    sizes: dict[str, int]

    def why(self, scene: BookScene) -> str:
        """Why this scene of a book may not be trained on; empty when it may."""
        if case := self.cases.get((title_key(scene.book), scene.plot, scene.conversation)):
            return f"it is case {case} of {self.name}"
        return self.why_transcript(scene.transcript())

    def why_transcript(self, transcript: Transcript) -> str:
        """The same where plot and conversation are not known: by the book and by what is said."""
        if title_key(transcript.scenario.source) in self.books:
            return f"{transcript.scenario.source!r} is a book that {self.name} holds out"
        shared = Counter(case for line in fingerprints(transcript) for case in self.lines.get(line, ()))
        for case, count in sorted(shared.items()):
            if count >= min(SHARED_LINES, self.sizes[case]):
                return f"{count} of its lines are those of case {case} of {self.name}"
        return ""


def title_key(title: str) -> str:
    """The letters and digits of a title, without case, accents, quotes and file-name spellings."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", title.casefold()) if not unicodedata.combining(c))
    return re.sub(r"[\W_]+", "", plain) or title.strip()


def fingerprints(transcript: Transcript) -> frozenset[int]:
    """Numbers of 63 bits for the setting and all that is said aloud, whatever its case, blanks and punctuation."""
    texts = [transcript.scenario.setting, *(turn.text("speech") for turn in transcript.turns)]
    keys = (title_key(text) for text in texts)
    return frozenset(_number(key) for key in keys if len(key) >= LINE_LETTERS)


def conversation(transcript: Transcript, turns: int) -> SplitUnit:
    """What splitting has to know of this transcript."""
    book = title_key(transcript.scenario.source)
    return SplitUnit(id=transcript.id, book=book, turns=turns, lines=fingerprints(transcript))


def read_held_out(path: Path, whole_books: bool = False) -> HeldOut:
    """A CoSER test set (`test_set.json`) as what it holds out: each case, and the books marked `ood`, or all books.

    Raises:
        InputError: as `her.characters.coser.load_book`.
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
    """A split for every conversation; those that share a book (`by="book"`), an id or lines are never parted.

    The same conversations give the same splits, in whatever order they come.

    Args:
        shares: how much of all turns a split is to have; they are taken relative to their sum.
        keep: splits of an earlier run by transcript id, so that what was trained on is never tested on later.

    Raises:
        InputError: no share is above zero, or `keep` puts conversations of one group into two splits.
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    if not wanted or any(share < 0 for share in shares.values()):
        raise InputError(f"the shares {dict(shares)} give no split; at least one has to be above 0 and none below")
    groups = _groups(conversations, by)
    total = sum(size for _, size in groups)
    room = {name: share / sum(wanted.values()) * total for name, share in wanted.items()}
    of: dict[str, str] = {}
    fixed = {members: _kept(members, keep or {}, set(wanted)) for members, _ in groups}
    in_turn = sorted(groups, key=lambda group: (not fixed[group[0]], _number(f"{seed}\n{group[0][0]}")))
    for members, size in in_turn:
        name = fixed[members] or max(room, key=lambda one: (room[one], one))
        if name in room:
            room[name] -= size
        of.update(dict.fromkeys(members, name))
    return Splits(by=by, seed=seed, shares=dict(wanted), of=dict(sorted(of.items())))


def leaks(conversations: Iterable[SplitUnit], splits: Splits) -> list[str]:
    """Every way in which one split knows another, one sentence each; none is as it should be."""
    found: list[str] = []
    books: defaultdict[str, set[str]] = defaultdict(set)
    owners: defaultdict[int, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in sorted(conversations, key=lambda one: one.id):
        if not (name := splits.of.get(one.id, "")):
            found.append(f"conversation {one.id} is in no split")
            continue
        books[one.book].add(name)
        for line in one.lines:
            if len(known := owners[line][name]) < _WITNESSES:
                known.append(one.id)
    shared = Counter(pair for by_split in owners.values() for pair in _across(by_split))
    for (one_id, other), count in sorted(shared.items()):
        if count >= SHARED_LINES:
            found.append(f"{count} lines of {one_id} ({splits.of[one_id]}) stand in {other} ({splits.of[other]}) as well")
    if splits.by == "book":
        parted = sorted((book, sorted(names)) for book, names in books.items() if len(names) > 1)
        found += [f"book {book!r} is in the splits {', '.join(names)}" for book, names in parted]
    return found


def _across(owners: Mapping[str, list[str]]) -> Iterable[tuple[str, str]]:
    """Pairs of conversations of different splits."""
    for (_, ours), (_, theirs) in combinations(owners.items(), 2):
        yield from ((min(one, other), max(one, other)) for one in ours for other in theirs)


class _Families:
    """Conversations that have to stay together (a union-find); one that shares lines with a family belongs to it."""

    def __init__(self) -> None:
        self._leader: dict[str, str] = {}
        self._owners: defaultdict[int, set[str]] = defaultdict(set)
        self._books: dict[str, str] = {}

    def add(self, one: SplitUnit, by: By) -> None:
        self._leader.setdefault(one.id, one.id)
        if by == "book":
            self._join(one.id, self._books.setdefault(one.book, one.id))
        known = Counter(family for line in one.lines for family in self._families(line))
        for family, count in known.items():
            if count >= min(SHARED_LINES, len(one.lines)):
                self._join(one.id, family)
        for line in one.lines:
            self._owners[line].add(self.top(one.id))

    def top(self, one: str) -> str:
        while (above := self._leader[one]) != one:
            self._leader[one] = one = self._leader[above]
        return one

    def _families(self, line: int) -> set[str]:
        """Who says this line; nobody, when so many do that it is a stock phrase."""
        tops = self._owners[line] = {self.top(one) for one in self._owners[line]}
        return tops if len(tops) <= _STOCK else set()

    def _join(self, one: str, other: str) -> None:
        low, high = sorted((self.top(one), self.top(other)))
        self._leader[high] = low


def _groups(conversations: Iterable[SplitUnit], by: By) -> list[tuple[tuple[str, ...], int]]:
    """Conversations that have to stay together, as sorted ids, with the turns they have."""
    families = _Families()
    turns: dict[str, int] = {}
    for one in sorted(conversations, key=lambda one: one.id):
        families.add(one, by)
        turns[one.id] = one.turns
    members: defaultdict[str, list[str]] = defaultdict(list)
    for own in turns:
        members[families.top(own)].append(own)
    return [(tuple(ids), sum(turns[own] for own in ids)) for ids in members.values()]


def _kept(members: tuple[str, ...], keep: Mapping[str, str], names: set[str]) -> str:
    """The split that an earlier run gave to these; empty when it knew none of them."""
    earlier = {keep[one] for one in members if one in keep}
    if len(earlier) > 1:
        raise InputError(f"the kept splits part conversations that belong together ({members[0]}: {sorted(earlier)}); split anew")
    if unknown := earlier - names:
        raise InputError(f"a kept split is {unknown.pop()!r}; the shares name {', '.join(sorted(names))}")
    return next(iter(earlier), "")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1
