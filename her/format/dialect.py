"""The dialect of a whole turn: which stars, brackets, quotes and labels in its bare text are thoughts and acts.

Only in the notation `auto`, and only where no role tag came first. A star is emphasis or an act depending on the rest of the
turn, so this runs on the whole text (again for each picture of a stream): a turn in which one starred span is surely an act is in
the asterisk dialect, and there every starred span is one and bold is emphasis. docs/format.md has the rules.

Each span is found by one pattern whose alternatives are bounded, so the time is linear in the text.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from her.format.mark_table import LABELS, NOTE_WORDS, THOUGHT_WORDS
from her.format.markers import stands_free
from her.format.tags import any_word
from her.kinds import BARE, STARRED, Kind

THOUGHT: Kind = "role_thinking"
_LETTER = r"[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
"""A letter or digit of a script that is written with blanks."""
_MOST = 1_200
"""Longest span in characters."""
_LABEL_WORDS, _NOTES = any_word(LABELS), any_word(NOTE_WORDS)
_BRACKETS, _ROUND, _SQUARE = "[(（【［〔〖", "(（", "[［【〔〖"
_OVER_LINES = r'(?:\A|(?<=[\s.!?…"”]))\*(?![\s*])(?>[^*\n]{1,600})\n(?>[^*]{1,600})(?<!\s)\*(?![\w*])'
_FORMS: tuple[tuple[str, str, str], ...] = (
    ("`", "literal", r"```[\s\S]*?(?:```|\Z)"),
    ("!", "literal", r"!\[[^\[\]\n]{0,300}\]\([^()\s]{1,500}\)"),
    ("[", "literal", r"\[[^\[\]\n]{0,300}\](?:\([^()\s]{1,500}\)|:\s{0,3}https?:)"),
    ("[", "literal", r"\[(?:\^?[\d,\s–-]{1,9}|[\sxX✓✔✗*-]?|\^[^\[\]\n]{1,30})\]"),
    ("(", "literal", r"\(\((?>[^()]{0,600})\)\) | \(\d{1,4}\) | (?:(?<=\n)|\A)\([a-zA-Z]\)(?=\s[^\[(*])"),
    ("[(（【［", "literal", rf".\s{{0,2}}(?i:{_NOTES})(?!\w)(?>[^\[\]()（）【】［］]{{0,600}})[\])）】］]"),
    (
        "[(（【［*",
        "label",
        rf"(?:\*\*|.)\s{{0,2}}(?P<labelled>(?i:{_LABEL_WORDS}))\s{{0,2}}[:：]?(?:[】\]］)）]|\*{{1,2}})[:：]?[ \t]{{0,3}}",
    ),
    ('"“', "quoted", r'(?<![\w"“])["“](?>[^"“”\n]{0,2000})["”]'),
    ("*", "bold", rf"\*{{4,}} | (?<!\*)\*\*(?![\s*])(?>[^*\n]{{1,{_MOST}}})(?<!\s)\*\*(?!\*)"),
    ("_", "bold", rf"(?<!\w)__(?![\s_])(?>[^_\n]{{1,{_MOST}}})(?<!\s)__(?!\w)"),
    ("*", "strong", rf"(?<!\*)\*\*\*(?![\s*])(?>[^*\n]{{1,{_MOST}}})(?<!\s)\*\*\*(?!\*)"),
    (
        "*",
        "star",
        rf"""(?<!\*)(?<!{_LETTER})\*(?![\s*])
        (?: (?>[^*\n]{{1,400}})(?<=\s)\*(?![\s*])(?>[^*\n]{{1,200}})(?<!\s)\*(?=\s)(?>[^*\n]{{1,400}})(?<!\s)\*(?![\w*])
          | (?>(?:[^*\n]+|\*\*(?!\*)(?>[^*\n]{{1,200}})\*\*){{1,40}})(?<!\s)(?<!\*)\*(?!\*) )""",
    ),
    ("*", "star", rf"(?<={_LETTER})\*(?=[^\W\d])(?>[^*\n]{{3,80}})(?<!\s)\*(?!\*)(?!{_LETTER})"),
    ("*", "star", r"(?:(?<=\n)|\A)\*[ \t]{1,3}(?>[^*\n]{1,300})(?<=[ \t])\*(?=\s|\Z)"),
    ("*", "star", _OVER_LINES),
    ("＊", "star", rf"(?<!＊)＊(?!\s)(?>[^＊\n]{{1,{_MOST}}})＊"),
    ("*", "begun", rf'(?:\A|(?<=\s)|(?<=[.!?…。！？"”)）]))\*(?![\s*])(?>[^*\n]{{2,{_MOST}}})(?=\n|\Z)'),
    ("_", "under", rf"(?<!\w)_(?![\s_])(?>[^_\n]{{1,{_MOST}}})(?<!\s)_(?!\w)"),
    ("`", "tick", rf"(?<!`)`(?![`\s])(?>[^`\n]{{1,{_MOST}}})`(?!`)"),
    (">", "quote", rf"(?:(?<=\n)|\A)>[ \t]?(?P<quoting>[^\n]{{1,{_MOST}}})"),
    ("[", "thought", r"\[(?>(?:[^\[\]]+|\[[^\[\]]{0,300}\]){0,40})\]"),
    *((pair[0], "thought", rf"{pair[0]}(?>[^{pair}]{{0,{_MOST}}}){pair[1]}") for pair in ("［］", "〔〕", "【】", "〖〗")),
    (_ROUND, "act", r"[(（](?>(?:[^()（）]+|[(（][^()（）]{0,300}[)）]){0,40})[)）]"),
    ("[(（【［〔", "open", r".(?>[^\n]*)"),
)
"""First characters, name and pattern of each span, in the order in which they are tried; all are bounded or atomic."""
_PATTERNS = {
    char: re.compile(
        "|".join(f"(?P<{name}{n}>{form})" for n, (chars, name, form) in enumerate(_FORMS) if char in chars), re.VERBOSE
    )
    for char in dict.fromkeys("".join(chars for chars, _, _ in _FORMS))
}
_LONE_STAR = re.compile(
    "|".join(
        f"(?P<{name}{n}>{form})"
        for n, (chars, name, form) in enumerate(_FORMS)
        if "*" in chars and (name in ("label", "begun") or form == _OVER_LINES)
    ),
    re.VERBOSE,
)
"""The patterns for a star behind which no other one stands on its line."""
_NEXT = re.compile(f"[{re.escape(''.join(_PATTERNS))}]").search
_NEXT_ASCII = re.compile(r"[`!\[(*\"_>]").search
_MAY_HOLD = re.compile(r"[*＊_`>\[(（【［〔〖]").search
_SURE_START = re.compile(r"(?:\A|[\n.!?…。！？~～—\"”'’」』)）\]】*:：;；])[\s\u200b]*\Z")
_OPENING = re.compile(r"(?:\A|\n)[\s\"“]*\Z")
_NOT_VERBS = frozenset(
    [
        "this",
        "yes",
        "always",
        "perhaps",
        "his",
        "hers",
        "ours",
        "yours",
        "theirs",
        "was",
        "has",
        "does",
        "us",
        "as",
        "is",
        "less",
        "unless",
        "its",
        "thus",
        "plus",
        "sometimes",
        "besides",
        "towards",
        "across",
        "afterwards",
        "these",
        "those",
        "years",
        "days",
        "hours",
        "things",
        "words",
        "pass",
        "class",
        "guess",
        "miss",
    ]
)
_NOT_DOING = frozenset(
    [
        "everything",
        "nothing",
        "something",
        "anything",
        "king",
        "thing",
        "bring",
        "during",
        "evening",
        "morning",
        "ring",
        "sing",
        "spring",
        "string",
    ]
)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LONE_STOP = re.compile(r"[ \t]*(?:[.,;:。，；：、]|[!?！？]+)(?=\s|\Z)")
_THOUGHT_WORD = re.compile(rf"(?i:{any_word(THOUGHT_WORDS)})\s*[:：，,]\s*(?=\S)")
_INNER_LABEL = re.compile(rf"(?i:({_LABEL_WORDS}))\s*[:：]\s*(?=\S)")
_CODE = re.compile(r"[=;{}<>\\/|$]|\w\(|^\S*[_.]\S*$")
_SENTENCE = re.compile(r"[.!?…。！？~]\W*$|\s\S+\s|[\u3400-\u9fff]")


class Found(NamedTuple):
    """One span of a run: its name in the pattern, its place, and the text within its marks."""

    name: str
    start: int
    end: int
    inner: str


class DialectReading(NamedTuple):
    """The runs of a turn after its dialect was read, and whether any mark of a dialect was."""

    runs: list[tuple[Kind, str]]
    foreign: bool


def read_dialect(runs: Sequence[tuple[Kind, str]], tagged: int | None) -> DialectReading:
    """Return the runs with the thoughts and acts of their bare text as runs of their own.

    Args:
        runs: kinds and texts in order; only those of the kind `BARE` are looked at.
        tagged: number of runs before the first role tag; if these hold no mark of a dialect, nothing is one. None: no tag came.
    """
    if not any(kind == BARE and _MAY_HOLD(text) for kind, text in runs):
        return DialectReading(list(runs), False)
    spans = [list(_spans(text)) if kind == BARE else [] for kind, text in runs]
    starred = any(_is_sure(found, text) for found, text in _each(spans, runs))
    if tagged is not None and not any(_reads(found, text, starred) for found, text in _each(spans[:tagged], runs[:tagged])):
        return DialectReading(list(runs), False)
    read: list[tuple[Kind, str]] = []
    foreign = False
    for (kind, text), found in zip(runs, spans, strict=True):
        if found:
            pieces = _Cutter(text, starred).cut(found)
            foreign = foreign or any(one != BARE for one, _ in pieces) or len(pieces) > 1
            read += pieces
        else:
            read.append((kind, text))
    return DialectReading(read, foreign)


def _each(spans: Sequence[list[Found]], runs: Sequence[tuple[Kind, str]]) -> Iterable[tuple[Found, str]]:
    return ((one, text) for found, (_, text) in zip(spans, runs, strict=True) for one in found)


def _matches(text: str, start: int, end: int) -> Iterable[tuple[str, re.Match[str]]]:
    """Yield name and match of each span between two places."""
    search = _NEXT_ASCII if text.isascii() else _NEXT
    at = start
    while at < end and (stop := search(text, at, end)):
        at = stop.start()
        pattern = _PATTERNS[text[at]]
        if text[at] == "*" and ((next_star := text.find("*", at + 1, end)) < 0 or text.find("\n", at, next_star) > 0):
            pattern = _LONE_STAR
        match = pattern.match(text, at, end)
        if match is None:
            at += 1
            continue
        yield (match.lastgroup or "").rstrip("0123456789"), match  # of nested groups the outer one closes last
        at = match.end()


def _spans(text: str) -> Iterable[Found]:
    for name, match in _matches(text, 0, len(text)):
        if name in ("literal", "bold"):
            continue
        if name == "quoted":
            yield from _in_quotes(text, match.start(), match.end())
            continue
        inner = match["labelled"] if name == "label" else match["quoting"] if name == "quote" else match[0]
        yield Found(name, match.start(), match.end(), inner)


def _in_quotes(text: str, start: int, end: int) -> Iterable[Found]:
    """Yield the starred spans of quoted speech that say what somebody does; any other star in it is emphasis."""
    if text.find("*", start, end) >= 0:
        for name, match in _matches(text, start + 1, end - 1):
            if name == "star" and _does(match[0].strip("*")):
                yield Found("star", match.start(), match.end(), match[0])


def _reads(found: Found, text: str, starred: bool) -> bool:
    return found.name in ("label", "quote") or _Cutter(text, starred).kind_of(found) is not None


def _is_sure(found: Found, text: str) -> bool:
    """Return whether a starred span is an act whatever the rest of the turn is like."""
    if found.name == "begun":
        return _SURE_START.search(text, max(0, found.start - 8), found.start) is not None
    if found.name != "star":
        return False
    inner = found.inner.strip("*＊ \t")
    if not any(char.isalpha() for char in inner):
        return False
    if found.inner[0] == "＊" or _SURE_START.search(text, max(0, found.start - 8), found.start) or _does(inner):
        return True
    before = text[found.start - 1 : found.start]
    if before.isalnum() or not (before + inner[:1]).isascii():  # glued to a word, or in a script without this use of emphasis
        return True
    # A title within a sentence begins with a capital.
    return len(_WORD.findall(inner)) > 1 and not inner[:1].isupper()


def _does(words: str) -> bool:
    """Return whether the first word of a text reads as what somebody does: `nods`, `smiling`."""
    first = _WORD.match(words)
    word = first[0].lower() if first else ""
    if not word or words[:1].isupper():
        return False
    doing = word.endswith("ing") and len(word) > 4 and word not in _NOT_DOING
    return doing or (len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word not in _NOT_VERBS)


class _Cutter:
    """Cutter of one run of bare text into parts, in a turn whose dialect is known."""

    def __init__(self, text: str, starred: bool) -> None:
        self._text, self._starred = text, starred
        self._pieces: list[tuple[Kind, str]] = []
        self._labelled: Kind = BARE

    def cut(self, found: Sequence[Found]) -> list[tuple[Kind, str]]:
        """Return the parts of the run, in order; texts are stripped."""
        at = plain = 0  # `plain`: where the bare text begins that is not a part yet
        for span in found:
            if span.start < at:
                continue
            if span.name == "label":
                self._bare(self._text[plain : span.start])
                self._labelled = LABELS[span.inner.lower()]
            elif (kind := self.kind_of(span)) is not None:
                self._bare(self._text[plain : span.start])
                self._part(kind, span)
            else:
                continue
            at = plain = span.end
        self._bare(self._text[plain:])
        return self._pieces

    def kind_of(self, span: Found) -> Kind | None:
        """Return the kind that a span is read as; None for text."""
        inner = span.inner.strip()
        match span.name:
            case "star" | "begun":
                return STARRED if self._starred and any(char.isalpha() for char in inner) else None
            case "strong":
                return STARRED if self._starred else None
            case "under":
                return self._underscored(span, inner.strip("_"))
            case "tick":
                words = inner.strip("`")
                return THOUGHT if _SENTENCE.search(words) and not _CODE.search(words) and self._free(span) else None
            case "quote":
                return THOUGHT
            case "thought":
                return THOUGHT if inner[0] != "[" or self._free(span) else None
            case "act":
                return (THOUGHT if _THOUGHT_WORD.match(inner[1:].lstrip()) else STARRED) if self._free(span) else None
            case "open":
                return (STARRED if inner[0] in "(（" else THOUGHT) if self._free(span) and len(inner) > 1 else None
        return None

    def _underscored(self, span: Found, words: str) -> Kind | None:
        if not any(char.isalpha() for char in words):
            return None
        sure = _SURE_START.search(self._text, max(0, span.start - 8), span.start) is not None
        if self._starred:
            return THOUGHT if sure or len(_WORD.findall(words)) > 1 else None
        return STARRED if sure or _does(words) else None

    def _free(self, span: Found) -> bool:
        before = self._text[span.start - 1 : span.start]
        return stands_free(self._text[span.start], [before] if before else [])

    def _bare(self, text: str) -> None:
        """Add bare text; a label makes the rest of its line a part of its own kind."""
        if self._labelled != BARE:
            line, newline, rest = text.partition("\n")
            self._add(self._labelled, line)
            if newline:
                self._labelled = BARE
            text = rest
        # A full stop alone behind an act belongs to the act.
        if self._pieces and self._pieces[-1][0] != BARE and (stop := _LONE_STOP.match(text)):
            text = text[stop.end() :]
        self._add(BARE, text)

    def _part(self, kind: Kind, span: Found) -> None:
        text = span.inner.strip()
        if span.name in ("star", "begun", "strong"):
            text = text.strip("*＊" if span.name != "star" else text[0]).strip() if span.name != "star" else _unstarred(text)
            if len(text) > 1 and text[0] in "(（[【" and text[-1] in ")）]】":
                kind = THOUGHT if text[0] in "[【" or _THOUGHT_WORD.match(text[1:]) else kind
                text = text[1:-1].strip()
        elif span.name in ("under", "tick"):
            text = text.strip("_`").strip()
        elif span.name == "open":
            text = text[1:].strip()
        elif span.name in ("thought", "act"):
            text = text[1:-1].strip()
            if len(text) > 2 and text[0] == text[-1] == "*":
                text = text.strip("*").strip()
        if label := _INNER_LABEL.match(text):
            kind, text = LABELS[label[1].lower()], text[label.end() :]
        elif kind == THOUGHT and (word := _THOUGHT_WORD.match(text)):
            text = text[word.end() :]
        self._add(kind, text)

    def _add(self, kind: Kind, text: str) -> None:
        if text.strip():
            self._pieces.append((kind, text.strip()))


def _unstarred(text: str) -> str:
    return text[1:-1].strip() if len(text) > 1 and text[-1] in "*＊" else text[1:].strip()
