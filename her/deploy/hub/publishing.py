"""Publish a run: check, lay out, send what the Hub has not, compare, and write the tag last.

A cut upload is resumed by the same command: what is there is not sent again. A repository with other content is not touched.
"""

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from her.deploy.hub import checks, remote
from her.deploy.hub.consent import check_withdrawals
from her.deploy.hub.figures import FREE_METRICS, Measure, write_figures
from her.deploy.hub.lineage import write_card
from her.deploy.hub.manifest import MANIFEST, FileRecord, HubManifest, read_manifest, record_files, write_manifest
from her.deploy.hub.records import remember, sources_of
from her.deploy.hub.remote import Address
from her.deploy.hub.selection import CARD, SentRun, find_run, sent_files, stage_files, staging_folder
from her.deploy.hub.weights import check_curve
from her.errors import HerError, InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

AGAIN = "start the same command again: what has arrived is not sent twice"
_HUB_FILES = frozenset({".gitattributes", CARD})
"""Files that the Hub itself puts into a repository without content."""


class PublicationOptions(NamedTuple):
    """Choices of a person for one publication.

    Args:
        public: everybody may see it.
        tag: other than the name of the run.
        licence: where the run's card states none.
        accepted: fingerprints of findings that are no secrets.
    """

    public: bool = False
    tag: str = ""
    licence: str = ""
    accepted: tuple[str, ...] = ()


class PreparedPublication(NamedTuple):
    """A checked publication, laid out in a folder."""

    run: SentRun
    to: Address
    folder: Path
    manifest: HubManifest
    options: PublicationOptions


class Published(NamedTuple):
    """A publication that is whole: address of the tagged tree, and the commit; `already` where nothing was left to send."""

    address: str
    commit: str
    already: bool


def prepare(
    word: str,
    repository: str,
    options: PublicationOptions,
    measure: Measure | None = None,
    got_worse: Callable[[SentRun], str] | None = None,
) -> PreparedPublication:
    """Check a run and lay out what of it will be sent; nothing leaves the machine.

    Args:
        measure: loads a model from the folder and measures its free metrics; `got_worse` says what it is worse at.

    Raises:
        InputError: the run, its files or its licence stand against it.
        BackendError: `measure` cannot load the model.
    """
    name, tag = remote.parse_address(repository)
    if tag:
        raise InputError(f"'{repository}' names a tag; write OWNER/NAME, and the tag with --tag")
    run = find_run(word)
    to = Address(name, options.tag or run.tag)
    remote.check_tag(to.tag)
    check_withdrawals(run)
    check_curve(run.name.split("/")[0])
    files, folder = sent_files(run), staging_folder(name)
    stage_files(files, folder)
    checks.check_folder(folder, list(files))
    figures = measure(folder, ()) if measure and run.publication.repository_type == "model" else None
    if figures:
        write_figures(figures, folder)
    names = sorted({*files, CARD, *([FREE_METRICS] if figures else [])})
    records, worse = record_files(folder, set(names) - {CARD}), got_worse(run) if got_worse and run.kind == "model" else ""
    write_card(run, folder, to, options.licence, records, figures, worse)
    checks.check_licence(folder / CARD, options.licence, name, options.public)
    checks.check_secrets(folder, names, options.accepted)
    manifest = HubManifest(
        repository=name,
        run=run.name,
        pipeline=run.status.pipeline,
        kind=run.kind,
        repository_type=run.publication.repository_type,
        tag=to.tag,
        commit=run.status.commit,
        base=run.base,
        accepted=tuple(sorted(options.accepted)),
        trained_on=sources_of(run),
        files={**records, **record_files(folder, [CARD])},
    )
    write_manifest(manifest, folder)
    return PreparedPublication(run, to, folder, manifest, options)


def publish(prepared: PreparedPublication) -> Published:
    """Send a publication and tag it.

    Raises:
        InputError: no token, or the repository holds something else.
        HerError: the Hub refuses, the line is cut, or what arrived is not what was sent.
    """
    remote.require_token()
    api, name = remote.open_hub(), prepared.to.repository
    with remote.explained("publish to", name, AGAIN):
        there = _open_repository(api, prepared)
        if (tagged := _tagged_commit(api, prepared)) is not None:
            _require_same(api, prepared, tagged)
            remember(prepared.manifest)
            return Published(_page(api, prepared), tagged, already=True)
        commit = _send(api, prepared, there)
        problems = _arrived(api, prepared, commit)
        if problems:
            raise HerError(f"'{name}' does not hold what was sent: {problems[0]}; no tag was written, {AGAIN}")
        api.create_tag(name, tag=prepared.to.tag, revision=commit, repo_type=prepared.manifest.repository_type)
        remember(prepared.manifest)
    shutil.rmtree(prepared.folder, ignore_errors=True)
    return Published(_page(api, prepared), commit, already=False)


def _page(api: "HfApi", prepared: PreparedPublication) -> str:
    prefix = "datasets/" if prepared.manifest.repository_type == "dataset" else ""
    return f"{api.endpoint}/{prefix}{prepared.to.repository}/tree/{prepared.to.tag}"


def _open_repository(api: "HfApi", prepared: PreparedPublication) -> Collection[str]:
    """Create the repository, or check that the one that is there may be used; return the paths that it holds."""
    name, kind = prepared.to.repository, prepared.manifest.repository_type
    other: str = "dataset" if kind == "model" else "model"
    if api.repo_exists(name, repo_type=other):
        raise InputError(f"'{name}' is the name of a {other} already and this is a {kind}; choose another name")
    private = not prepared.options.public
    if not api.repo_exists(name, repo_type=kind):
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
    seen = api.repo_info(name, repo_type=kind)
    if bool(seen.private) != private:
        now, wanted = ("private", "--public") if seen.private else ("public", "a private publication")
        raise InputError(f"'{name}' is {now} and {wanted} was asked for; change it in its settings, or choose another name")
    held = api.list_repo_files(name, repo_type=kind)
    if MANIFEST not in held:
        if others := sorted(set(held) - _HUB_FILES):
            raise InputError(
                f"'{name}' holds other content, such as '{others[0]}', that her did not publish; choose another name"
            )
        return held
    earlier = read_manifest(Path(api.hf_hub_download(name, MANIFEST, repo_type=kind)), f"'{name}'")
    if earlier.kind != prepared.manifest.kind:
        raise InputError(f"'{name}' holds a {earlier.kind} and this is a {prepared.manifest.kind}; choose another name")
    return held


def _tagged_commit(api: "HfApi", prepared: PreparedPublication) -> str | None:
    refs = api.list_repo_refs(prepared.to.repository, repo_type=prepared.manifest.repository_type)
    return next((ref.target_commit for ref in refs.tags if ref.name == prepared.to.tag), None)


def _require_same(api: "HfApi", prepared: PreparedPublication, commit: str) -> None:
    """Refuse a tag that stands for other files: readers who loaded it would get something else."""
    if problems := _arrived(api, prepared, commit):
        raise InputError(
            f"tag '{prepared.to.tag}' of '{prepared.to.repository}' stands for another publication ({problems[0]}); "
            "a tag is never moved, give another one with --tag"
        )


def _send(api: "HfApi", prepared: PreparedPublication, there: Collection[str]) -> str:
    """Send the manifest first, which says whose repository this is, then the files; return the last commit."""
    name, kind = prepared.to.repository, prepared.manifest.repository_type
    message = f"Publish {prepared.manifest.run} as {prepared.to.tag}"
    if MANIFEST not in there:
        api.upload_file(
            path_or_fileobj=prepared.folder / MANIFEST,
            path_in_repo=MANIFEST,
            repo_id=name,
            repo_type=kind,
            commit_message=message,
        )
    wanted = {*prepared.manifest.files, MANIFEST, ".gitattributes"}
    stale = sorted(set(there) - wanted)
    api.upload_folder(
        repo_id=name, repo_type=kind, folder_path=prepared.folder, commit_message=message, delete_patterns=stale or None
    )
    return str(api.repo_info(name, repo_type=kind, revision="main").sha)


def _arrived(api: "HfApi", prepared: PreparedPublication, commit: str) -> list[str]:
    """Compare what a commit holds with the manifest, by size and by the hash that the Hub keeps of each file."""
    from huggingface_hub.hf_api import RepoFile

    listed = api.list_repo_tree(
        prepared.to.repository, recursive=True, revision=commit, repo_type=prepared.manifest.repository_type
    )
    held = {entry.path: entry for entry in listed if isinstance(entry, RepoFile)}
    expected: Mapping[str, FileRecord] = {
        **prepared.manifest.files,
        **record_files(prepared.folder, [MANIFEST]),
    }
    problems = [
        f"'{path}' is in it and not in the publication" for path in sorted(held.keys() - expected.keys() - {".gitattributes"})
    ]
    for path, record in expected.items():
        entry = held.get(path)
        if entry is None:
            problems.append(f"'{path}' is missing")
        elif entry.size != record.size or not _same_content(entry, record, prepared.folder / path):
            problems.append(f"'{path}' is another file")
    return problems


def _same_content(entry: object, record: FileRecord, path: Path) -> bool:
    from huggingface_hub.hf_api import RepoFile

    assert isinstance(entry, RepoFile)
    if entry.lfs is not None:
        return entry.lfs.sha256 == record.sha256
    return entry.blob_id == _git_hash(path)


def _git_hash(path: Path) -> str:
    """Return the hash by which git names a file's content."""
    from huggingface_hub.utils.sha import git_hash

    return git_hash(path.read_bytes())
