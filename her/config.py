"""Read settings from words such as `@file.toml key=value other.key=value --dry-run`, and write them as TOML.

Later words override earlier ones. Each pipeline defines its settings as a pydantic model in its `options.py`; this module
holds those of the playground only (`Settings`). Environment variables are read in her/paths.py.
"""

import json
import math
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, Field, JsonValue, ValidationError

from her import paths
from her.errors import InputError
from her.types import Value

ConfigT = TypeVar("ConfigT", bound=BaseModel)
_DATES = (date, time)
MAY_CHANGE: dict[str, JsonValue] = {"may_change": True}
"""Value of `json_schema_extra` for settings that may differ when a run is resumed: they do not change its outputs."""


class Settings(Value):
    """Settings of the playground, for `app.py` and `her play`.

    Args:
        backend: spec of the model (her/backends/open.py); None takes HER_BACKEND, else `scripted:`.
        scenes: CoSER files whose scenes are offered beside those of this repository.
        host: address to listen on; default 127.0.0.1, on a Space 0.0.0.0.
        port: TCP port; 0 takes a free one.
        allow_visitor_urls: whether visitors may connect models by URL. A public server must not set it: the server would
            send requests to any address a visitor names.
        playtest: file that describes a playtest (her/feedback/playtest.py), HER_PLAYTEST; empty for none.
        share_with: `lan` answers at the addresses of this machine in its network, and at no other name.
        author: whether the page has a form that writes persona files; for this machine alone.
        admin: whether there is an organiser's page; its link is printed at the start.
    """

    backend: str | None = None
    scenes: tuple[str, ...] = ()
    host: str = Field(default_factory=paths.server_host)
    port: int = Field(default_factory=paths.server_port, ge=0, le=65535)
    allow_visitor_urls: bool = False
    playtest: str = Field(default_factory=paths.playtest_file)
    share_with: Literal["", "lan"] = ""
    author: bool = False
    admin: bool = False


class ParsedWords(NamedTuple):
    """Settings that the words of a command line name, and whether `--dry-run` was among them."""

    settings: dict[str, Any]
    dry_run: bool


def load(model: type[ConfigT], words: Sequence[str]) -> tuple[ConfigT, bool]:
    """Return the settings that `@file.toml key=value --dry-run` describe, and whether `--dry-run` was among the words.

    A relative path in a file starts at the folder of that file, one on the command line at the working folder.

    Raises:
        InputError: a file or word that cannot be read, or the first wrong setting, with its value and what is allowed.
    """
    parsed = parse_words(model, words)
    _require_plain(parsed.settings)
    try:
        # Through JSON, because strict models take lists for tuples and texts for paths in JSON only.
        return model.model_validate_json(json.dumps(parsed.settings)), parsed.dry_run
    except ValidationError as error:
        raise InputError(_problem(error, model)) from error


def parse_words(model: type[BaseModel], words: Sequence[str]) -> ParsedWords:
    """Merge the settings that the words name; they are not validated yet.

    Args:
        model: the settings class; its paths are made absolute.
        words: files, settings and `--dry-run`.

    Raises:
        InputError: a word or file that cannot be read.
    """
    settings: dict[str, Any] = {}
    dry_run = False
    for word in words:
        key, equals, value = word.partition("=")
        if word == "--dry-run":
            dry_run = True
        elif word.startswith("@"):
            _merge(settings, _anchored(model, _read_toml(Path(word[1:])), Path(word[1:]).parent))
        elif equals and key and not key.startswith("-"):
            _merge(settings, _anchored(model, _nested(key.split("."), _literal(value)), Path()))
        else:
            # The most frequent mistake is a file without its `@`.
            near = f"@{word}" if word.endswith(".toml") and not word.startswith("-") else "@file.toml, key=value or --dry-run"
            raise InputError(f"'{word}' is not a setting; write {near}")
    return ParsedWords(settings, dry_run)


def _require_plain(value: Any, name: str = "") -> None:
    """Refuse dates, infinities and NaN, which TOML can hold: they would be lost on the way through JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_plain(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner, name)
    elif isinstance(value, _DATES):
        raise InputError(f"setting '{name}' is {value}, which TOML reads as a date or time; write it in quotes")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"setting '{name}' is {value}; give a finite number")


def dump(config: BaseModel) -> str:
    """Return all settings as TOML, defaults included; `load` reads the same value from it."""
    return tomli_w.dumps(_without_none(json.loads(config.model_dump_json())))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Leave out None, which TOML cannot write; it is the default of every setting that may be None."""
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in table.items() if value is not None}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"configuration '{path}' cannot be read ({error.strerror or error}); give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"configuration '{path}' is not TOML: {error}") from error


def _literal(value: str) -> Any:
    """Parse the value of a word as TOML; other text and dates stay text, so that `name=first try` needs no quotes."""
    try:
        literal = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value
    return value if isinstance(literal, _DATES) else literal


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}


def _merge(settings: dict[str, Any], more: dict[str, Any]) -> None:
    """Update `settings` with `more`, table by table."""
    for key, value in more.items():
        old = settings.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        else:
            settings[key] = value


def _anchored(model: type[BaseModel], settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the settings with relative paths made absolute, starting at `folder`."""
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
            anchored[key] = [str((folder / paths.expanded(item)).absolute()) if isinstance(item, str) else item for item in value]
        elif inner is not None and isinstance(value, dict):
            anchored[key] = _anchored(inner, value, folder)
    return anchored


def _kinds(annotation: Any) -> list[Any]:
    """Return a type and all types inside it."""
    return [annotation] + [kind for inner in get_args(annotation) for kind in _kinds(inner)]


def _table(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field that holds a table; None for other fields."""
    return next((kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the full names of all settings, tables included."""
    for key, field in model.model_fields.items():
        yield f"{prefix}{key}"
        if (inner := _table(field.annotation)) is not None:
            yield from _names(inner, f"{prefix}{key}.")


def _unknown(model: type[BaseModel], tables: Sequence[str], key: str) -> str:
    """Return the message for an unknown setting: a suggestion, and the settings of that table.

    The suggestion is a setting of the same name in another table, else one with a similar name in the same table, else one
    with a very similar name anywhere.
    """
    table = model
    for step in tables:
        field = table.model_fields.get(step)
        table = (_table(field.annotation) if field else None) or table
    prefix = "".join(f"{step}." for step in tables)
    # Reversed, so that of two settings with one name the first in the order of the tables wins.
    elsewhere = {name.rpartition(".")[2]: name for name in reversed(list(_names(model)))}
    near = [elsewhere[key]] if key in elsewhere else []
    near += [f"{prefix}{name}" for name in get_close_matches(key, table.model_fields, n=1)]
    # 0.8 instead of difflib's 0.6, because the names of all tables are many more to resemble by chance.
    near += [elsewhere[name] for name in get_close_matches(key, elsewhere, n=1, cutoff=0.8)]
    guess = f"did you mean '{near[0]}'? There are" if near else "there are"
    return f"there is no setting '{prefix}{key}'; {guess} {', '.join(sorted(table.model_fields))}"


def _problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the message for the error that is most likely the cause of the others."""
    # A misspelt setting leaves the right one missing, so an unknown setting is reported before a missing one.
    first = min(error.errors(include_url=False), key=lambda details: details["type"] != "extra_forbidden")
    name = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        *tables, key = map(str, first["loc"])
        return _unknown(model, tables, key)
    table = _table_at(model, first["loc"])
    if first["type"] == "missing":
        return _lacking(name, table)
    if first["type"] == "value_error" and isinstance(
        first["input"], dict
    ):  # a validator of a table: its message names the settings
        return first["msg"].removeprefix("Value error, ")
    if table is not None and not isinstance(first["input"], dict):
        return f"setting '{name}' is {first['input']!r}, but it is a table; write {_keys(name, table)}"
    if first["type"] in ("list_type", "tuple_type"):
        return f"setting '{name}' is {first['input']!r}, but it is a list; write {name}={json.dumps([first['input']])}"
    rule = first["msg"].removeprefix("Value error, ")
    rule = f"it {rule.removeprefix('Input ')}" if rule.startswith("Input ") else rule
    return f"setting '{name}' is {first['input']!r}; {rule}"


def _lacking(name: str, table: type[BaseModel] | None) -> str:
    """Return the message for a missing setting; for a table, that of its own validator on an empty table."""
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
    """Return the model of the table at this place; None where there is no table."""
    table: type[BaseModel] | None = model
    for step in steps:
        field = table.model_fields.get(str(step)) if table is not None else None
        table = _table(field.annotation) if field is not None else None
    return table
