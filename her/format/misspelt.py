"""Find tags that are nearly those of the format: a writer's slip that would be read aloud as speech."""

import re
from difflib import get_close_matches
from typing import NamedTuple

from her.format.tags import NAMES, TAG, WRITTEN

CLOSE = 0.82
"""Least likeness (difflib's ratio) of a misspelt name: one letter of five is too many, two of thirteen are not."""
_TAG_LIKE = re.compile(r"<\s{0,3}/?\s{0,3}([A-Za-z][\w -]{2,30}?)\s{0,3}>")


class MisspeltTag(NamedTuple):
    """A tag as it stands in the text, and the one that was meant."""

    text: str
    meant: str


def misspelt_tag(text: str) -> MisspeltTag | None:
    """Return the first tag in a text that is nearly one of the format; None when there is none."""
    for found in _TAG_LIKE.finditer(text):
        name = re.sub(r"[ -]+", "_", found[1].lower())
        if TAG.fullmatch(found[0]):
            continue
        if near := get_close_matches(name, NAMES, n=1, cutoff=CLOSE):
            kind = NAMES[near[0]]
            opening, closing = WRITTEN.get(kind, ("", ""))
            return MisspeltTag(found[0], (closing if "/" in found[0] else opening) or "no tag: speech has none")
    return None
