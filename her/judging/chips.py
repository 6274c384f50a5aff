"""Offer the principles of the library as "why" chips of a blind vote, and check the vote that a browser sends."""

from her.errors import InputError
from her.feedback.rubric import RUBRIC
from her.judging.principles import LIBRARY, library_hash, load_dimensions
from her.store.records import Vote
from her.types import Language, Value

MOST_WHY = 8
"""Chips that one vote may name: more are a list, not a reason."""


class Chip(Value):
    """A principle as a chip: what a tap on it says, its meaning as a hint, and its dimension's name as the group."""

    id: str
    label: str
    hint: str
    group: str


def why_chips(language: Language) -> tuple[Chip, ...]:
    """Return the chips in one language, in the library's order: all principles that a single turn can decide."""
    return tuple(
        Chip(id=entry.id, label=text.name, hint=text.definition, group=dimension.name(language))
        for dimension in load_dimensions()
        for entry in dimension.principles
        if entry.level == "turn"
        for text in (entry.zh if language == "zh" else entry.en,)
    )


def check_vote(vote: Vote) -> Vote:
    """Return the vote when it fits library and rubric, with the library's hash where it gives reasons.

    Raises:
        InputError: a principle or dimension is unknown, a principle stands there twice, or there are more than MOST_WHY.
    """
    known = {chip.id for chip in why_chips("en")}
    if unknown := [name for name in vote.why if name not in known]:
        raise InputError(f"principle {unknown[0][:40]!r} is not in the library '{LIBRARY.name}'; reload the page")
    if len(vote.why) > MOST_WHY or len(set(vote.why)) < len(vote.why):
        raise InputError(f"a vote has {len(vote.why)} reasons; give at most {MOST_WHY}, each once")
    dimensions = [label.id for label in RUBRIC.dimensions]
    for name in vote.dimensions:
        if name not in dimensions:
            raise InputError(f"dimension {name[:40]!r} is not in rubric {RUBRIC.version}; known are {', '.join(dimensions)}")
    return vote.model_copy(update={"principles": library_hash()}) if vote.why else vote
