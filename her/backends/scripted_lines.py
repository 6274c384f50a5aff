"""Find the written lines that fit a visitor's words: BM25 (package bm25s) over the cues of one persona's exchanges.

Every cue is a document. English words are lower-cased and lightly stemmed, and an unknown word counts as the nearest known one.
Chinese is split into characters and pairs of characters. A line fits when one of its cues covers THRESHOLD of the weight of one
sentence.
"""

import difflib
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from her.format import parse, render
from her.kinds import KINDS, REPLY_KINDS, Kind
from her.types import Exchange, Part

THRESHOLD = 0.5
"""Share of a sentence's weight that a cue must cover. With 0.5 at least 99 % of the project's cues find their own line."""
LONGEST_QUERY = 2_000
"""Number of characters, from the end of a message, that are searched: questions come last."""
QUESTION, EARLIER = 1.5, 0.7
"""Factors of a sentence's score: a question is to be answered; a sentence before the last is often a greeting or a name."""
SLOT = re.compile(r"\{(visitor|place|name)\}")
_SENTENCE = re.compile(r"([^.,!?;:\n。，！？；：…]+)(\s*[?？])?")
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_WIDE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+|[^\u3400-\u9fff\uf900-\ufaff]+")
_SHORT_FORMS = (
    ("can't", "can not"),
    ("won't", "will not"),
    ("n't", " not"),
    ("'re", " are"),
    ("'m", " am"),
    ("'ll", " will"),
    ("'ve", " have"),
    ("'d", " would"),
    ("'s", " is"),
)
_SAME = {"hi": "hello", "hey": "hello", "bye": "goodbye", "yeah": "yes", "yep": "yes", "ok": "yes", "okay": "yes", "nope": "no"}
_WEAK_ENGLISH = """a an the this that these those there here it its i me my mine myself you your yours yourself he him his she her
we us our they them their is am are was were be been being do does did have has had will would can could shall should may might
must to of in on at by for from with about into as and or but so if then than not too very really just quite rather please now
again any some something anything thing much more most exactly right oh ah hm well think tell say said know like get go let"""
_WEAK_WIDE = frozenset("你您我他她它们的了吗呢吧啊呀么是在有这那个什不也就都还和与很太真要会能说想看去来到里得着过给一多少可以")


def split_tokens(text: str) -> list[str]:
    """Return the tokens to compare: stems of words; characters of Chinese and pairs of neighbours."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    for short, long in _SHORT_FORMS:
        text = text.replace(short, long)
    tokens: list[str] = []
    for word in _TOKEN.findall(text):
        for run in _RUN.findall(word):
            if _WIDE.match(run):
                tokens += [*run, *map("".join, zip(run, run[1:], strict=False))]
            else:
                tokens.append(_stem(_SAME.get(run, run)))
    return tokens


def token_weight(word: str) -> float:
    """Return how much a token says about the subject: 1; less for function words and single Chinese characters."""
    if not _WIDE.match(word):
        return 0.2 if word in _WEAK else 1.0
    if len(word) == 1:
        return 0.1 if word in _WEAK_WIDE else 0.5
    return 0.3 if all(char in _WEAK_WIDE for char in word) else 1.0


def _unknown_weight(word: str) -> float:
    """Return the weight of a token that no cue has.

    It is lower than `token_weight`: cues are few, so an unknown word is weak evidence that the visitor means something else.
    """
    return token_weight(word) * (0.2 if _WIDE.match(word) and len(word) == 2 else 0.5)


def _stem(word: str) -> str:
    """Remove the endings -ies, -s, -ing, -ed and -ly, which is enough for cues of a few words."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "ly", "s"):
        if len(word) - len(ending) >= 3 and word.endswith(ending) and not word.endswith("ss"):
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word


_WEAK = frozenset(map(_stem, _WEAK_ENGLISH.split()))


class ScriptedLine:
    """One parsed exchange: its parts with slots such as {visitor}, and a test whether a message contains it."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self.cues, self.anytime = exchange.cues, exchange.anytime
        self._parts = parse(exchange.reply, name, notation="coser", reasoning=exchange.plan).parts
        # SLOT has one group, so every second piece of the split is fixed text; the others are names of slots.
        fixed = (fragment for part in self._parts if part.kind in REPLY_KINDS for fragment in SLOT.split(part.text)[::2])
        self._fragments = [bare for fragment in fixed if (bare := _bare(fragment))]

    def written(self, name: str, slots: dict[str, str], kinds: Sequence[Kind] = KINDS) -> str:
        """Return the line in the canonical format with its slots filled.

        All slots are filled in one pass, so a visitor whose name is "{place}" is not expanded again.
        """
        filled = (Part(kind=part.kind, text=SLOT.sub(lambda slot: slots[slot[1]], part.text)) for part in self._parts)
        return render(filled, name, kinds=kinds)

    def was_said_in(self, message: str) -> bool:
        """Return True when the fixed text of this line is in the message, whatever fills the slots.

        Args:
            message: letters and digits only, see `_bare`.
        """
        end = 0
        for fragment in self._fragments:
            start = message.find(fragment, end)
            if start < 0:
                return False
            end = start + len(fragment)
        return bool(self._fragments)


class RecentReplies:
    """The last replies of the assistant, reduced to letters and digits."""

    def __init__(self, messages: Iterable[str], name: str) -> None:
        self._bare = [_bare(parse(message, name, notation="her").text(*REPLY_KINDS)) for message in messages]

    def includes(self, line: ScriptedLine) -> bool:
        """Return True when one of the replies is this line."""
        return any(line.was_said_in(message) for message in self._bare)


class Lines:
    """All lines of one character and the index over their cues. The index is built at the first search."""

    def __init__(self, exchanges: Iterable[Exchange], name: str) -> None:
        self.name = name
        self.all = tuple(ScriptedLine(exchange, name) for exchange in exchanges)
        self.anytime = tuple(line for line in self.all if line.anytime)

    def find_fitting(self, text: str, ignored: Iterable[str] = ()) -> list[ScriptedLine]:
        """Return the lines whose cues fit one sentence of `text`, the best first.

        Args:
            text: the visitor's words, without tags.
            ignored: names that say nothing about the subject.
        """
        ignored_tokens = {token for name in ignored for token in split_tokens(name)}
        best: dict[ScriptedLine, float] = {}
        sentences = list(_SENTENCE.finditer(text[-LONGEST_QUERY:]))
        for number, sentence in enumerate(sentences):
            factor = (QUESTION if sentence[2] else 1.0) * (1.0 if number + 1 == len(sentences) else EARLIER)
            for line, score in self._matches(sentence[1], ignored_tokens):
                best[line] = max(best.get(line, 0.0), factor * score)
        order = {line: place for place, line in enumerate(self.all)}
        return sorted(best, key=lambda line: (-best[line], order[line]))

    def _matches(self, sentence: str, ignored: set[str]) -> Iterable[tuple[ScriptedLine, float]]:
        """Yield line and score for each cue that covers enough of the sentence; a cue said word for word beats all others."""
        words = list(dict.fromkeys(split_tokens(sentence)))
        words = [word for word in words if word not in ignored] or words  # a sentence may be nothing but a name
        nearest = {word: self._nearest_known(word) for word in words}
        known = [near for near in nearest.values() if near]
        if not known:
            return
        unknown = sum(_unknown_weight(word) for word, near in nearest.items() if not near) * self._typical_score
        # Weight of the sentence: the score of a cue that has every known word at its best, plus the unknown words.
        full = sum(token_weight(word) * float(self._scores[word].max()) for word in known) + unknown
        # BM25 is a sum over query words, so the scores of each word can be weighted on their own.
        scores = sum(token_weight(word) * self._scores[word] for word in known)
        for place in (scores >= THRESHOLD * full).nonzero()[0]:
            line, cue = self._cues[place]
            yield line, float(scores[place]) + (full if set(cue) == set(known) else 0.0)

    def _nearest_known(self, word: str) -> str:
        """Return the word if a cue has it, else the known word it may be a misspelling of, else an empty string."""
        if word in self._scores or word in _WEAK or len(word) < 4 or _WIDE.match(word):
            return word if word in self._scores else ""
        close = difflib.get_close_matches(word, self._scores, 1, 0.8)
        return close[0] if close else ""

    @cached_property
    def _cues(self) -> list[tuple[ScriptedLine, list[str]]]:
        return [(line, words) for line in self.all for cue in line.cues if (words := split_tokens(cue))]

    @cached_property
    def _scores(self) -> dict[str, Any]:
        """Known word -> its BM25 score in each cue, a float32 array of shape (cues,)."""
        if not self._cues:
            return {}
        import bm25s  # the import takes 0.25 s, and most personas are never searched

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # bm25s sets DEBUG when it is imported
        index = bm25s.BM25(method="lucene", backend="numpy")
        index.index([words for _, words in self._cues], show_progress=False)
        return {word: index.get_scores([word]) for word in sorted({word for _, words in self._cues for word in words})}

    @cached_property
    def _typical_score(self) -> float:
        """Assumed score of a word that no cue has: the median over the known words' best scores."""
        return float(sorted(scores.max() for scores in self._scores.values())[len(self._scores) // 2])


def _bare(text: str) -> str:
    """Return letters and digits only, so that white space and punctuation around a filled slot do not matter."""
    return "".join(char for char in text if char.isalnum())
