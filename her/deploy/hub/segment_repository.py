"""The private data set that holds the segments of a playground: read it, and commit to it only on top of what was read.

    boot-000001/opened                       this start was the newest from then on
    boot-000001/segment-000001.jsonl.gz      see her/store/segments.py
    withdrawing                              rows of a withdrawn person left the files; the history still has to go

Every commit names its parent. Where the repository has moved meanwhile, the Hub refuses it (HTTP 412) and nothing is overwritten.
"""

import hashlib
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from her.deploy.hub import remote
from her.errors import HerError, InputError
from her.store.segments import parse_name

AGAIN = "it is tried again"
MARKER = "withdrawing"
TIMEOUT = 60.0
"""Seconds without an answer after which a request counts as lost; the client itself would wait for ever."""
CARD = """---
viewer: false
---

# Ratings of a playground

Chats and ratings of a HER playground, which writes them and reads them when it starts. Keep this private, and change nothing.
"""
# `viewer: false`: the Hub's viewer would keep a copy of the rows in a branch of its own, out of reach of a withdrawal.
_OPENED = re.compile(r"boot-(\d{6,})/opened")
_OTHERS = frozenset({".gitattributes", "README.md", MARKER})


class MovedError(HerError):
    """Somebody else has written to the repository since it was read; nothing was overwritten."""


class HeldSegments(NamedTuple):
    """Content of the repository at one commit.

    Args:
        head: the commit.
        files: size and hash of every file of ours, by path.
    """

    head: str
    files: Mapping[str, tuple[int, str]]

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the names of the segments, in order."""
        return tuple(sorted((name for name in self.files if parse_name(name)), key=lambda name: parse_name(name) or ()))

    @property
    def last(self) -> str:
        """Return the name of the last segment; empty for none."""
        return self.segments[-1] if self.segments else ""

    @property
    def boot(self) -> int:
        """Return the number of the newest start; 0 before the first."""
        opened = [int(found[1]) for name in self.files if (found := _OPENED.fullmatch(name))]
        return max([0, *opened, *(place.boot for name in self.segments if (place := parse_name(name)))])

    def holds(self, files: Mapping[str, bytes]) -> bool:
        """Return whether all these files are there with these contents."""
        from huggingface_hub.utils.sha import git_hash

        return all(
            # The hash of a large file is SHA-256, that of a small one is git's.
            self.files.get(name) in ((len(content), _sha256(content)), (len(content), git_hash(content)))
            for name, content in files.items()
        )

    def after(self, head: str, added: Mapping[str, bytes], gone: Collection[str]) -> "HeldSegments":
        """Return what the repository holds after a commit of ours."""
        kept = {name: entry for name, entry in self.files.items() if name not in gone}
        return HeldSegments(head, {**kept, **{name: (len(content), _sha256(content)) for name, content in added.items()}})


class SegmentRepository:
    """A private data set with segments; every method raises HerError with one sentence for what the Hub refuses.

    Args:
        name: `OWNER/NAME`.
    """

    def __init__(self, name: str) -> None:
        if "@" in name:
            raise InputError(f"HER_DURABLE is '{name}', which names a tag; write OWNER/NAME")
        self.name = remote.parse_address(name).repository
        remote.require_token()
        self._api = remote.open_hub()
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()  # a bar for every push would fill the log

    def open(self) -> HeldSegments:
        """Create the data set where there is none; refuse one that is public or holds something else."""
        with self._asking("read"):
            if not self._api.repo_exists(self.name, repo_type="dataset"):
                for kind in ("model", "space"):
                    if self._api.repo_exists(self.name, repo_type=kind):
                        raise InputError(
                            f"HER_DURABLE is '{self.name}', the name of a {kind}; ratings go to a data set of their own, "
                            f"such as '{self.name}-ratings'"
                        )
                self._api.create_repo(self.name, repo_type="dataset", private=True, exist_ok=True)
            if not self._api.repo_info(self.name, repo_type="dataset").private:
                raise InputError(
                    f"the data set '{self.name}' is public, and everybody could read the chats; make it private in its settings"
                )
        return self.read()

    def read(self) -> HeldSegments:
        """Return what is on `main` now."""
        from huggingface_hub.hf_api import RepoFile

        with self._asking("read"):
            head = str(self._api.repo_info(self.name, repo_type="dataset", revision="main").sha)
            tree = self._api.list_repo_tree(self.name, repo_type="dataset", revision=head, recursive=True)
            entries = [entry for entry in tree if isinstance(entry, RepoFile)]
        files = {entry.path: (entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id) for entry in entries}
        if others := sorted(name for name in files if not _is_ours(name)):
            raise InputError(
                f"the data set '{self.name}' holds other content, such as '{others[0]}'; name another one with HER_DURABLE"
            )
        return HeldSegments(head, files)

    def download(self, held: HeldSegments) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of every segment, in order, each compared with its hash."""
        with tempfile.TemporaryDirectory() as folder:
            if held.segments:
                with self._asking("read"):
                    self._api.snapshot_download(
                        self.name, repo_type="dataset", revision=held.head, local_dir=folder, allow_patterns=["boot-*"]
                    )
            for name in held.segments:
                path = Path(folder) / name
                content = path.read_bytes() if path.is_file() else b""
                if not held.holds({name: content}):
                    raise HerError(f"'{name}' of '{self.name}' did not arrive whole; start again")
                yield name, content

    def commit(self, parent: str, files: Mapping[str, bytes], gone: Collection[str], message: str) -> str:
        """Add and delete files in one commit on top of `parent`; return the new head.

        Raises:
            MovedError: `main` is not at `parent` any more.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        with self._asking("write to"):
            try:
                made = self._api.create_commit(
                    self.name,
                    [*operations, *(CommitOperationDelete(name) for name in sorted(gone))],
                    commit_message=message,
                    repo_type="dataset",
                    parent_commit=parent,
                )
            except HfHubHTTPError as error:
                if error.response is not None and error.response.status_code in (409, 412):
                    raise MovedError(f"somebody else has written to '{self.name}'; nothing was overwritten") from error
                raise
        return str(made.oid)

    def claim(self, held: HeldSegments, boot: int) -> HeldSegments:
        """Say that this start is the newest now: an earlier one that still runs cannot write any more."""
        files = {f"boot-{boot:06d}/opened": f"{boot}\n".encode()}
        if "README.md" not in held.files:
            files["README.md"] = CARD.encode()
        self.commit(held.head, files, (), f"Start {boot}")
        return self.read()

    def forget_history(self, held: HeldSegments) -> HeldSegments:
        """Squash the history and delete contents that no file has any more, then take the marker away."""
        with self._asking("squash the history of"):
            remote.forget_history(self._api, self.name, {digest for _, digest in held.files.values()})
        held = self.read()
        self.commit(held.head, {}, [MARKER], "The history is gone")
        return self.read()

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        from huggingface_hub import get_session

        get_session().timeout = TIMEOUT  # of the session in use: the client makes a new one after an error
        with remote.explained(doing, self.name, AGAIN):
            yield


def _is_ours(name: str) -> bool:
    return name in _OTHERS or bool(_OPENED.fullmatch(name)) or parse_name(name) is not None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
