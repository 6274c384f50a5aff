"""Choose what of a run is sent: the table of pipelines says which files; a run that is not done or was changed is refused."""

import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from her import paths
from her.deploy.hub.manifest import MANIFEST, read_manifest
from her.errors import InputError
from her.files.atomic import file_hash
from her.runs.folder import RunStatus, read_status, run_folder
from her.runs.pipelines import PIPELINES, Publication

CARD = "README.md"
RESULTS = ".eval_results"
"""Folder whose files the Hub reads as results of an evaluation; the only hidden one that is sent."""


class SentRun(NamedTuple):
    """A run that may be published, or one of the models that it trained.

    Args:
        name: `RUN` or `RUN/PART`.
        folder: of the run or its part.
        settings: what `config.toml` holds.
        kind: what it is, such as `model` or `scalar reward model`.
    """

    name: str
    folder: Path
    status: RunStatus
    settings: Mapping[str, Any]
    publication: Publication
    kind: str

    @property
    def tag(self) -> str:
        """Return the tag that the run has by default."""
        return self.name.replace("/", "-")

    @property
    def base(self) -> str:
        """Return what the run was trained from, as `base_of` names it."""
        return base_of(self.settings)


def base_of(settings: Mapping[str, Any]) -> str:
    """Return what a model was trained from: `OWNER/NAME@TAG`, the last part of a folder, or nothing for random weights."""
    model = settings.get("model", {})
    base = str(model.get("base", "")) if isinstance(model, Mapping) else ""
    if not base:
        return ""
    folder = paths.expanded(base)
    if (folder / MANIFEST).is_file():  # a publication that was pulled
        manifest = read_manifest(folder / MANIFEST, f"'{folder}'")
        return f"{manifest.repository}@{manifest.tag}"
    if folder.is_dir() or base.startswith(("/", "~", ".")):
        return folder.resolve().name
    return f"{base}@{model['revision']}" if model.get("revision") else base


def find_run(word: str) -> SentRun:
    """Return the run `NAME`, or the part `NAME/PART` of one that trained several models.

    Raises:
        InputError: there is none, it is not done, it was changed since, or nothing of its pipeline is published.
    """
    name, _, part = word.partition("/")
    status = read_status(name)
    if status.state != "done":
        why = f" ({status.reason})" if status.reason else ""
        raise InputError(f"run '{name}' is {status.state}{why}; only a run that is done is published: her runs resume {name}")
    publication = PIPELINES[status.pipeline].publishes if status.pipeline in PIPELINES else None
    if publication is None:
        able = ", ".join(entry.name for entry in PIPELINES.values() if entry.publishes)
        raise InputError(f"run '{name}' is of pipeline '{status.pipeline}', of which nothing is published; runs of {able} are")
    whole = run_folder(name)
    folder = whole / part if part else whole
    if not folder.is_dir() or folder.resolve().parent not in (whole.resolve(), whole.resolve().parent):
        raise InputError(f"run '{name}' has no part '{part}'; {_parts(whole, publication)}")
    _require_unchanged(name, whole, status)
    settings = tomllib.loads((whole / "config.toml").read_text("utf-8"))
    form = str(settings.get(publication.form, "")) if publication.form else ""
    run = SentRun(word, folder, status, settings, publication, f"{form} {publication.kind}".strip())
    if not any((folder / required).exists() for required in publication.required):
        raise InputError(f"run '{word}' has no {publication.required[0]}; {_parts(whole, publication)}")
    return run


def _parts(whole: Path, publication: Publication) -> str:
    found = sorted(path.parent.name for need in publication.required for path in whole.glob(f"*/{need}"))
    return f"name one of its parts: {', '.join(f'{whole.name}/{part}' for part in found)}" if found else "run it again"


def _require_unchanged(name: str, folder: Path, status: RunStatus) -> None:
    """Refuse a run whose outputs are not those that it recorded."""
    if not status.outputs:
        raise InputError(f"run '{name}' recorded no hashes of its outputs, so nothing says they are its own; run it again")
    for path, digest in status.outputs.items():
        if not (folder / path).is_file():
            raise InputError(f"run '{name}' was changed since it ended: {path} is missing; restore it, or run it again")
        if file_hash(folder / path) != digest:
            raise InputError(f"run '{name}' was changed since it ended: {path} is another file; restore it, or run it again")


def sent_files(run: SentRun) -> dict[str, Path]:
    """Return path in the repository -> file, sorted; hidden files are never sent.

    Raises:
        InputError: there is none, or one is a link to a file outside the run.
    """
    chosen: dict[str, Path] = {}
    for root in run.publication.roots:
        chosen |= {path.relative_to(run.folder / root).as_posix(): path for path in _files(run.folder / root)}
    for pattern in run.publication.files:
        found = [path for path in run.folder.glob(pattern) if path.is_file()]
        chosen |= {path.relative_to(run.folder).as_posix(): path for path in found if not _is_hidden(path, run.folder)}
    chosen.pop(MANIFEST, None)
    for name, path in chosen.items():
        if run.folder.resolve() not in path.resolve().parents:
            raise InputError(f"'{name}' of run '{run.name}' is a link to a file outside of the run; put the file itself there")
    if not chosen:
        raise InputError(f"run '{run.name}' has no files to publish; run it again")
    return dict(sorted(chosen.items()))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder))


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") and part != RESULTS for part in path.relative_to(folder).parts)


def stage_files(files: Mapping[str, Path], folder: Path) -> None:
    """Lay the files out as the repository will hold them: links where the disk allows them, copies elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)


def staging_folder(repository: str) -> Path:
    """Return the folder in which what goes to a repository is laid out."""
    return paths.home() / "publishing" / repository.replace("/", "--")
