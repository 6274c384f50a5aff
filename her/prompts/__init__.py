"""Fill prompt templates: one Markdown file for each prompt and language in this folder.

A template is text with `$fields`, divided into sections at lines that begin with `===`. A section whose fields are all empty
is left out with its heading. A value is inserted as it is: a `$field` inside a value is not replaced.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from her.errors import InputError
from her.types import Language, Message

_FIELD = re.compile(r"\$([a-z_]+)")
_SECTION = re.compile(r"(?m)^(?====)")


@cache
def template(name: str, language: Language) -> str:
    """Return the text of `name.LANGUAGE.md` without its final newlines."""
    return files(__package__).joinpath(f"{name}.{language}.md").read_text("utf-8").rstrip("\n")


def fill(name: str, language: Language, values: Mapping[str, str], ending: str = "") -> str:
    """Return the prompt `name` in `language` with its fields replaced by `values`.

    Args:
        ending: a template whose text stands in place of the last section; empty keeps that.

    Raises:
        InputError: `values` lacks a field of the template.
    """
    sections, fields = _with_ending(name, language, ending)
    if missing := sorted(fields - values.keys()):
        raise InputError(f"prompt '{name}.{language}': no value for {', '.join(missing)}; give each one, '' to leave it out")
    stripped = {field: value.strip() for field, value in values.items()}
    # A section without fields in its body is fixed text and always stays.
    kept = tuple(not section.body or any(map(stripped.__getitem__, section.body)) for section in sections)
    texts, names = _layout(name, language, ending, kept)
    pieces = [texts[0]]
    for text, field in zip(texts[1:], names, strict=True):
        pieces += (stripped[field], text)
    return "".join(pieces).strip()


def prompt_messages(prompt: str, language: Language, payload: Mapping[str, Any], **fields: str) -> tuple[Message, ...]:
    """Return the prompt file as the system message and the payload as JSON in the user message.

    Args:
        fields: values of the `$fields` of the prompt file.

    Raises:
        InputError: the prompt file has a `$field` that `fields` does not name.
    """
    body = json.dumps(payload, ensure_ascii=False, indent=1)
    return (
        Message(role="system", content=fill(prompt, language, fields)),
        # Books may hold half a surrogate pair, which has no UTF-8 form and which no server accepts.
        Message(role="user", content=body.encode("utf-8", "replace").decode("utf-8")),
    )


class _Section(NamedTuple):
    """Section of a template.

    Args:
        fields: names of all its fields.
        body: names of the fields below the heading.
        pieces: pairs (is text, text or field name), in order.
    """

    fields: tuple[str, ...]
    body: tuple[str, ...]
    pieces: tuple[tuple[bool, str], ...]


@cache
def _with_ending(name: str, language: Language, ending: str) -> tuple[tuple[_Section, ...], frozenset[str]]:
    """Return the sections of a template, `ending` in place of the last if it is given, and the names of all their fields."""
    sections = _sections(name, language)
    if ending:
        sections = (*sections[:-1], *_sections(ending, language))
    return sections, frozenset(field for section in sections for field in section.fields)


@cache
def _layout(name: str, language: Language, ending: str, kept: tuple[bool, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts of the sections that are kept, joined, and the fields that stand between them: one fewer than texts."""
    texts, names = [""], []
    for section, stays in zip(_with_ending(name, language, ending)[0], kept, strict=True):
        for is_text, piece in section.pieces if stays else ():
            if is_text:
                texts[-1] += piece
            else:
                names.append(piece)
                texts.append("")
    return tuple(texts), tuple(names)


@cache
def _sections(name: str, language: Language) -> tuple[_Section, ...]:
    return tuple(map(_section, _SECTION.split(template(name, language))))


def _section(section: str) -> _Section:
    _, _, body = section.partition("\n") if section.startswith("===") else ("", "", section)
    pieces = tuple((index % 2 == 0, piece) for index, piece in enumerate(_FIELD.split(section)))
    return _Section(tuple(_FIELD.findall(section)), tuple(_FIELD.findall(body)), pieces)
