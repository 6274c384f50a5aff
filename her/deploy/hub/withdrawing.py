"""Take the rows of withdrawn people out of a published data set for good, and mark the models that were trained on them.

    her publish --withdraw OWNER/NAME

The rows leave the files, the history is squashed to one commit, contents that no file of it names are deleted, every earlier tag
is taken away, and the remaining rows get a tag of their own, last. A job that was cut is finished by the same command.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from her import paths
from her.deploy.hub import remote
from her.deploy.hub.manifest import MANIFEST, HubManifest, differences, read_manifest, record_files, write_manifest
from her.deploy.hub.records import PublicationRecord, trained_on_publication
from her.errors import HerError, InputError
from her.feedback.public_rows import SALT_FILE, hashed_id
from her.feedback.votes import rater

if TYPE_CHECKING:
    from huggingface_hub import HfApi

AGAIN = "start the same command again: it goes on where it was cut"
MARK = "## Withdrawn rows"
"""Heading in the card of a model that was trained on rows which were withdrawn later."""
SHORTENED = 12
"""Characters of a visitor's id after `rater:` in older exports, which shortened it."""


class Withdrawal(NamedTuple):
    """Figures of a withdrawal.

    Args:
        rows: rows taken out, of all files.
        tag: of the rows that remain.
        removed_tags: tags that are gone; readers of them are refused.
        trained: publications made from the rows, whose cards are marked.
        unmarked: of those, the ones whose card could not be marked, with the reason.
    """

    rows: int
    tag: str
    removed_tags: tuple[str, ...]
    trained: tuple[PublicationRecord, ...]
    unmarked: tuple[str, ...]


def withdraw(repository: str, withdrawn: Collection[str]) -> Withdrawal:
    """Take out every row that names a withdrawn id, and finish what an earlier, cut call began.

    Args:
        withdrawn: ids of people, ratings, votes, conversations and turns.

    Raises:
        InputError: no data set of `her`, another branch that would keep the rows, a file whose rows cannot be read.
        HerError: the Hub refuses, or the line is cut.
    """
    name, tag = remote.parse_address(repository)
    if tag:
        raise InputError(f"'{repository}' names a tag, and rows leave all of them; write OWNER/NAME")
    remote.require_token()
    api = remote.open_hub()
    folder = paths.home() / "publishing" / f"withdraw--{name.replace('/', '--')}"
    shutil.rmtree(folder, ignore_errors=True)
    with remote.explained("withdraw rows from", name, AGAIN):
        before = _read(api, name, folder)
        count, names = take_out(folder, before, withdrawn)
        manifest = _with_rows_out(folder, before, names, count) if count else before
        tags: tuple[str, ...] = ()
        if manifest.withdrawn:
            tags = _make_final(api, folder, manifest, changed=bool(count))
    shutil.rmtree(folder, ignore_errors=True)
    trained = trained_on_publication(manifest) if manifest.withdrawn else ()
    unmarked = tuple(filter(None, (_mark(api, each, name) for each in trained)))
    return Withdrawal(count, manifest.tag, tags, tuple(trained), unmarked)


def _read(api: "HfApi", name: str, folder: Path) -> HubManifest:
    """Download what is on `main`, and compare it with its manifest."""
    if not api.repo_exists(name, repo_type="dataset"):
        raise InputError(f"there is no data set '{name}'; rows are withdrawn from data sets, and the token must see it")
    refs = api.list_repo_refs(name, repo_type="dataset")
    if others := sorted(ref.name for ref in refs.branches if ref.name != "main"):
        raise InputError(f"'{name}' has the branch '{others[0]}', whose history would keep the rows; delete it first")
    if not api.file_exists(name, MANIFEST, repo_type="dataset"):
        raise InputError(f"'{name}' has no {MANIFEST}: it was not published with her, so its rows are not touched")
    api.snapshot_download(name, repo_type="dataset", local_dir=folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    manifest = read_manifest(folder / MANIFEST, f"'{name}'")
    there = [path for path in manifest.files if (folder / path).is_file()]
    if problems := differences(manifest.files, record_files(folder, there)):
        raise InputError(f"'{name}' is not what its manifest says ({problems[0]}); finish its upload with her publish first")
    return manifest


def take_out(folder: Path, manifest: HubManifest, withdrawn: Collection[str]) -> tuple[int, list[str]]:
    """Rewrite the files that hold rows of withdrawn ids; return the number of rows and the files.

    Raises:
        InputError: a file that is not rows names a withdrawn id, so nobody can take a row out of it.
    """
    ids = _as_written(withdrawn, folder)
    counts = {name: _take_out_of(folder / name, ids) for name in manifest.files}
    for name in manifest.files:
        if not name.endswith((".jsonl", ".parquet")):
            text = (folder / name).read_text("utf-8", errors="replace")
            if found := next((each for each in sorted(withdrawn) if each in text), None):
                raise InputError(
                    f"'{name}' names the withdrawn id '{found[:8]}...' and has no rows that could leave; delete the repository, "
                    "and publish the run again without it"
                )
    return sum(counts.values()), [name for name, count in counts.items() if count]


def count_withdrawn(path: Path, withdrawn: Collection[str]) -> int:
    """Return how many rows of a file, `.jsonl` or `.parquet`, name a withdrawn id."""
    ids = _as_written(withdrawn, path.parent)
    if path.suffix == ".jsonl":
        lines = path.read_text("utf-8").splitlines()
        return sum(names_any(json.loads(line), ids) for line in lines if line.strip())
    from pyarrow import parquet

    return sum(names_any(row, ids) for row in parquet.read_table(path).to_pylist())


def _as_written(withdrawn: Collection[str], folder: Path) -> set[str]:
    """Return the ids in every form that exports write; a data set of ratings has hashes of them and of its salt."""
    plain = {text for each in withdrawn for text in (each, rater(each), f"rater:{each}", f"rater:{each[:SHORTENED]}")}
    salts = folder / SALT_FILE
    if not salts.is_file():
        return plain
    salt = str(json.loads(salts.read_bytes())["salt"])
    hashes = [hashed_id(each, salt) for each in withdrawn]
    return plain | {text for each in hashes for text in (each, f"rater:{each}", f"player:{each}")}


def _take_out_of(path: Path, ids: Collection[str]) -> int:
    if path.suffix == ".jsonl":
        lines = path.read_text("utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.strip() or not names_any(json.loads(line), ids)]
        if len(kept) < len(lines):
            path.write_text("".join(kept), "utf-8")
        return len(lines) - len(kept)
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
        stays = [not names_any(row, ids) for row in table.to_pylist()]
        if not all(stays):
            parquet.write_table(table.filter(stays), path)
        return stays.count(False)
    return 0


def names_any(row: Any, ids: Collection[str]) -> bool:
    """Return whether a row holds one of the ids, as a value or a key, at any depth."""
    if isinstance(row, Mapping):
        return any(key in ids for key in row) or any(names_any(value, ids) for value in row.values())
    if isinstance(row, list):
        return any(names_any(value, ids) for value in row)
    return isinstance(row, str) and row in ids


def _with_rows_out(folder: Path, before: HubManifest, names: Collection[str], count: int) -> HubManifest:
    """Write the new card and manifest; the tag gets the number of the withdrawal, since a tag is never moved."""
    stem, _, number = before.tag.rpartition("-withdrawn")
    tag = f"{stem}-withdrawn{int(number) + 1}" if stem and number.isdigit() else f"{before.tag}-withdrawn1"
    card = folder / "README.md"
    text = card.read_text("utf-8") if card.is_file() else ""
    text = text.replace(f"@{before.tag}", f"@{tag}")
    for name in names:
        old, new = before.files[name], record_files(folder, [name])[name]
        text = text.replace(f"| {old.size} | `{old.sha256}` |", f"| {new.size} | `{new.sha256}` |")
    card.write_text(f"{text.rstrip()}\n\n{MARK}\n\n{_today()}: {count} rows of people who withdrew were taken out.\n", "utf-8")
    records = record_files(folder, {*before.files, card.name})
    manifest = before.model_copy(update={"tag": tag, "files": records, "withdrawn": before.withdrawn + count})
    write_manifest(manifest, folder)
    return manifest


def _make_final(api: "HfApi", folder: Path, manifest: HubManifest, changed: bool) -> tuple[str, ...]:
    """Send the rows that remain, forget all others, and write the tag last; return the tags that are gone."""
    name = manifest.repository
    if changed:
        message = "Take out withdrawn rows"
        api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder, commit_message=message)
    tags = {ref.name for ref in api.list_repo_refs(name, repo_type="dataset").tags}
    if manifest.tag in tags:
        return ()
    for tag in sorted(tags):
        api.delete_tag(name, tag=tag, repo_type="dataset")
    remote.forget_history(api, name, {record.sha256 for record in manifest.files.values()})
    api.create_tag(name, tag=manifest.tag, repo_type="dataset")
    return tuple(sorted(tags))


def _mark(api: "HfApi", record: PublicationRecord, source: str) -> str:
    """Mark the card of a publication; return why it could not be marked, empty when it is."""
    try:
        with remote.explained("mark the card of", record.repository, AGAIN):
            kind = record.repository_type
            card = Path(api.hf_hub_download(record.repository, "README.md", repo_type=kind)).read_text("utf-8")
            sentence = f"of `{source}`, which this was trained on, were withdrawn"
            if sentence not in card:
                added = f"{MARK}\n\n{_today()}: rows {sentence}. Do not build on it or deploy it; train it again without them."
                api.upload_file(
                    path_or_fileobj=f"{card.rstrip()}\n\n{added}\n".encode(),
                    path_in_repo="README.md",
                    repo_id=record.repository,
                    repo_type=kind,
                    commit_message="Mark: trained on rows that were withdrawn",
                )
    except HerError as error:
        return str(error)
    return ""


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def withdrawn_ids(store_ids: Collection[str], also: Collection[str]) -> frozenset[str]:
    """Return the ids of tombstones and those that a person named.

    Raises:
        InputError: there is none.
    """
    found = frozenset({*store_ids, *also})
    if not found:
        raise InputError("nobody has withdrawn anything in this database, and no --id is given; nothing was changed")
    if short := [each for each in found if len(each) < 6]:
        raise InputError(f"the id '{short[0]}' is too short to be one of a person or a vote; give the whole id")
    return found
