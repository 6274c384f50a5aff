"""Read a publication back: only what a tag marks, and only where every file has the hash of the manifest."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from her import paths
from her.deploy.hub import remote
from her.deploy.hub.manifest import MANIFEST, HubManifest, RepositoryType, differences, read_manifest, record_files
from her.deploy.hub.remote import Address
from her.errors import HerError, InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

AGAIN = "start the same command again: what has arrived is kept"


class Pulled(NamedTuple):
    """The folder of a publication, its manifest, and the commit that its tag names."""

    folder: Path
    manifest: HubManifest
    commit: str = ""


def pulled_folder(address: Address) -> Path:
    """Return where a publication is kept: `HER_HOME/pulled/OWNER--NAME@TAG`."""
    return paths.home() / "pulled" / f"{address.repository.replace('/', '--')}@{address.tag}"


def commit_file(folder: Path) -> Path:
    """Return the file beside a pulled folder that names the commit it came from."""
    return folder.with_name(f"{folder.name}.commit")


def pull(text: str, to: Path | None = None) -> Pulled:
    """Read `OWNER/NAME@TAG`, or the publication that is newest on `main`, into a folder.

    Args:
        to: a folder that does not exist or is empty; None: `HER_HOME/pulled/OWNER--NAME@TAG`.

    Raises:
        InputError: there is no such publication or tag, or the folder holds something else.
        HerError: the Hub refuses, the line is cut, or a file has another hash.
    """
    address = remote.parse_address(text)
    api = remote.open_hub()
    with remote.explained("read", address.repository, AGAIN):
        kind = _repository_type(api, address.repository)
        tag = address.tag or _newest_tag(api, address.repository, kind)
        commit = _commit_of(api, address.repository, kind, tag)
        manifest = _manifest_of(api, address.repository, kind, commit)
        if manifest.tag != tag:
            raise InputError(
                f"the manifest under tag '{tag}' is that of '{manifest.tag}'; the tag was moved, pull '{manifest.tag}'"
            )
        folder = (to or pulled_folder(Address(address.repository, tag))).absolute()
        _require_free(folder, manifest)
        partial = folder.with_name(f".{folder.name}.part")
        api.snapshot_download(
            address.repository, repo_type=kind, revision=commit, local_dir=partial, allow_patterns=[*manifest.files, MANIFEST]
        )
    pulled = _keep(partial, folder, manifest)._replace(commit=commit)
    if to is None:
        commit_file(folder).write_text(commit + "\n", "utf-8")
    return pulled


def newest_address(repository: str) -> str:
    """Return `OWNER/NAME@TAG` of what is on `main` of a model repository; empty where her published nothing."""
    try:
        api = remote.open_hub()
        with remote.explained("look up", repository, AGAIN):
            if not api.file_exists(repository, MANIFEST, repo_type="model"):
                return ""
            return f"{repository}@{_newest_tag(api, repository, 'model')}"
    except HerError:  # offline, no such repository, an upload that was cut: what reads the base itself says more
        return ""


def _keep(partial: Path, folder: Path, manifest: HubManifest) -> Pulled:
    """Compare the files with the manifest and give the folder its name."""
    there = [name for name in manifest.files if (partial / name).is_file()]
    if problems := differences(manifest.files, record_files(partial, there)):
        shutil.rmtree(partial)
        raise HerError(f"what was pulled is not what was published: {problems[0]}; nothing was kept, pull it again")
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    if folder.is_dir():
        shutil.rmtree(folder)
    partial.rename(folder)
    return Pulled(folder, manifest)


def _require_free(folder: Path, manifest: HubManifest) -> None:
    """Refuse a folder that holds something other than this publication."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file; name a folder with --to")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file() or read_manifest(folder / MANIFEST, f"'{folder}'") != manifest:
        raise InputError(f"'{folder}' holds something else; name an empty folder with --to, or delete it")


def _repository_type(api: "HfApi", repository: str) -> RepositoryType:
    kinds: tuple[RepositoryType, ...] = ("model", "dataset")
    for kind in kinds:
        if api.repo_exists(repository, repo_type=kind):
            return kind
    raise InputError(f"there is no repository '{repository}', or the token of this machine may not see it; check it and HF_TOKEN")


def _tags(api: "HfApi", repository: str, kind: RepositoryType) -> dict[str, str]:
    return {ref.name: ref.target_commit for ref in api.list_repo_refs(repository, repo_type=kind).tags}


def _newest_tag(api: "HfApi", repository: str, kind: RepositoryType) -> str:
    """Return the tag of what is on `main`; an upload that was cut has none."""
    manifest = _manifest_of(api, repository, kind, "main")
    tags = _tags(api, repository, kind)
    if manifest.tag not in tags:
        others = f"; there are {', '.join(f'{repository}@{tag}' for tag in sorted(tags))}" if tags else ""
        raise InputError(f"the upload of '{manifest.run}' to '{repository}' is not finished: its tag is missing{others}")
    return manifest.tag


def _commit_of(api: "HfApi", repository: str, kind: RepositoryType, tag: str) -> str:
    tags = _tags(api, repository, kind)
    if tag not in tags:
        known = ", ".join(sorted(tags)) or "none"
        raise InputError(f"'{repository}' has no tag '{tag}', so nothing says that the upload is whole; its tags: {known}")
    return tags[tag]


def _manifest_of(api: "HfApi", repository: str, kind: RepositoryType, revision: str) -> HubManifest:
    if not api.file_exists(repository, MANIFEST, repo_type=kind, revision=revision):
        raise InputError(
            f"'{repository}' has no {MANIFEST} at '{revision}': it was not published with her, so nothing can be verified"
        )
    path = api.hf_hub_download(repository, MANIFEST, repo_type=kind, revision=revision)
    return read_manifest(Path(path), f"'{repository}'")
