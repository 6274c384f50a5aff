"""Record which checkpoint is on stage: one line for each promotion and each rollback, never changed.

The order of the lines counts, not their clock. `her play` with no backend named opens the checkpoint that stands last.
"""

import getpass
import logging
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from filelock import FileLock

from her import paths
from her.backends.open import named_spec
from her.deploy.checkpoints import checkpoint_hash, deciding_files
from her.deploy.hub.manifest import FileRecord, differences, record_files
from her.errors import InputError
from her.files import jsonl
from her.types import Value

log = logging.getLogger(__name__)


class StageCondition(Value):
    """One condition of a promotion; `sentence` has the figures, or the command that makes what is missing."""

    name: Literal["held-out judge", "free metrics", "alarms"]
    passed: bool
    sentence: str


class StagedModel(Value):
    """One line of the record.

    Args:
        act: `promote` puts a checkpoint on stage, `back` puts the one before it there again.
        at: seconds since 1970, by the clock of this machine.
        by: who did it, `USER@HOST`.
        run: the checkpoint on stage after the act; after a `back` from the first one empty, as are the next three.
        checkpoint: hash of the whole checkpoint; `files` has size and sha256 of each file.
        conditions: what was found before a promotion.
        overruled: why it was promoted in spite of a condition that failed; empty where none did.
    """

    act: Literal["promote", "back"]
    at: float
    by: str
    run: str = ""
    folder: str = ""
    checkpoint: str = ""
    files: dict[str, FileRecord] = {}
    conditions: tuple[StageCondition, ...] = ()
    overruled: str = ""


def read_record() -> list[StagedModel]:
    """Return all lines, the oldest first."""
    path = _file()
    return list(jsonl.read(path, StagedModel)) if path.is_file() else []


def standing(record: Sequence[StagedModel]) -> list[StagedModel]:
    """Return the promotions that were not rolled back, the one on stage last."""
    stack: list[StagedModel] = []
    for line in record:
        if line.act == "promote":
            stack.append(line)
        elif stack:
            stack.pop()
    return stack


def on_stage() -> StagedModel | None:
    """Return the promotion that stands; None when nothing is on stage."""
    stack = standing(read_record())
    return stack[-1] if stack else None


def put_on_stage(run: str, folder: Path, conditions: Sequence[StageCondition] = (), overruled: str = "") -> StagedModel:
    """Record a promotion.

    Args:
        folder: of the checkpoint.
    """
    names = [path.name for path in deciding_files(folder)]
    line = StagedModel(
        act="promote",
        at=time.time(),
        by=_person(),
        run=run,
        folder=str(folder),
        checkpoint=checkpoint_hash(folder),
        files=record_files(folder, names),
        conditions=tuple(conditions),
        overruled=overruled,
    )
    _append(line)
    return line


def take_back() -> StagedModel:
    """Record a rollback to the checkpoint before the one on stage, and return the line.

    Raises:
        InputError: nothing is on stage, or the checkpoint before is gone or another one by now.
    """
    stack = standing(read_record())
    if not stack:
        raise InputError("nothing is on stage, so there is nothing to roll back; her promote RUN puts a checkpoint there")
    line = StagedModel(act="back", at=time.time(), by=_person())
    if len(stack) > 1:
        before = stack[-2]
        _require_whole(before, hashes=True)
        line = line.model_copy(update={name: getattr(before, name) for name in ("run", "folder", "checkpoint", "files")})
    _append(line)
    return line


def staged_spec() -> str:
    """Return the backend spec of the checkpoint on stage; empty when nothing is.

    Only sizes are compared, because hashes of many gigabytes would hold up every start.

    Raises:
        InputError: its files are gone or have another size.
    """
    line = on_stage()
    if line is None:
        return ""
    _require_whole(line, hashes=False)
    return f"local:{line.folder}"


def chosen_spec(backend: str | None) -> str | None:
    """Return the backend that settings or environment name, else the checkpoint on stage (`her promote`); None for neither.

    Raises:
        InputError: the checkpoint on stage is gone or was changed.
    """
    if backend or named_spec():
        return backend
    if spec := staged_spec():
        log.info("on stage: %s (her promote shows since when; her play --backend names another model)", spec)
    return spec or None


def _require_whole(line: StagedModel, hashes: bool) -> None:
    folder = Path(line.folder)
    there = [name for name in line.files if (folder / name).is_file()]
    if hashes:
        found = record_files(folder, there)
    else:
        found = {name: line.files[name].model_copy(update={"size": (folder / name).stat().st_size}) for name in there}
    if problems := differences(line.files, found):
        raise InputError(
            f"the checkpoint of run '{line.run}' is not what was promoted: {problems[0]}; restore '{folder}', promote another "
            "run (her promote RUN), or name a model: her play --backend SPEC"
        )


def _append(line: StagedModel) -> None:
    with FileLock(_file().with_suffix(".lock")):
        jsonl.append(_file(), [line])


def _file() -> Path:
    return paths.home() / "stage.jsonl"


def _person() -> str:
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # a container's user without a name
        return f"?@{platform.node()}"
