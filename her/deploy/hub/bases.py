"""Find the folder of a model that training starts from: a folder, or a publication that is pulled once and verified by hash.

`model.base=OWNER/NAME@TAG` names a publication of her. What was pulled is used without asking the Hub, so it works offline too.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from her import paths
from her.deploy.hub import remote
from her.deploy.hub.manifest import MANIFEST, HubManifest, differences, read_manifest, record_files
from her.deploy.hub.pulling import commit_file, newest_address, pull, pulled_folder
from her.errors import InputError

_ADDRESS = re.compile(r"[\w.-]+/[\w.-]+@[\w.-]+", re.ASCII)


class PublishedBase(NamedTuple):
    """A pulled model whose files are those of its manifest; `commit` is the one that the tag named."""

    folder: Path
    manifest: HubManifest
    commit: str


def is_publication(base: str) -> bool:
    """Return whether a base is written `OWNER/NAME@TAG` and is no folder."""
    return bool(_ADDRESS.fullmatch(base)) and not paths.expanded(base).is_dir()


def local_base(base: str) -> Path:
    """Return the folder that a base names, without asking the Hub; it need not exist."""
    return pulled_folder(remote.parse_address(base)) if is_publication(base) else paths.expanded(base)


def published_base(base: str) -> PublishedBase | None:
    """Return the publication that a base names, pulled where it is not here yet; None for a folder or another repository.

    Raises:
        InputError: a publication without its tag, of which no model can be trained, or changed since it was pulled.
        HerError: it cannot be pulled.
    """
    if is_publication(base):
        return verified(base, paths.home())
    if base.count("/") == 1 and not base.startswith((".", "~", "/")) and not paths.expanded(base).exists():
        _require_tag(base, paths.home())
    return None


@lru_cache(maxsize=8)
def verified(base: str, home: Path) -> PublishedBase:
    """Return a publication whose files were hashed; once a process, as a pipeline asks for a base of many gigabytes many times.

    Raises:
        InputError: it cannot be pulled, was changed since, or holds no model.
    """
    address = remote.parse_address(base)
    folder = pulled_folder(address)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Processes of one training ask at the same time: the first one pulls.
    with FileLock(home / "pulled" / f".{folder.name}.lock"):
        if not (folder / MANIFEST).is_file():
            _pull(base)
    manifest = read_manifest(folder / MANIFEST, f"'{folder}'")
    there = [name for name in manifest.files if (folder / name).is_file()]
    problems = differences(manifest.files, record_files(folder, there))
    if (manifest.repository, manifest.tag) != address:
        problems = [f"its manifest is of {manifest.repository}@{manifest.tag}"]
    if problems:
        raise InputError(
            f"'{folder}' is not what was pulled from {base} ({problems[0]}); delete the folder, it is pulled again then"
        )
    if manifest.repository_type != "model":
        raise InputError(f"model.base '{base}' holds {manifest.kind}, and training starts from a model; name one")
    commit = commit_file(folder)
    return PublishedBase(folder, manifest, commit.read_text("utf-8").strip() if commit.is_file() else "")


def _pull(base: str) -> None:
    try:
        pull(base)
    except InputError as error:
        raise InputError(f"model.base '{base}' is not on this machine and cannot be pulled: {error}") from error


@lru_cache(maxsize=8)
def _require_tag(base: str, home: Path) -> None:
    """Refuse a publication that is named without its tag: what `main` holds may be half an upload, and changes."""
    known = sorted(
        path.name.rpartition("@")[2] for path in (home / "pulled").glob(f"{base.replace('/', '--')}@*") if path.is_dir()
    )
    found = f"{base}@{known[-1]}" if known else newest_address(base)
    if found:
        raise InputError(f"model.base '{base}' is a publication of her, which is read by its tag; write model.base={found}")
