"""Read the cases of an evaluation: scenes of a CoSER test set or of its books, in either of its two schemas.

A case is what the actors are given (scenario and cast) and what only the judge sees (the book's turns, the plot). What the file
lacks is left out by her/characters/coser.py, which names each gap; a scene that nobody can play is no case.
"""

from collections.abc import Sequence
from pathlib import Path

from her.characters.anonymous import anonymised
from her.characters.coser import BookScene, load_book
from her.errors import InputError
from her.types import ENVIRONMENT, CastMember, Value
from pipelines.evaluate.protocols import ActingProtocol


class ActingCase(Value):
    """One case.

    Args:
        key: `BOOK-PLOT-CONVERSATION`, as in CoSER's files.
        scene: the book's scene.
        anonymous: whether people and places have invented names (her/characters/anonymous.py).
    """

    key: str
    scene: BookScene
    anonymous: bool = False

    @property
    def title(self) -> str:
        """Title of the book as prompts may show it: none for a case with invented names."""
        return {"en": "a book", "zh": "一本书"}[self.scene.scenario.language] if self.anonymous else self.scene.book

    def renamed(self) -> "ActingCase":
        """Return the case with invented names, the same for all cases of a book."""
        return self.model_copy(update={"scene": anonymised(self.scene)[0], "anonymous": True})

    @property
    def speakers(self) -> tuple[str, ...]:
        """Characters who speak in the book, the environment left out."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.scene.turns if turn.speaker != ENVIRONMENT))

    @property
    def major(self) -> tuple[str, ...]:
        """Main characters; all who speak where the case names none."""
        return self.scene.major or self.speakers

    def cast(self, protocol: ActingProtocol) -> tuple[CastMember, ...]:
        """Return the characters with what the protocol lets them know of themselves."""
        shown = protocol.motivations == "both" or (protocol.motivations == "new" and not self.scene.old_keys)
        if shown:
            return self.scene.cast
        return tuple(member.model_copy(update={"motivation": ""}) for member in self.scene.cast)

    def first(self, protocol: ActingProtocol) -> str:
        """Return who begins; empty for the first of the cast."""
        names = {ENVIRONMENT, *(member.name for member in self.scene.cast)}
        listed = [name for name in self.scene.listed if name in names]
        if protocol.first == "frequent" and listed:
            return listed[0]
        return self.scene.turns[0].speaker


def read_cases(paths: Sequence[Path], limit: int = 0) -> tuple[ActingCase, ...]:
    """Return the cases of files or folders of JSON files, in their order; at most `limit`, spread evenly, when it is not 0.

    Raises:
        InputError: a file cannot be read, or holds no case, or two files hold the same one.
    """
    cases: dict[str, ActingCase] = {}
    for path in case_files(paths):
        for scene in load_book(path).scenes:
            key = f"{scene.book}-{scene.plot}-{scene.conversation}"
            if key in cases:
                raise InputError(f"case {key!r} stands in '{path.name}' and in another file; leave one of them out")
            if any(turn.speaker != ENVIRONMENT for turn in scene.turns):  # else nobody would play
                cases[key] = ActingCase(key=key, scene=scene)
    if not cases:
        raise InputError("no case has a character who speaks; give a test set of CoSER or one of its books")
    found = tuple(cases.values())
    if not limit or limit >= len(found):
        return found
    # Not the first ones: files are sorted by book, and a pilot of one book says little about the others.
    return tuple(found[number * len(found) // limit] for number in range(limit))


def case_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that are named or lie in a named folder, sorted within it.

    Raises:
        InputError: there is none.
    """
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.glob("*.json")))]
    if not files:
        raise InputError(
            f"no JSON file at {', '.join(map(repr, map(str, paths)))}; give a test set of CoSER or a folder of books"
        )
    return files
