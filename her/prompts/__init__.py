"""Prompts are data: one .md a prompt and language, filled in a single pass by `fill`.

A template is text with `$fields`, cut into sections at lines that begin with `===`. A section whose fields are all
empty is left out, so that nobody reads an empty heading. Filled values are never expanded again, whatever they hold.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from her.errors import InputError
from her.types import Language

_FIELD = re.compile(r"\$([a-z_]+)")
_SECTION = re.compile(r"(?m)^(?====)")


@cache
def template(name: str, language: Language) -> str:
    """The text of `name.LANGUAGE.md`, without its final newline."""
    return files(__package__).joinpath(f"{name}.{language}.md").read_text("utf-8").rstrip("\n")


def fill(name: str, language: Language, values: Mapping[str, str]) -> str:
    """The prompt `name` in `language`, its fields replaced by `values`.

    Raises:
        InputError: a field of the template that `values` does not name.
    """
    sections = _sections(name, language)
    if missing := sorted({field for section in sections for field in section.fields} - set(values)):
        raise InputError(f"prompt '{name}.{language}': no value for {', '.join(missing)}; give each one, '' to leave it out")
    stripped = {field: value.strip() for field, value in values.items()}
    kept = (section for section in sections if not section.body or any(stripped[field] for field in section.body))
    return "".join(piece if text else stripped[piece] for section in kept for text, piece in section.pieces).strip()


class _Section(NamedTuple):
    """A section of a template: the fields in it, those below its heading, and its text and fields in turn."""

    fields: tuple[str, ...]
    body: tuple[str, ...]
    pieces: tuple[tuple[bool, str], ...]


@cache
def _sections(name: str, language: Language) -> tuple[_Section, ...]:
    return tuple(map(_section, _SECTION.split(template(name, language))))


def _section(section: str) -> _Section:
    """A section is left out when it has fields in its body and all of them are empty."""
    _, _, body = section.partition("\n") if section.startswith("===") else ("", "", section)
    pieces = tuple((index % 2 == 0, piece) for index, piece in enumerate(_FIELD.split(section)))
    return _Section(tuple(_FIELD.findall(section)), tuple(_FIELD.findall(body)), pieces)
