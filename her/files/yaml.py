"""Files a writer edits by hand: read with a sentence for every slip, written so that they stay readable.

Only texts, true/false, lists and mappings are taken: nothing is ever constructed from a tag, and aliases are refused,
so a hostile file can neither run code nor grow. Positions in a list count from 1, as a writer counts.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from her.errors import InputError
from her.files.atomic import replacing
from her.types import Value

MAX_BYTES = 512_000
MAX_DEPTH = 16
_STEM = re.compile(r"[\w.-]{1,200}")
Model = TypeVar("Model", bound=Value)
Plain = str | bool | list["Plain"] | dict[str, "Plain"]
Place = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SHAPES = {
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list (lines that begin with '- ')",
    "model_type": "a mapping (lines 'key: text')",
    "model_attributes_type": "a mapping (lines 'key: text')",
}


class YamlFile:
    """One file while it is read: its plain values, the line of each, and every problem found.

    Args:
        path: the file.
        what: the word before its name in every sentence, such as `persona`.

    Raises:
        InputError: when there is nothing to go on with: unreadable, too large, not UTF-8, not YAML, no mapping.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.name = f"{what} '{path.name}'"
        self.problems: list[str] = []
        if not _STEM.fullmatch(path.stem):
            self.problems.append(f"{self.name}: the file's name is the id; use letters, digits, '-', '_' and '.' in it")
        self.lines: dict[Place, int] = {}
        text = self._text(path)
        try:
            self._check_events(text)
            node = yaml.compose(text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise InputError(f"{self.name}: not YAML{_where(error)}; {_why(error)}") from error
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{self.name}: holds no mapping; begin its lines with keys such as 'name: ...'")
        self.mapping: dict[str, Plain] = self._mapping(node, ())

    def build(self, model: type[Model], **given: str) -> Model | None:
        """The value of this file, or None when `problems` says why not; `given` are fields that the file may not set."""
        mapping = dict(self.mapping)
        for key in given.keys() & mapping.keys():
            self._add((key,), f"unknown key '{key}'{self._line((key,))}; it is taken from the file's name, delete it")
            del mapping[key]
        if self.problems:
            mapping = _without_blanks(mapping)
        try:
            built = model.model_validate_json(json.dumps({**mapping, **given}))
        except ValidationError as error:
            for details in error.errors():
                self._explain(details, model)
            return None
        return None if self.problems else built

    def require(self, value: Model | None) -> Model:
        """The value, or its first problem as an InputError that counts the others."""
        if value is None or self.problems:
            more = len(self.problems) - 1
            raise InputError(self.problems[0] + (f" (and {more} more)" if more > 0 else ""))
        return value

    def _text(self, path: Path) -> str:
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise InputError(f"{self.name}: {size:,} bytes; at most {MAX_BYTES:,} are read")
            return path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.name}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror or error})") from error

    def _check_events(self, text: str) -> None:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                line = _line_of(event)
                raise InputError(f"{self.name}: line {line} uses the alias '*{event.anchor}'; write the text out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                line = _line_of(event)
                raise InputError(f"{self.name}: nested more than {MAX_DEPTH} deep at line {line}; personas and scenes need 3")

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Plain]:
        mapping: dict[str, Plain] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, _line_of(key_node)
            if not isinstance(key, str) or key_node.tag != _TAG + "str":
                self.problems.append(f"{self.name}: line {line} has a key that is not a word; put it in quotes or delete it")
            elif key in mapping:
                raise InputError(
                    f"{self.name}: key '{_path((*place, key))}' stands twice, on lines {self.lines[(*place, key)]} and {line};"
                    " keep one of them"
                )
            else:
                self.lines[(*place, key)] = line
                mapping[key] = self._plain(value_node, (*place, key))
        return mapping

    def _plain(self, node: yaml.Node, place: Place) -> Plain:
        self.lines.setdefault(place, _line_of(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(child, (*place, index)) for index, child in enumerate(node.value)]
        return self._scalar(node.tag.removeprefix(_TAG), node.value, place)

    def _scalar(self, kind: str, text: str, place: Place) -> Plain:
        if kind == "bool":
            return text.lower() in ("yes", "true", "on")
        bare = text.strip()
        if kind == "null" or not bare:
            self._say(place, "is empty", "write one line or delete it")
            return ""
        if kind != "str":
            self._say(place, f"is {bare[:40]!r}, which YAML does not read as text", "put it in quotes")
        elif odd := next((c for c in bare if c < " " and c not in "\n\t" or "\ud800" <= c <= "\udfff"), ""):
            self._say(place, f"holds the control character U+{ord(odd):04X}", "delete it")
        return bare

    def _explain(self, details: ErrorDetails, model: type[Value]) -> None:
        """One sentence for one complaint of pydantic's."""
        place, kind = tuple(details["loc"]), details["type"]
        given = details["input"]
        if kind == "extra_forbidden":
            right = _nearest(str(place[-1]), _keys(model, place[:-1]))
            self._add(place, f"unknown key '{_path(place)}'{self._line(place)}; {right}")
        elif kind == "missing":
            self._add(place, f"field '{_path(place)}' is missing{self._line(place[:-1])}; write it")
        elif kind == "string_type" and isinstance(given, bool):
            self._say(place, f"is a bare yes, no, true or false (read as {str(given).lower()})", "put it in quotes")
        elif kind in _SHAPES:
            self._say(place, f"is {_short(given)}", f"write {_SHAPES[kind]}")
        elif kind == "literal_error":
            self._say(place, f"is {_short(given)}", f"write {details['ctx']['expected']}")
        elif kind == "string_pattern_mismatch":
            self._say(place, f"is {_short(given)}", "write # and six hexadecimal digits, such as '#7a4e2d'")
        elif kind == "value_error":
            self._add(place, f"field '{_path(place)}'{self._line(place)} {details['ctx']['error']}")
        else:
            self._say(place, f"is {_short(given)}", details["msg"])

    def _say(self, place: Place, wrong: str, right: str) -> None:
        self._add(place, f"field '{_path(place)}' {wrong}{self._line(place)}; {right}")

    def _add(self, place: Place, sentence: str) -> None:
        # A blank already spoken of would be named a second time as too short or missing.
        start = f"{self.name}: field '{_path(place)}' is empty"
        if not any(problem.startswith(start) for problem in self.problems):
            self.problems.append(f"{self.name}: {sentence}")

    def _line(self, place: Place) -> str:
        return f" (line {self.lines[place]})" if place in self.lines else ""


def write_yaml(path: Path, mapping: Mapping[str, Any]) -> None:
    """Write a mapping as readable YAML: long texts as blocks, lists of short texts on one line. Replaces the file at once."""
    text = yaml.dump(
        _laid_out(mapping), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False, indent=2
    )
    with replacing(path) as file:
        file.write(text)


class _Row(list[str]):
    """A list that is written on one line."""


class _Writer(yaml.SafeDumper):
    """Writes long texts as blocks and indents lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def text(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else ">" if len(text) > 80 else None
        return self.represent_scalar(_TAG + "str", text, style)

    def row(self, row: _Row) -> yaml.SequenceNode:
        return self.represent_sequence(_TAG + "seq", row, flow_style=True)

    yaml_representers: ClassVar[dict[type[Any], Callable[[Any, Any], yaml.Node]]] = {
        **yaml.SafeDumper.yaml_representers,
        str: text,
        _Row: row,
    }


def _laid_out(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _laid_out(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        short = all(isinstance(item, str) and len(item) <= 40 and "\n" not in item for item in value)
        return _Row(value) if short else [_laid_out(item) for item in value]
    return value


def _without_blanks(mapping: dict[str, Plain]) -> dict[str, Plain]:
    """Blank fields stand in with one letter, so that pydantic still names what else is wrong."""

    def filled(value: Plain) -> Plain:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return value if value != "" else "-"

    return {key: filled(value) for key, value in mapping.items()}


def _path(place: Place) -> str:
    return ".".join(str(step + 1) if isinstance(step, int) else step for step in place)


def _keys(model: type[Value], place: Place) -> list[str]:
    """The keys that are right at a place inside a model."""
    current = model
    for step in place:
        if isinstance(step, str) and (field := current.model_fields.get(step)) is not None:
            inner = getattr(field.annotation, "__args__", (field.annotation,))[0]
            if isinstance(inner, type) and issubclass(inner, Value):
                current = inner
    return [key for key in current.model_fields if key != "id"]


def _nearest(key: str, keys: Iterable[str]) -> str:
    known = list(keys)
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"the keys here are {', '.join(known)}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return f"{value!r:.60}"


def _line_of(marked: yaml.Node | yaml.Event) -> int:
    return marked.start_mark.line + 1 if marked.start_mark else 0


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _why(error: yaml.YAMLError) -> str:
    parts = (getattr(error, "context", None), getattr(error, "problem", None), getattr(error, "reason", None))
    said = " ".join(str(part) for part in parts if part) or "the file cannot be read"
    return f"{said}; a text with ': ', '#' or brackets needs quotes or a block ('>-')"
