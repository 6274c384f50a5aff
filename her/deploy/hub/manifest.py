"""Read and write the manifest of a publication: `her.json`, the sha256 and size of every file that the repository holds.

It is the first file that is sent and the tag is the last thing that is written, so a repository whose upload was cut has a
manifest and no tag. Readers load by tag and compare every file with the manifest.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from her.errors import InputError
from her.files.atomic import file_hash, replacing
from her.types import Value

MANIFEST = "her.json"
"""Name of the manifest in a repository and in a folder that was pulled."""
RepositoryType = Literal["model", "dataset"]


class FileRecord(Value):
    """Size in bytes and sha256 of one file."""

    size: int
    sha256: str


class HubManifest(Value):
    """A record of the files of a publication and of the run that it came from.

    Args:
        format: version of this form.
        repository: `OWNER/NAME`.
        run: name of the run, with `/PART` where the run trained several models.
        kind: what it is, such as `model` or `scalar reward model`.
        tag: the tag that marks the whole publication.
        commit: of the code that made the run; empty outside a checkout.
        base: what the run was trained from, as its settings name it; empty for random weights and data sets.
        accepted: fingerprints of findings of the scan for secrets that a person accepted.
        trained_on: runs and publications that it was made from, with the run itself first.
        withdrawn: rows that were taken out after it was published.
        files: path -> record, without the manifest itself.
    """

    format: Literal[1] = 1
    repository: str
    run: str
    pipeline: str
    kind: str
    repository_type: RepositoryType
    tag: str
    commit: str = ""
    base: str = ""
    accepted: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    withdrawn: int = 0
    files: dict[str, FileRecord]

    @property
    def size(self) -> int:
        """Return the bytes of all files together."""
        return sum(record.size for record in self.files.values())


def record_files(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Return the records of files, given by their path below `folder`."""
    return {name: FileRecord(size=(folder / name).stat().st_size, sha256=file_hash(folder / name)) for name in sorted(names)}


def write_manifest(manifest: HubManifest, folder: Path) -> None:
    """Write the manifest into a folder; the same manifest always has the same bytes."""
    with replacing(folder / MANIFEST) as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")


def read_manifest(path: Path, where: str) -> HubManifest:
    """Read a manifest.

    Args:
        where: what it belongs to, for the error.

    Raises:
        InputError: it is not a manifest of this format.
    """
    try:
        return HubManifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"the manifest {MANIFEST} of {where} cannot be read ({first}); it was not published with her") from error


def differences(expected: Mapping[str, FileRecord], found: Mapping[str, FileRecord]) -> list[str]:
    """Say for every file that is missing or differs what is wrong with it; empty when all are whole."""
    problems = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    for name in sorted(expected.keys() & found.keys()):
        want, have = expected[name], found[name]
        if want.size != have.size:
            problems.append(f"{name} has {have.size} bytes instead of {want.size}")
        elif want.sha256 != have.sha256:
            problems.append(f"{name} has the sha256 {have.sha256[:12]}... instead of {want.sha256[:12]}...")
    return problems
