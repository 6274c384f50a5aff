"""The personas of a folder as they are now: files are read again when they change, and a faulty one does not stop the others.

Whoever writes a persona sees each change at the next visit of the page. While a file is faulty, the persona stays as it was when
its file was last right.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from her import paths
from her.characters.personas import load_persona, persona_files
from her.errors import InputError
from her.types import Persona

LOOK_SECONDS = 1.0
"""Least seconds between two looks at the folder; a look takes 0.1 ms for 20 files that did not change."""
Stamp = tuple[int, ...]
log = logging.getLogger(__name__)


class PersonaShelf(Mapping[str, Persona]):
    """Personas by id, in the order of the file names.

    Args:
        folder: of the files; default the personas of this project or of HER_PERSONAS.
        clock: seconds, for tests.

    Attributes:
        faults: sentence about each file that cannot be used now, by its name.
        writable: whether the page may write files into the folder (`her play --author`).

    Raises:
        InputError: the folder is missing, or holds no file that can be used.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder or paths.personas_folder()
        self.faults: Mapping[str, str] = {}
        self.writable = False
        self._clock, self._looked_at = clock, clock()
        self._lock = threading.Lock()
        self._stamps: dict[str, Stamp] = {}
        self._read: dict[str, Persona] = {}
        self._shown: dict[str, Persona] = {}
        self._look(persona_files(self.folder))
        if not self._shown:
            raise InputError(
                next(iter(self.faults.values()), "")
                or f"no persona files (*.yaml) in '{self.folder}'; write one, or set HER_PERSONAS to a folder with persona files"
            )

    def __getitem__(self, persona_id: str) -> Persona:
        return self._now()[persona_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def refresh(self) -> None:
        """Look at the folder again at once."""
        with self._lock:
            self._looked_at = self._clock()
            try:
                files = persona_files(self.folder)
            except InputError as error:  # the folder is being replaced, or its disk is gone: play on with what was read
                log.warning("%s", error)
                return
            self._look(files)

    def _now(self) -> dict[str, Persona]:
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self.refresh()
        return self._shown

    def _look(self, files: list[Path]) -> None:
        """Read what changed, and replace what is shown at once, so that nobody sees half a change."""
        faults = {name: sentence for name, sentence in self.faults.items() if name in {path.name for path in files}}
        for path in files:
            stamp = _stamp(path)
            if self._stamps.get(path.name) == stamp:
                continue
            self._stamps[path.name] = stamp
            try:
                self._read[path.stem] = load_persona(path)
                faults.pop(path.name, None)
            except InputError as error:
                faults[path.name] = str(error)
                log.warning("%s", error)
        self._shown = self._of_different_names(files, faults)
        self.faults = faults

    def _of_different_names(self, files: list[Path], faults: dict[str, str]) -> dict[str, Persona]:
        """Return the personas of the files that are there; of two with one name the first, and a fault for the other."""
        names: dict[str, str] = {}
        shown: dict[str, Persona] = {}
        for path in files:
            if (persona := self._read.get(path.stem)) is None:
                continue
            if other := names.get(persona.name):
                taken = f"persona '{path.name}': the name '{persona.name}' is taken by '{other}'; no two personas share one"
                faults.setdefault(path.name, taken)
                continue
            if " is taken by '" in faults.get(path.name, ""):
                del faults[path.name]
            names[persona.name] = path.name
            shown[path.stem] = persona
        return shown


def _stamp(path: Path) -> Stamp:
    """Return what changes whenever a file is written or replaced; empty for a file that is gone."""
    try:
        status = path.lstat()
    except OSError:
        return ()  # removed since the folder was listed; reading it says so
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
