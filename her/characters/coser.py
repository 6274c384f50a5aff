"""Read CoSER books and test sets as scenes with the turns of the book.

CoSER (arXiv:2502.09082) has two schemas: `{plots, character_datasets}` for a book, and a test case, or a list of them, for a
test set. Keys that differ between its releases are all read. What is left out is named in `Book.skipped` with its reason.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic_core import from_json

from her import format as notation
from her.errors import InputError
from her.types import ENVIRONMENT, CastMember, Language, NonEmpty, Scenario, Transcript, Turn, Value

MAX_BOOK_BYTES = 64_000_000
"""Largest file that is read into memory; a book of CoSER has 1.2 MB on average."""
Json = dict[str, Any]
_CHINESE = re.compile("[\u4e00-\u9fff]")


class BookScene(Value):
    """One conversation of a book: setting, cast and turns.

    No character may be shown `plot_summary`, `experiences` or `passage`: they say how the scene ends.

    Args:
        id: hash of the book's title and the two indices, the same in every run.
        book: title of the book.
        plot: index of the plot in the book (`i_p`).
        conversation: index of the conversation in the plot (`i_c`).
        plot_title: chapter of the plot, or empty.
        plot_summary: summary of the plot, or empty.
        major: names of the major characters; all of them are in `cast`.
        experiences: what happens to a character in the plot, by name.
        passage: text of the book that the plot was taken from, or empty.
        split: of a test case: whether its book is in CoSER's training books.
        listed: speakers as a test case lists them, the most frequent first.
        old_keys: motivations are spelled `thought`, as in the released test set, which CoSER's later code does not read.
    """

    id: NonEmpty
    book: str
    plot: int
    conversation: int
    plot_title: str = ""
    plot_summary: str = ""
    scenario: Scenario
    cast: tuple[CastMember, ...]
    major: tuple[str, ...] = ()
    experiences: dict[str, str] = {}
    passage: str = ""
    split: Literal["", "id", "ood"] = ""
    listed: tuple[str, ...] = ()
    old_keys: bool = False
    turns: tuple[Turn, ...]

    @property
    def title(self) -> str:
        """`plot n: topic`."""
        return self.scenario.title

    def transcript(self) -> Transcript:
        """Return the scene as a transcript."""
        return Transcript(id=self.id, scenario=self.scenario, cast=self.cast, turns=self.turns)


class Book(Value):
    """Scenes of one file; `skipped` names everything that was left out, with the reason."""

    title: str
    scenes: tuple[BookScene, ...]
    skipped: tuple[str, ...] = ()


def load_book(path: Path) -> Book:
    """Read the scenes of a CoSER file: a book (`plots`), or a test set (one case or a list of cases).

    Raises:
        InputError: the file is not JSON, is too large, or holds no conversation.
    """
    book = read_content(_read_json(path), path.stem)
    if not book.scenes:
        why = f"; left out: {'; '.join(book.skipped[:3])}" if book.skipped else ""
        raise InputError(
            f"book '{path.name}': no conversation found{why}; "
            "a CoSER book has 'plots' with 'conversation', a test case has 'dialogues'"
        )
    return book


def read_content(content: Any, title: str) -> Book:
    """Return the scenes of a CoSER file that is read already; there may be none."""
    reader = _Reader(title)
    if isinstance(content, dict) and "plots" in content:
        reader.read_book(content)
    elif isinstance(content, (list, dict)):
        reader.read_cases(content if isinstance(content, list) else [content])
    return Book(title=title, scenes=tuple(reader.scenes), skipped=tuple(reader.skipped))


class _Reader:
    """Reader of one file: its scenes so far, and the reasons for what is left out."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.scenes: list[BookScene] = []
        self.skipped: list[str] = []
        self._ids: set[str] = set()
        self._spell = _Spellings(())

    def read_book(self, content: Json) -> None:
        profiles = self._profiles(content.get("character_datasets"))
        plots = [_dict(plot) for plot in _list(content["plots"])]
        self._spell = _Spellings([*profiles, *(name for plot in plots for name in _names(plot))])
        profiles = self._spell.keys_of(profiles)
        for position, plot in self._dicts(content["plots"], "plot"):
            conversations = plot.get("conversation")
            where = f"plot {_index(plot, 'i_p', position)}"
            if not conversations:
                self.skipped.append(f"{where}: no conversation")
                continue
            # Some files have one conversation instead of a list.
            entries = conversations if isinstance(conversations, list) else [conversations]
            for number, conversation in self._dicts(entries, f"{where}, conversation"):
                numbers = (_number(conversation, "i_p", _index(plot, "i_p", position)), _number(conversation, "i_c", number))
                self._scene(self.title, plot, conversation, profiles, numbers)

    def read_cases(self, cases: list[Any]) -> None:
        for position, case in self._dicts(cases, "case"):
            profiles = {_name(name): _text(profile) for name, profile in _dict(case.get("character_profiles")).items()}
            self._spell = _Spellings([*profiles, *_names({**_dict(case.get("plot")), "conversation": [case]})])
            profiles = self._spell.keys_of(profiles)
            numbers = (_index(case, "i_p", position), _index(case, "i_c", 0))
            self._scene(_text(case.get("book")) or self.title, _dict(case.get("plot")), case, profiles, numbers)

    def _scene(self, book: str, plot: Json, source: Json, profiles: dict[str, str], numbers: tuple[int, int]) -> None:
        where = f"{book}, plot {numbers[0]}, conversation {numbers[1]}"
        identity = stable_id(book, *numbers)
        if identity in self._ids:  # ids of turns derive from it, and joins on them must not be ambiguous
            self.skipped.append(f"{where}: appears twice in the file; the first is kept")
            return
        turns = tuple(self._turns(source.get("dialogues"), identity, where))
        if not turns:
            self.skipped.append(f"{where}: no dialogues")
            return
        self._ids.add(identity)
        speaking = map(_name, _list(source.get("speaking_characters_w_env")))
        cast, major = _cast(book, plot, source, turns, profiles, self._spell)
        self.scenes.append(
            BookScene(
                id=identity,
                book=book,
                plot=numbers[0],
                conversation=numbers[1],
                plot_title=_text(plot.get("chapter")),
                plot_summary=_text(plot.get("summary")),
                scenario=_scenario(book, source, turns, numbers),
                cast=cast,
                major=major,
                experiences=self._spell.keys_of(_by_name(plot.get("key_characters"), "experience", "summary")),
                passage=_text(plot.get("text")),
                split=_split(source.get("tag")),
                listed=tuple(dict.fromkeys(self._spell(name) for name in speaking if name)),
                old_keys=any("thought" in _dict(entry) for entry in _list(source.get("key_characters"))),
                turns=turns,
            )
        )

    def _turns(self, dialogues: Any, identity: str, where: str) -> Iterator[Turn]:
        for index, line in self._dicts(dialogues or [], f"{where}, dialogue"):
            speaker, message = self._spell(_name(line.get("character"))), line.get("message")
            if not speaker:
                self.skipped.append(f"{where}, dialogue {index}: it has no speaker ('character' is missing)")
            elif not isinstance(message, str) or not (text := _clean(message)).strip():
                self.skipped.append(f"{where}, dialogue {index}: {speaker} says nothing ('message' is empty)")
            else:
                yield _turn(speaker, text, stable_id(identity, index))

    def _profiles(self, datasets: Any) -> dict[str, str]:
        if not isinstance(datasets, dict) or not datasets:
            self.skipped.append("character_datasets: none, so the characters have no profiles")
            return {}
        return {_name(name): _text(_dict(entry).get("profile")) for name, entry in datasets.items()}

    def _dicts(self, entries: Any, what: str) -> Iterator[tuple[int, Json]]:
        if not isinstance(entries, list):
            self.skipped.append(f"{what}s: {type(entries).__name__} instead of a list")
            return
        for position, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield position, entry
            else:
                self.skipped.append(f"{what} {position}: {type(entry).__name__} instead of an object")


class _Spellings:
    """One spelling for names that differ in case only (`HAMLET`, `Hamlet`): the first one that is not all capitals."""

    def __init__(self, names: Iterable[str]) -> None:
        self._chosen: dict[str, str] = {}
        for name in dict.fromkeys(names):
            if self._chosen.setdefault(name.casefold(), name).isupper():
                self._chosen[name.casefold()] = name
        self._known: dict[str, str] = {}  # the chosen spelling by the written one: a book asks for few names, very often

    def __call__(self, name: str) -> str:
        if (chosen := self._known.get(name)) is None:
            chosen = self._known[name] = self._chosen.get(name.casefold(), name)
        return chosen

    def keys_of(self, texts: dict[str, str]) -> dict[str, str]:
        """Return the texts by the chosen spelling; of two for one name the first that is not empty."""
        chosen: dict[str, str] = {}
        for name, text in texts.items():
            chosen[self(name)] = chosen.get(self(name)) or text
        return chosen


def _names(plot: Json) -> Iterator[str]:
    """Yield every name of a plot's characters and speakers, as it is written."""
    conversations = plot.get("conversation")
    found = [plot, *map(_dict, conversations if isinstance(conversations, list) else [conversations])]
    for entry in found:
        for listed in (*_list(entry.get("key_characters")), *_list(entry.get("major_characters"))):
            yield _name(listed.get("name") if isinstance(listed, dict) else listed)
        for line in _list(entry.get("dialogues")):
            yield _name(_dict(line).get("character"))


def _turn(speaker: str, message: str, identity: str) -> Turn:
    """Return a line of a book as a turn. The environment has no thoughts, so brackets in its lines are text."""
    if speaker == ENVIRONMENT:
        return notation.plain_turn(speaker, message, identity)
    return notation.parse(message, speaker, notation="coser", turn_id=identity)


def _scenario(book: str, source: Json, turns: tuple[Turn, ...], numbers: tuple[int, int]) -> Scenario:
    topic = _text(source.get("topic")) or f"conversation {numbers[1]}"
    setting = _text(source.get("scenario"))
    return Scenario(
        id=stable_id(book, *numbers, "scenario"),
        title=f"plot {numbers[0]}: {topic}",
        language=_language(setting + "".join(turn.raw for turn in turns)),
        source=book,
        setting=setting,
    )


def _cast(
    book: str, plot: Json, source: Json, turns: tuple[Turn, ...], profiles: dict[str, str], spell: "_Spellings"
) -> tuple[tuple[CastMember, ...], tuple[str, ...]]:
    """Return all who speak or are major characters, major ones first, and the names of the major ones."""
    wants = spell.keys_of(_by_name(source.get("key_characters"), "motivation", "thought"))
    described = spell.keys_of(_by_name(plot.get("key_characters"), "description"))
    spoken = [turn.speaker for turn in turns if turn.speaker != ENVIRONMENT]
    listed = [spell(name) for name in map(_name, _list(source.get("major_characters"))) if name and name != ENVIRONMENT]
    # Test cases list their major characters; in books without a list, those with a profile are the major ones.
    major = listed or [name for name in dict.fromkeys(spoken) if profiles.get(name)]
    cast = tuple(
        CastMember(
            name=name,
            source=book,
            profile="\n\n".join(filter(None, (described.get(name, ""), profiles.get(name, "")))),
            motivation=wants.get(name, ""),
        )
        for name in dict.fromkeys([*major, *spoken])
    )
    return cast, tuple(dict.fromkeys(major))


def _split(tag: Any) -> Literal["", "id", "ood"]:
    return tag if tag in ("id", "ood") else ""


def _by_name(entries: Any, *keys: str) -> dict[str, str]:
    """Return the first text of `keys` that is not empty, by name, from a list of objects with `name`."""
    texts: dict[str, str] = {}
    for entry in map(_dict, _list(entries)):
        text = next(filter(None, (_text(entry.get(key)) for key in keys)), "")
        if text and (name := _name(entry.get("name"))):
            texts.setdefault(name, text)
    return texts


def _read_json(path: Path) -> Any:
    try:
        if (size := path.stat().st_size) > MAX_BOOK_BYTES:
            raise InputError(f"book '{path.name}': {size:,} bytes; at most {MAX_BOOK_BYTES:,} are read, split it by plots")
        return _json(path.read_bytes())
    except json.JSONDecodeError as error:
        raise InputError(
            f"book '{path.name}': not JSON at line {error.lineno}, column {error.colno} ({error.msg}); it must be one JSON value"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"book '{path.name}': byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise InputError(f"book '{path.name}': nested too deeply; a CoSER file is about 8 deep") from error
    except ValueError as error:
        raise InputError(f"book '{path.name}': holds a number that cannot be read ({error}); correct it") from error
    except OSError as error:
        raise InputError(f"book '{path.name}': cannot be read ({error.strerror or error})") from error


def _json(text: bytes) -> Any:
    """Parse JSON. `from_json` is faster; after its error `json` parses again, whose errors have line and column."""
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text.decode("utf-8-sig"))


def stable_id(*parts: str | int) -> str:
    """Return 32 hexadecimal digits of a hash of `parts`: an id that is the same in every run."""
    # "replace": titles may hold lone surrogates, which UTF-8 cannot encode.
    return hashlib.sha256("\n".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:32]


def _index(entry: Json, key: str, otherwise: int) -> int:
    number = entry.get(key)
    return number if isinstance(number, int) and not isinstance(number, bool) else otherwise


def _number(conversation: Json, key: str, otherwise: int) -> int:
    """Return an index of a conversation: its own, else that of its first line, else the position in the list."""
    lines = _list(conversation.get("dialogues"))
    first = _index(_dict(lines[0]), key, otherwise) if lines else otherwise
    return _index(conversation, key, first)


def _language(text: str) -> Language:
    """Return zh when more than a quarter of the letters are Chinese: names and quotes in Latin letters are common in zh."""
    chinese = len(_CHINESE.findall(text))
    return "zh" if chinese and chinese * 4 > sum(letter.isalpha() for letter in text) else "en"


def _name(value: Any) -> str:
    return _clean_name(value) if isinstance(value, str) else ""


@lru_cache(4096)
def _clean_name(text: str) -> str:
    name = " ".join(_text(text).split())  # books break names over lines and double their spaces
    return ENVIRONMENT if name.casefold() == ENVIRONMENT.casefold() else name


def _text(value: Any) -> str:
    return _clean(value).strip() if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Return the text without NULs and with lone surrogates as U+FFFD; databases accept neither."""
    text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # By way of UTF-16 two halves of a pair that stand side by side become their character again.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
