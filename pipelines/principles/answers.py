"""Define the schemas of the answers. Unknown keys are ignored, because models add them; what is wrong is asked again."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from her.judging.principles import DIMENSIONS, LONGEST, PrincipleEntry, PrincipleText, plain_line, wording_problems

LEAST_NAMED = 3
"""Principles a pair, as in the HER paper; an answer with fewer is asked again, then it is missing."""


class NamedPrinciple(BaseModel):
    """A principle as the teacher names it for one pair."""

    name: str = Field(min_length=1, max_length=200)
    definition: str = Field(min_length=1, max_length=1000)


class NamedPrinciples(BaseModel):
    """Answer to `name_principles`."""

    principles: list[NamedPrinciple] = Field(min_length=LEAST_NAMED, max_length=12)

    @model_validator(mode="after")
    def _different(self) -> "NamedPrinciples":
        if (number := len({each.definition.strip().casefold() for each in self.principles})) < LEAST_NAMED:
            raise ValueError(f"only {number} principles are different; name at least {LEAST_NAMED}")
        return self


class DistilledText(BaseModel):
    """Wording of a distilled principle in one language."""

    name: str = Field(min_length=1, max_length=LONGEST["name"])
    definition: str = Field(min_length=1, max_length=LONGEST["definition"])
    good: str = Field(min_length=1, max_length=LONGEST["good"])
    bad: str = Field(min_length=1, max_length=LONGEST["bad"])

    def text(self) -> PrincipleText:
        """Return the wording as the library holds it: on one line, without control characters."""
        fields = {name: plain_line(value) for name, value in self.model_dump().items()}
        return PrincipleText(**fields)


class DistilledPrinciple(BaseModel):
    """Answer to `distil_principle`."""

    dimension: str
    level: Literal["turn", "session"] = "turn"
    polarity: Literal["positive", "negative"]
    en: DistilledText
    zh: DistilledText

    @model_validator(mode="after")
    def _fit_for_a_library(self) -> "DistilledPrinciple":
        if self.dimension not in DIMENSIONS:
            raise ValueError(f"dimension {self.dimension!r} is not known; take one of {', '.join(DIMENSIONS)}")
        if problems := list(wording_problems(self.entry("new"))):
            raise ValueError(problems[0].removeprefix("principle 'new', "))
        return self

    def entry(self, name: str) -> PrincipleEntry:
        """Return the principle as a library holds it, with this id."""
        return PrincipleEntry(id=name, polarity=self.polarity, level=self.level, en=self.en.text(), zh=self.zh.text())


class AppliedPrinciple(BaseModel):
    """The one of two turns that follows a principle better, and the words that show it."""

    id: str
    winner: Literal["a", "b", "tie"]
    quote: str = ""


class AppliedPrinciples(BaseModel):
    """Answer to `apply_principles`."""

    verdicts: list[AppliedPrinciple]
