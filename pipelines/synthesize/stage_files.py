"""Write the files of a stage in the run folder, all or none.

scenes/TITLE.json           raw books in the CoSER schema
scenes.jsonl                every scene as it was read; scenes.count.json: number of scenes and turns
STAGE.jsonl                 the same scenes after a stage
STAGE.turns.jsonl           the outcome of every turn (`TurnRecord`)
STAGE.skipped.jsonl         what was skipped, and why (`Skipped`); skipped.jsonl: those of all stages
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TextIO

from pydantic import BaseModel

from her.files import jsonl
from her.files.atomic import replacing
from pipelines.synthesize.notes import Notes, Skipped


class StageFiles:
    """Writer of the files of one stage; they appear when the block ends without an error, all or none."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.turns, self.skipped, self.scenes = (folder / f"{stage}{part}.jsonl" for part in (".turns", ".skipped", ""))
        self._stack = ExitStack()
        self._files: list[TextIO] = []

    @property
    def done(self) -> bool:
        """Return whether an earlier start of the run finished this stage."""
        return self.scenes.is_file()

    def __enter__(self) -> Self:
        # The file of scenes is opened first and so renamed last: where it exists, the other two do.
        opened = [self._stack.enter_context(replacing(path)) for path in (self.scenes, self.skipped, self.turns)]
        self._files = opened[::-1]
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, scene: BaseModel | None, notes: Notes) -> None:
        """Append a scene and its records."""
        written: list[Sequence[BaseModel]] = [notes.turns, notes.skipped, [scene] if scene else []]
        for file, rows in zip(self._files, written, strict=True):
            file.writelines(row.model_dump_json() + "\n" for row in rows)


def collect_skipped(folder: Path, stages: Iterable[str]) -> list[Skipped]:
    """Write everything that these stages skipped into `skipped.jsonl`, in this order, and return it."""
    paths = [StageFiles(folder, stage).skipped for stage in stages]
    skipped = [entry for path in paths if path.is_file() for entry in jsonl.read(path, Skipped)]
    jsonl.write(folder / "skipped.jsonl", skipped)
    return skipped
