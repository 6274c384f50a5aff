"""Remember on this machine what was published and from what, so that a withdrawal finds the models that were trained on rows."""

from collections.abc import Iterator
from pathlib import Path

from her import paths
from her.deploy.hub.lineage import stages
from her.deploy.hub.manifest import MANIFEST, HubManifest, RepositoryType, read_manifest
from her.deploy.hub.selection import SentRun, base_of
from her.files import jsonl
from her.types import Value


class PublicationRecord(Value):
    """A publication of this machine.

    Args:
        trained_on: runs it was made from, nearest first with its own first, and publications as `OWNER/NAME@TAG`.
    """

    repository: str
    repository_type: RepositoryType
    tag: str
    run: str
    kind: str
    trained_on: tuple[str, ...] = ()


def sources_of(run: SentRun) -> tuple[str, ...]:
    """Return the runs and publications that a run was made from, by the settings of all its stages."""
    found: list[str] = []
    for name, _, settings in stages(run):
        found.append(name.split("/")[0])
        if "@" in (base := base_of(settings)):
            found.append(base)
        found += _pulled(settings)
    return tuple(dict.fromkeys(found))


def _pulled(settings: object) -> Iterator[str]:
    """Yield the publications whose pulled files settings name."""
    if isinstance(settings, dict):
        for value in settings.values():
            yield from _pulled(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _pulled(value)
    elif isinstance(settings, str) and "/" in settings:
        place = paths.expanded(settings)
        for folder in (place, *list(place.parents)[:3]):
            if (folder / MANIFEST).is_file():
                manifest = read_manifest(folder / MANIFEST, f"'{folder}'")
                yield f"{manifest.repository}@{manifest.tag}"
                return


def _file() -> Path:
    return paths.home() / "published.jsonl"


def read_records() -> list[PublicationRecord]:
    """Return all publications of this machine, oldest first."""
    return list(jsonl.read(_file(), PublicationRecord)) if _file().is_file() else []


def remember(manifest: HubManifest) -> None:
    """Add a publication; one that is there already stays as it is."""
    record = PublicationRecord(
        repository=manifest.repository,
        repository_type=manifest.repository_type,
        tag=manifest.tag,
        run=manifest.run,
        kind=manifest.kind,
        trained_on=manifest.trained_on,
    )
    known = read_records()
    if record not in known:
        _file().parent.mkdir(parents=True, exist_ok=True)
        jsonl.write(_file(), [*known, record])


def trained_on_publication(manifest: HubManifest) -> tuple[PublicationRecord, ...]:
    """Return the publications made from this one, also through others."""
    records = read_records()
    runs, repositories = {manifest.run.split("/")[0]}, {manifest.repository}
    found: list[PublicationRecord] = []
    while more := [each for each in records if each not in found and _is_made_from(each, manifest, runs, repositories)]:
        found += more
        runs |= {each.run.split("/")[0] for each in more}
        repositories |= {each.repository for each in more}
    return tuple(found)


def _is_made_from(record: PublicationRecord, manifest: HubManifest, runs: set[str], repositories: set[str]) -> bool:
    if record.repository == manifest.repository:
        return False
    return any(source in runs or source.split("@")[0] in repositories for source in record.trained_on)
