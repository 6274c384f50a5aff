"""Read the file that describes a playtest: consent, missions and comparisons. `her play --playtest FILE.yaml` opens it.

personas/playtests/evening.yaml is an example with every field.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from her.errors import InputError
from her.feedback.rubric import RUBRIC
from her.files.yaml import YamlFile
from her.types import Language, Sampling, Thinking, Value

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
FREED_MINUTES = 60
"""Minutes without a turn after which the place of a mission that is not done goes to somebody else."""


def _repeated(names: Iterable[str]) -> str:
    """Return a name that stands there more than once; empty when all are different."""
    return next((name for name, count in Counter(names).items() if count > 1), "")


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise ValueError(f"is {text[:60]!r}; write up to 60 letters A to Z, digits, '.', '_' or '-'")
    return text


def _dimension(text: str) -> str:
    known = [label.id for label in RUBRIC.dimensions]
    if text not in known:
        raise ValueError(f"is {text[:60]!r}, which is no dimension of the rubric; write {', '.join(known)}")
    return text


Slug = Annotated[str, AfterValidator(_slug)]
Dimension = Annotated[str, AfterValidator(_dimension)]
ConsentText = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
GoalText = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(max_length=200)]
Share = Annotated[float, Field(ge=0, le=0.5)]


class Consent(Value):
    """Text that a person agrees to before anything is stored; another `version` asks everybody again. Texts are plain."""

    version: Slug
    en: ConsentText
    zh: ConsentText

    def text(self, language: Language) -> str:
        """Return the text in this language."""
        return self.zh if language == "zh" else self.en


class Goal(Value):
    """Task of a person in a mission, in both languages."""

    en: GoalText
    zh: GoalText

    def text(self, language: Language) -> str:
        """Return the goal in this language."""
        return self.zh if language == "zh" else self.en


class Mission(Value):
    """One task of a playtest: a persona or scene, a goal, and dimensions to rate.

    Args:
        persona: id of the persona to chat with; with a `scene` it is met there.
        scene: id of a scene of the personas' folder or of an open book; without a persona the model plays its whole cast.
        plays: `as` in the file: name of the character that the person plays in a scene; empty for somebody of their own.
        least_turns: turns of the person after which the mission counts as played.
        rate: dimensions of the rubric that the person is asked for.
        people: how many people it is meant for.
        every: a comparison of two replies at each so many turns; None as in `comparisons`, 0 for none.
    """

    id: Slug
    persona: Name = ""
    scene: Name = ""
    plays: Annotated[Name, Field(alias="as")] = ""
    goal: Goal
    least_turns: Annotated[int, Field(ge=1, le=200)] = 4
    rate: Annotated[tuple[Dimension, ...], Field(max_length=20)] = ()
    people: Annotated[int, Field(ge=1, le=10_000)] = 1
    every: Annotated[int, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "Mission":
        if not self.persona and not self.scene:
            raise ValueError("names neither a persona nor a scene; write 'persona: ID' or 'scene: ID'")
        if self.plays and self.persona:
            raise ValueError("has 'as' beside a persona; 'as' names a character of a scene, so delete one of the two")
        if twice := _repeated(self.rate):
            raise ValueError(f"asks for the dimension '{twice}' twice; name it once")
        return self


class Arm(Value):
    """One of the things that a comparison sets against each other.

    Args:
        name: for the organiser; people never see it.
        backend: spec of the model; empty for the one that the playground was started with.
        sampling: parameters of its calls; fields that are left out are as everywhere.
        thinking: layers of thinking that it writes.
    """

    name: Slug
    backend: Annotated[str, StringConstraints(max_length=500)] = ""
    sampling: Sampling = Sampling()
    thinking: Thinking = "full"


class Comparisons(Value):
    """Blind comparisons of two replies within the chat.

    Args:
        every: at each so many turns; 0 for none.
        arms: two of them are drawn for each comparison.
        catch: share of comparisons with a side that was planted to be bad.
        repeat: share of comparisons that repeat an earlier one with sides swapped.
    """

    every: Annotated[int, Field(ge=0, le=100)] = 4
    arms: Annotated[tuple[Arm, ...], Field(max_length=8)] = ()
    catch: Share = 0.125
    repeat: Share = 0.125

    @model_validator(mode="after")
    def _different(self) -> "Comparisons":
        if len(self.arms) == 1:
            raise ValueError("has one arm; a comparison needs two")
        if twice := _repeated(arm.name for arm in self.arms):
            raise ValueError(f"has two arms with the name '{twice}'; give each a name of its own")
        return self


class Playtest(Value):
    """A playtest as its file describes it; without `consent` nobody is asked, without missions everybody chooses freely."""

    name: Line
    consent: Consent | None = None
    missions: Annotated[tuple[Mission, ...], Field(max_length=200)] = ()
    comparisons: Comparisons = Comparisons(every=0)

    @model_validator(mode="after")
    def _whole(self) -> "Playtest":
        if twice := _repeated(mission.id for mission in self.missions):
            raise ValueError(f"has two missions with the id '{twice}'; give each an id of its own")
        asks = self.comparisons.every or any(mission.every for mission in self.missions)
        if asks and not self.comparisons.arms:
            raise ValueError("asks for comparisons but names no arms; write two under 'comparisons: arms', or 'every: 0'")
        return self

    def mission(self, mission_id: str) -> Mission | None:
        """Return the mission of this id; None when there is none."""
        return next((mission for mission in self.missions if mission.id == mission_id), None)

    def every(self, mission_id: str = "") -> int:
        """Return at each how many turns of a chat a comparison comes; 0 for never."""
        mission = self.mission(mission_id)
        return self.comparisons.every if mission is None or mission.every is None else mission.every


def load_playtest(path: Path) -> Playtest:
    """Read the file of a playtest.

    Raises:
        InputError: the first problem; it names file, field, line and a remedy.
    """
    file = YamlFile(path, "playtest", numbers=True)
    return file.require(file.build(Playtest))


def check_places(playtest: Playtest, personas: Collection[str], scenes: Collection[str]) -> None:
    """Check that every persona and scene that a mission names is there.

    Raises:
        InputError: the first one that is not, with the nearest that is.
    """
    for mission in playtest.missions:
        for what, name, known in (("persona", mission.persona, personas), ("scene", mission.scene, scenes)):
            if name and name not in known:
                near = get_close_matches(name, known, n=1)
                right = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
                raise InputError(f"playtest '{playtest.name}': mission '{mission.id}' names the {what} '{name}'; {right}")
