"""Which written line fits what was said: BM25 (bm25s) over the cues of one persona's exchanges.

Every cue is a document. Words are lower-cased, lightly stemmed and, when unknown, read as the nearest known word; Chinese
goes by characters and pairs of them. A line fits when its cue covers enough of the weight of one sentence that was said.
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
"""Share of a sentence's weight that a cue must cover."""
LONGEST_QUERY = 2_000
"""Characters of a message that are looked at, its end: what is asked comes last."""
ASKED, EARLIER = 1.5, 0.7
"""Of several sentences a question wants its answer, and the last counts more than a name that is called or a greeting."""
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
    """The words to compare: stems of words, characters and neighbouring pairs of Chinese."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    for short, long in _SHORT_FORMS:
        text = text.replace(short, long)
    found: list[str] = []
    for word in _TOKEN.findall(text):
        for run in _RUN.findall(word):
            found += [*run, *map("".join, zip(run, run[1:], strict=False))] if _WIDE.match(run) else [_stem(_SAME.get(run, run))]
    return found


def token_weight(word: str) -> float:
    """How much a word says about the matter: 1, less for the words that every sentence has and for single characters."""
    if not _WIDE.match(word):
        return 0.2 if word in _WEAK else 1.0
    if len(word) == 1:
        return 0.1 if word in _WEAK_WIDE else 0.5
    return 0.3 if all(char in _WEAK_WIDE for char in word) else 1.0


def _unknown_weight(word: str) -> float:
    """The same for a word of no cue: cues are few, so a strange word is a weaker sign that something else is meant."""
    return token_weight(word) * (0.2 if _WIDE.match(word) and len(word) == 2 else 0.5)


def _stem(word: str) -> str:
    """Endings off: plural, -ing, -ed, -ly; enough for cues of a few words."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "ly", "s"):
        if len(word) - len(ending) >= 3 and word.endswith(ending) and not word.endswith("ss"):
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word


_WEAK = frozenset(map(_stem, _WEAK_ENGLISH.split()))


class ScriptedLine:
    """One exchange, read: its parts with open slots, and how to recognise it when it was said with filled ones."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self.cues, self.anytime = exchange.cues, exchange.anytime
        self._parts = parse(exchange.reply, name, notation="coser", reasoning=exchange.plan).parts
        spoken = (fragment for part in self._parts if part.kind in REPLY_KINDS for fragment in SLOT.split(part.text)[::2])
        self._fragments = [bare for fragment in spoken if (bare := _bare(fragment))]

    def written(self, name: str, slots: dict[str, str], kinds: Sequence[Kind] = KINDS) -> str:
        """The line in the canonical format, its slots filled in one pass: what fills them is never expanded again."""
        filled = (Part(kind=part.kind, text=SLOT.sub(lambda slot: slots[slot[1]], part.text)) for part in self._parts)
        return render(filled, name, kinds=kinds)

    def was_said_in(self, message: str) -> bool:
        """Whether the fixed text of this line stands in a message made bare by `Said`, whatever filled its slots."""
        at = 0
        for fragment in self._fragments:
            if (found := message.find(fragment, at)) < 0:
                return False
            at = found + len(fragment)
        return bool(self._fragments)


class RecentReplies:
    """The replies among the last messages of the assistant."""

    def __init__(self, messages: Iterable[str], name: str) -> None:
        self._bare = [_bare(parse(message, name, notation="her").text(*REPLY_KINDS)) for message in messages]

    def has(self, line: ScriptedLine) -> bool:
        """Whether a line is among them."""
        return any(line.was_said_in(message) for message in self._bare)


class Lines:
    """All lines of one player, and the index over their cues; the index is made when it is first asked."""

    def __init__(self, exchanges: Iterable[Exchange], name: str) -> None:
        self.name = name
        self.all = tuple(ScriptedLine(exchange, name) for exchange in exchanges)
        self.anytime = tuple(line for line in self.all if line.anytime)

    def fitting(self, text: str, ignored: Iterable[str] = ()) -> list[ScriptedLine]:
        """The lines whose cues fit one sentence of `text`, the best first.

        Args:
            text: what was said, without tags.
            ignored: names that say nothing about the matter.
        """
        unheard = {token for name in ignored for token in split_tokens(name)}
        best: dict[ScriptedLine, float] = {}
        sentences = list(_SENTENCE.finditer(text[-LONGEST_QUERY:]))
        for number, sentence in enumerate(sentences):
            asked = ASKED if sentence[2] else 1.0
            weighed = asked if number + 1 == len(sentences) else asked * EARLIER
            for line, score in self._matches(sentence[1], unheard):
                best[line] = max(best.get(line, 0.0), weighed * score)
        order = {line: place for place, line in enumerate(self.all)}
        return sorted(best, key=lambda line: (-best[line], order[line]))

    def _matches(self, sentence: str, unheard: set[str]) -> Iterable[tuple[ScriptedLine, float]]:
        """Line and score of each cue that covers enough of the sentence; a cue said word for word goes before all others."""
        words = list(dict.fromkeys(split_tokens(sentence)))
        words = [word for word in words if word not in unheard] or words
        known = [near for word in words if (near := self._known(word))]
        if not known:
            return
        strange = sum(_unknown_weight(word) for word in words if not self._known(word)) * self._typical
        whole = sum(token_weight(word) * float(self._scores[word].max()) for word in known) + strange
        # BM25 is a sum over the words asked for, so words of little meaning can be made to count less.
        scores = sum(token_weight(word) * self._scores[word] for word in known)
        for place in (scores >= THRESHOLD * whole).nonzero()[0]:
            line, cue = self._cues[place]
            yield line, float(scores[place]) + (whole if set(cue) == set(known) else 0.0)

    def _known(self, word: str) -> str:
        """The word, or the known word it is a slip for, or nothing."""
        if word in self._scores or word in _WEAK or len(word) < 4 or _WIDE.match(word):
            return word if word in self._scores else ""
        close = difflib.get_close_matches(word, self._scores, 1, 0.8)
        return close[0] if close else ""

    @cached_property
    def _cues(self) -> list[tuple[ScriptedLine, list[str]]]:
        return [(line, words) for line in self.all for cue in line.cues if (words := split_tokens(cue))]

    @cached_property
    def _scores(self) -> dict[str, Any]:
        """Known word -> its BM25 score in each cue, float32 of shape (cues,)."""
        if not self._cues:
            return {}
        import bm25s  # here, because it takes a quarter of a second and most players are never asked

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG when it is imported
        index = bm25s.BM25(method="lucene", backend="numpy")
        index.index([words for _, words in self._cues], show_progress=False)
        return {word: index.get_scores([word]) for word in sorted({word for _, words in self._cues for word in words})}

    @cached_property
    def _typical(self) -> float:
        """The score of a word that no cue has: the median of the known ones."""
        return float(sorted(scores.max() for scores in self._scores.values())[len(self._scores) // 2])


def _bare(text: str) -> str:
    """Letters and digits only, so that white space and punctuation at a filled slot do not matter."""
    return "".join(char for char in text if char.isalnum())
