"""Prompts are data: one .md a prompt and language, filled in a single pass by `fill`.

A template is text with `$fields`, cut into sections at lines that begin with `===`. A section whose fields are all
empty is left out, so that nobody reads an empty heading. Filled values are never expanded again, whatever they hold.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

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
    text = template(name, language)
    if missing := sorted(set(_FIELD.findall(text)) - set(values)):
        raise InputError(f"prompt '{name}.{language}': no value for {', '.join(missing)}; give each one, '' to leave it out")
    kept = [section for section in _SECTION.split(text) if _wanted(section, values)]
    return _FIELD.sub(lambda field: values[field[1]].strip(), "".join(kept)).strip()


def _wanted(section: str, values: Mapping[str, str]) -> bool:
    """Whether a section has no field in its body, or one with something in it."""
    _, _, body = section.partition("\n") if section.startswith("===") else ("", "", section)
    fields = _FIELD.findall(body)
    return not fields or any(values[field].strip() for field in fields)
