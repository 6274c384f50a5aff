"""Every configuration object of the house: frozen values, unknown keys refused. The environment is read in her/paths.py.

A pipeline is configured by words: `@file.toml key=value other.key=value --dry-run`. Later words win over earlier ones.
"""

import json
import math
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, Field, JsonValue, ValidationError

from her import paths
from her.errors import InputError
from her.types import Value

ConfigT = TypeVar("ConfigT", bound=BaseModel)
_DATES = (date, time)
MAY_CHANGE: dict[str, JsonValue] = {"may_change": True}
"""For `json_schema_extra` of settings that may differ when a run is gone on with, since they do not change what it makes."""


class Settings(Value):
    """How a playground is opened; `app.py` and `her play` both end here.

    Args:
        backend: spec of the model (her/backends/open.py); None takes HER_BACKEND, else `scripted:`.
        scenes: CoSER files that are opened beside the scenes of the house.
        host: address to listen on; by default this machine only, on a Space every address.
        port: TCP port; 0 takes a free one.
        allow_visitor_urls: whether visitors may connect models by URL; never set it on a public server.
    """

    backend: str | None = None
    scenes: tuple[str, ...] = ()
    host: str = Field(default_factory=paths.server_host)
    port: int = Field(default_factory=paths.server_port, ge=0, le=65535)
    allow_visitor_urls: bool = False


class Given(NamedTuple):
    """What the words of a command line said: the settings by name, and whether to show them only."""

    settings: dict[str, Any]
    dry_run: bool


def load(model: type[ConfigT], words: Sequence[str]) -> tuple[ConfigT, bool]:
    """The configuration that `@file.toml key=value --dry-run` describes, and whether `--dry-run` was among the words.

    A path in a file is meant from the folder of that file, one on the command line from the working folder.

    Raises:
        InputError: a file or word that cannot be read, or the first setting that is wrong, with its value and what fits.
    """
    given = read_words(model, words)
    _require_plain(given.settings)
    try:
        return model.model_validate_json(json.dumps(given.settings)), given.dry_run
    except ValidationError as error:
        raise InputError(_problem(error, model)) from error


def read_words(model: type[BaseModel], words: Sequence[str]) -> Given:
    """The settings that the words name, merged, not yet checked against `model`."""
    settings: dict[str, Any] = {}
    dry_run = False
    for word in words:
        key, equals, value = word.partition("=")
        if word == "--dry-run":
            dry_run = True
        elif word.startswith("@"):
            _merge(settings, _anchored(model, _read(Path(word[1:])), Path(word[1:]).parent))
        elif equals and key and not key.startswith("-"):
            _merge(settings, _anchored(model, _nested(key.split("."), _literal(value)), Path()))
        else:
            near = f"@{word}" if word.endswith(".toml") and not word.startswith("-") else "@file.toml, key=value or --dry-run"
            raise InputError(f"'{word}' is no setting; write {near}")
    return Given(settings, dry_run)


def _require_plain(value: Any, name: str = "") -> None:
    """Refuse what TOML has and settings have not: dates, and numbers without an end, which would not come back from a file."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_plain(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner, name)
    elif isinstance(value, _DATES):
        raise InputError(f"setting '{name}' is {value}, which TOML takes for a date or time; write it in quotes")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"setting '{name}' is {value}; give a number that has an end")


def dump(config: BaseModel) -> str:
    """The configuration as TOML, every setting spelled out; `load` reads it back as the same value."""
    lines: list[str] = []
    _tables(json.loads(config.model_dump_json()), "", lines)
    return "\n".join(lines).strip() + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"configuration '{path}' cannot be read ({error.strerror or error}); give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"configuration '{path}' is not TOML: {error}") from error


def _literal(value: str) -> Any:
    """A TOML value; what is none, or a date, is a text, so that `name=first try` and `name=2026-11-21` need no quotes."""
    try:
        read = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value
    return value if isinstance(read, _DATES) else read


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}


def _merge(settings: dict[str, Any], more: dict[str, Any]) -> None:
    """Put `more` over `settings`, table by table."""
    for key, value in more.items():
        there = settings.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(there, value)
        else:
            settings[key] = value


def _anchored(model: type[BaseModel], settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings with the paths among them made absolute, from `folder`."""
    anchored = dict(settings)
    for key, value in settings.items():
        field = model.model_fields.get(key)
        if field is None:
            continue
        kinds = _kinds(field.annotation)
        inner = _table(field.annotation)
        if Path in kinds and isinstance(value, str):
            anchored[key] = str((folder / paths.expanded(value)).absolute())
        elif Path in kinds and isinstance(value, list):
            anchored[key] = [str((folder / paths.expanded(each)).absolute()) if isinstance(each, str) else each for each in value]
        elif inner is not None and isinstance(value, dict):
            anchored[key] = _anchored(inner, value, folder)
    return anchored


def _kinds(annotation: Any) -> list[Any]:
    """A type and everything it is made of."""
    return [annotation] + [kind for inner in get_args(annotation) for kind in _kinds(inner)]


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field that holds a table."""
    return next((kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting by its whole name, those of tables too."""
    for key, field in model.model_fields.items():
        yield f"{prefix}{key}"
        if (inner := _table(field.annotation)) is not None:
            yield from _names(inner, f"{prefix}{key}.")


def _unknown(model: type[BaseModel], tables: Sequence[str], key: str) -> str:
    """What to say of a setting that does not exist: the nearest one (by that name elsewhere, or like it), and those beside it."""
    table = model
    for step in tables:
        table = (_table(table.model_fields[step].annotation) if step in table.model_fields else None) or table
    prefix = "".join(f"{step}." for step in tables)
    elsewhere = {name.rpartition(".")[2]: name for name in reversed(list(_names(model)))}
    near = [elsewhere[key]] if key in elsewhere else []
    near += [f"{prefix}{name}" for name in get_close_matches(key, table.model_fields, n=1)]
    near += [elsewhere[name] for name in get_close_matches(key, elsewhere, n=1, cutoff=0.8)]
    guess = f"did you mean '{near[0]}'? There are" if near else "there are"
    return f"there is no setting '{prefix}{key}'; {guess} {', '.join(sorted(table.model_fields))}"


def _problem(error: ValidationError, model: type[BaseModel]) -> str:
    # A setting that does not exist may be why another is missing.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    name = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        *tables, key = map(str, first["loc"])
        return _unknown(model, tables, key)
    table = _table_at(model, first["loc"])
    if first["type"] == "missing":
        return _lacking(name, table)
    if first["type"] == "value_error" and isinstance(first["input"], dict):  # of a table: its sentence names what it is about
        return first["msg"].removeprefix("Value error, ")
    if table is not None and not isinstance(first["input"], dict):
        return f"setting '{name}' is {first['input']!r}, but it is a table; write {_keys(name, table)}"
    if first["type"] in ("list_type", "tuple_type"):
        return f"setting '{name}' is {first['input']!r}, but it is a list; write {name}={json.dumps([first['input']])}"
    said = first["msg"].removeprefix("Value error, ")
    said = f"it {said.removeprefix('Input ')}" if said.startswith("Input ") else said
    return f"setting '{name}' is {first['input']!r}; {said}"


def _lacking(name: str, table: type[BaseModel] | None) -> str:
    """What to say of a setting that has to be given; of a table what it says itself when nothing is in it."""
    if table is None:
        return f"setting '{name}' is missing; write {name}=..."
    try:
        table.model_validate({})
    except ValidationError as error:
        if (inner := error.errors(include_url=False)[0])["type"] == "value_error":
            return str(inner["msg"]).removeprefix("Value error, ")
    return f"table '{name}' is missing; write {_keys(name, table)}"


def _keys(name: str, table: type[BaseModel]) -> str:
    return f"{name}.KEY=..., with KEY one of {', '.join(sorted(table.model_fields))}"


def _table_at(model: type[BaseModel], steps: Sequence[int | str]) -> type[BaseModel] | None:
    """The model of the table at this place; None where no table is."""
    table: type[BaseModel] | None = model
    for step in steps:
        field = table.model_fields.get(str(step)) if table is not None else None
        table = _table(field.annotation) if field is not None else None
    return table


def _tables(table: dict[str, Any], prefix: str, lines: list[str]) -> None:
    for key, value in table.items():
        if value is not None and not isinstance(value, dict):
            lines.append(f"{_key(key)} = {_toml(value)}")
    for key, value in table.items():
        if isinstance(value, dict):
            name = f"{prefix}{_key(key)}"
            lines += ["", f"[{name}]"]
            _tables(value, f"{name}.", lines)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
