"""Read and write YAML files that people edit by hand; every error names the file, the field and its line.

Only texts, true/false, lists and mappings are read, and plain decimal numbers where a file may hold them. YAML tags construct
nothing and aliases are refused, so that a hostile file can neither run code nor expand in memory. Positions in a list count from
1 in messages.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from her.errors import InputError
from her.files.atomic import replacing
from her.files.regular import NotRegular, TooLarge, read_regular
from her.types import Value

MAX_BYTES = 512_000
"""Largest file that is read; the longest persona of the project has about 30 KB."""
MAX_DEPTH = 16
"""Deepest nesting that is read; personas and scenes need 3."""
_STEM = re.compile(r"[\w.-]{1,200}")
Model = TypeVar("Model", bound=Value)
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,15})(\.\d{1,15})?")
"""Numbers that everybody reads alike; YAML 1.1 also takes 012, 1_000 and 12:30 for numbers."""
Plain = str | bool | int | float | list["Plain"] | dict[str, "Plain"]
Place = tuple[str | int, ...]

# The C loader took 5 ms for the longest persona, the Python one 74 ms; builds without libyaml lack it.
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
    """One YAML file: its plain values, the line of each value, and the problems found so far.

    Args:
        path: the file.
        what: the word before the file's name in messages, such as `persona`.
        numbers: whether numbers are read as such; elsewhere they belong into quotes.

    Raises:
        InputError: the file cannot be read, is too large, is not UTF-8 or YAML, or is not a mapping.
    """

    def __init__(self, path: Path, what: str, numbers: bool = False) -> None:
        self.name = f"{what} '{path.name}'"
        self.numbers = numbers
        self.problems: list[str] = []
        if not _STEM.fullmatch(path.stem):
            self.problems.append(f"{self.name}: the file's name is the id; use letters, digits, '-', '_' and '.' in it")
        self.lines: dict[Place, int] = {}
        text = self._text(path)
        try:
            # Before anything is built: expanding aliases can make gigabytes of a small file.
            self._check_events(text)
            node = yaml.compose(text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise InputError(f"{self.name}: not YAML{_where(error)}; {_why(error)}") from error
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{self.name}: holds no mapping; begin its lines with keys such as 'name: ...'")
        self.mapping: dict[str, Plain] = self._mapping(node, ())

    def build(self, model: type[Model], **fixed: str) -> Model | None:
        """Return the file as a `model`, or None and more `problems`.

        Args:
            model: the class to build.
            fixed: fields that are set here and may not stand in the file.
        """
        mapping = dict(self.mapping)
        for key in fixed.keys() & mapping.keys():
            self._add((key,), f"unknown key '{key}'{self._line((key,))}; it is taken from the file's name, delete it")
            del mapping[key]
        if self.problems:  # build anyway, so that the author gets all problems at once
            mapping = _without_blanks(mapping)
        try:
            built = model.model_validate_json(json.dumps({**mapping, **fixed}))
        except ValidationError as error:
            for details in error.errors():
                self._explain(details, model)
            return None
        return None if self.problems else built

    def require(self, value: Model | None) -> Model:
        """Return the value when the file has no problems.

        Raises:
            InputError: the first problem, and the number of the others.
        """
        if value is None or self.problems:
            more = len(self.problems) - 1
            raise InputError(self.problems[0] + (f" (and {more} more)" if more > 0 else ""))
        return value

    def texts(self) -> Iterator[tuple[Place, str]]:
        """Yield every text of the file with its place."""

        def inside(value: Plain, place: Place) -> Iterator[tuple[Place, str]]:
            if isinstance(value, str):
                yield place, value
            elif isinstance(value, dict):
                for key, item in value.items():
                    yield from inside(item, (*place, key))
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    yield from inside(item, (*place, index))

        return inside(self.mapping, ())

    def fault(self, place: Place, wrong: str, right: str) -> None:
        """Add a problem of the field at a place: what is wrong, and what would be right."""
        self._add_field(place, wrong, right)

    def _text(self, path: Path) -> str:
        try:
            return read_regular(path, MAX_BYTES).decode("utf-8-sig")
        except NotRegular as error:
            raise InputError(f"{self.name}: {error}; put the file itself there") from error
        except TooLarge as error:
            raise InputError(f"{self.name}: {error}") from error
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
                    f"{self.name}: key '{_path((*place, key))}' appears twice, on lines {self.lines[(*place, key)]} and {line};"
                    " keep one of them"
                )
            else:
                self.lines[(*place, key)] = line
                mapping[key] = self._plain(value_node, (*place, key))
        return mapping

    def _plain(self, node: yaml.Node, place: Place) -> Plain:
        # A value of a mapping already has the line of its key, which is what an author looks for.
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
        if self.numbers and kind in ("int", "float") and _NUMBER.fullmatch(bare):
            return float(bare) if "." in bare else int(bare)
        if kind == "null" or not bare:
            self._add_field(place, "is empty", "write one line or delete it")
            return ""
        if kind != "str":  # YAML 1.1 makes numbers and dates of 1813 or 12:30, and booleans of yes and no
            self._add_field(place, f"is {bare[:40]!r}, which YAML does not read as text", "put it in quotes")
        elif odd := next((c for c in bare if c < " " and c not in "\n\t" or "\ud800" <= c <= "\udfff"), ""):
            self._add_field(place, f"holds the control character U+{ord(odd):04X}", "delete it")
        return bare

    def _explain(self, details: ErrorDetails, model: type[Value]) -> None:
        """Add the sentence for one error of pydantic."""
        place, kind, value = tuple(details["loc"]), details["type"], details["input"]
        if kind == "extra_forbidden":
            right = _nearest(str(place[-1]), _keys(model, place[:-1]))
            self._add(place, f"unknown key '{_path(place)}'{self._line(place)}; {right}")
        elif kind == "missing":
            self._add(place, f"field '{_path(place)}' is missing{self._line(place[:-1])}; write it")
        elif kind == "string_type" and isinstance(value, bool):
            self._add_field(place, f"is a bare yes, no, true or false (read as {str(value).lower()})", "put it in quotes")
        elif kind == "string_type" and isinstance(value, (int, float)):
            self._add_field(place, f"is {value}, a number where a text belongs", "put it in quotes")
        elif kind in _SHAPES:
            self._add_field(place, f"is {_short(value)}", f"write {_SHAPES[kind]}")
        elif kind == "literal_error":
            self._add_field(place, f"is {_short(value)}", f"write {details['ctx']['expected']}")
        elif kind == "string_pattern_mismatch":
            self._add_field(place, f"is {_short(value)}", "write # and six hexadecimal digits, such as '#7a4e2d'")
        elif kind == "value_error":
            self._add(place, f"field '{_path(place)}'{self._line(place)} {details['ctx']['error']}")
        else:
            self._add_field(place, f"is {_short(value)}", details["msg"])

    def _add_field(self, place: Place, wrong: str, right: str) -> None:
        self._add(place, f"field '{_path(place)}' {wrong}{self._line(place)}; {right}")

    def _add(self, place: Place, sentence: str) -> None:
        # An empty field has its problem already; pydantic reports it a second time as too short or missing.
        start = f"{self.name}: field '{_path(place)}' is empty"
        if not any(problem.startswith(start) for problem in self.problems):
            self.problems.append(f"{self.name}: {sentence}")

    def _line(self, place: Place) -> str:
        return f" (line {self.lines[place]})" if place in self.lines else ""


def write_yaml(path: Path, mapping: Mapping[str, Any]) -> None:
    """Write a mapping as readable YAML, atomically: long texts as blocks, lists of short texts on one line."""
    write_yaml_files({path: mapping})


def write_yaml_files(mappings: Mapping[Path, Mapping[str, Any]]) -> None:
    """Write several mappings as `write_yaml` does; when one cannot be written, none is replaced."""
    with ExitStack() as stack:
        for path, mapping in mappings.items():
            file = stack.enter_context(replacing(path))
            file.write(_yaml_text(mapping))
            file.flush()  # so that a full disk is found while every file is still the old one


def _yaml_text(mapping: Mapping[str, Any]) -> str:
    text: str = yaml.dump(
        _laid_out(mapping), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False, indent=2
    )
    return text


class _ShortList(list[str]):
    """List that is written on one line."""


class _Writer(yaml.SafeDumper):
    """YAML writer that writes long texts as blocks and indents lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # PyYAML writes list items at the column of their key otherwise

    def text(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else ">" if len(text) > 80 else None
        return self.represent_scalar(_TAG + "str", text, style)

    def row(self, row: _ShortList) -> yaml.SequenceNode:
        return self.represent_sequence(_TAG + "seq", row, flow_style=True)

    yaml_representers: ClassVar[dict[type[Any], Callable[[Any, Any], yaml.Node]]] = {
        **yaml.SafeDumper.yaml_representers,
        str: text,
        _ShortList: row,
    }


def _laid_out(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _laid_out(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        short = all(isinstance(item, str) and len(item) <= 40 and "\n" not in item for item in value)
        return _ShortList(value) if short else [_laid_out(item) for item in value]
    return value


def _without_blanks(mapping: dict[str, Plain]) -> dict[str, Plain]:
    """Return the mapping with `-` in place of empty texts, so that pydantic reports only what else is wrong."""

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
    """Return the keys that a model allows at a place."""
    current = model
    for step in place:
        if isinstance(step, str) and (field := current.model_fields.get(step)) is not None:
            # tuple[Model, ...] and Model | None hold the model as their first argument.
            inner = getattr(field.annotation, "__args__", (field.annotation,))[0]
            if isinstance(inner, type) and issubclass(inner, Value):
                current = inner
    names = [field.alias or key for key, field in current.model_fields.items()]
    return names if place else [name for name in names if name != "id"]  # the id of a whole file is its name


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
    problem = " ".join(str(part) for part in parts if part) or "the file cannot be read"
    return f"{problem}; a text with ': ', '#' or brackets needs quotes or a block ('>-')"
