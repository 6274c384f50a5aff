"""Talk to the Hub: names of repositories, the client, and errors that say what to do."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from her.errors import HerError, InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


class Address(NamedTuple):
    """A repository, `OWNER/NAME`, and a tag in it; an empty tag is none."""

    repository: str
    tag: str = ""


def parse_address(text: str) -> Address:
    """Read `OWNER/NAME` or `OWNER/NAME@TAG`.

    Raises:
        InputError: it is neither.
    """
    repository, at, tag = text.partition("@")
    if not _NAME.fullmatch(repository) or ".." in repository or "--" in repository or repository.endswith((".git", ".ipynb")):
        raise InputError(f"'{text}' is not the name of a repository; write OWNER/NAME, such as 'ada/her-reward'")
    if at or tag:
        check_tag(tag)
    return Address(repository, tag)


def check_tag(tag: str) -> None:
    """Raise InputError unless the text can be a tag."""
    if not _TAG.fullmatch(tag) or ".." in tag or tag in ("main", "HEAD"):
        raise InputError(f"'{tag}' cannot be a tag; use letters, digits, '.', '_' and '-', and neither 'main' nor 'HEAD'")


def open_hub() -> "HfApi":
    """Return a client with the token of this machine.

    Raises:
        InputError: the machine is offline by its own settings.
    """
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it")
    # The address is read now: an endpoint that is set after the import counts as well.
    return HfApi(endpoint=constants.ENDPOINT, token=get_token() or False)


def require_token() -> None:
    """Raise InputError on a machine without a token."""
    from huggingface_hub import get_token

    if not get_token():
        raise InputError("there is no Hugging Face token; set HF_TOKEN to one that may write, or run 'hf auth login'")


@contextmanager
def explained(doing: str, repository: str, again: str) -> Iterator[None]:
    """Turn an error of the Hub or of the network into one sentence.

    Args:
        doing: such as `publish to`, for `could not publish to OWNER/NAME`.
        again: what to do after the line was cut.

    Raises:
        HerError: instead of the client's error.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # huggingface_hub uses httpx or httpx2, depending on its version; its errors derive from that library's HTTPError.
    network: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error.__cause__, HfHubHTTPError | network):
            raise
        # The client wraps what goes wrong with one of several uploads.
        raise _explanation(error.__cause__, doing, repository, again) from error
    except (HfHubHTTPError, network, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise _explanation(error, doing, repository, again) from error


def _explanation(error: BaseException, doing: str, repository: str, again: str) -> HerError:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        said = f": {error.server_message}" if error.server_message else ""
        return HerError(f"the Hub refused to {doing} '{repository}' (HTTP {status}{said}); {_advice(status, again)}")
    return HerError(f"the line to the Hub was cut ({type(error).__name__}) on the way to {doing} '{repository}'; {again}")


def _advice(status: int, again: str) -> str:
    if status in (401, 403):
        return "the token of this machine has no rights to do this there; set HF_TOKEN to one that has, from the Hub's settings"
    if status == 404:
        return "there is no such repository, or the token may not see it; check OWNER/NAME and HF_TOKEN"
    if status in (409, 412):
        return "somebody else changed it at the same time; start the same command again"
    if status in (402, 413, 507):
        return "the account's limits are reached; delete something there, or use another owner"
    return again


def forget_history(api: "HfApi", name: str, kept: Collection[str]) -> None:
    """Squash the history of a data set to one commit, and delete every large content but those with these hashes (sha256).

    Raises:
        HerError: the Hub still keeps another content.
    """
    api.super_squash_history(name, repo_type="dataset", commit_message="Without withdrawn rows")
    if stale := [file for file in api.list_lfs_files(name, repo_type="dataset") if file.file_oid not in kept]:
        api.permanently_delete_lfs_files(name, stale, rewrite_history=True, repo_type="dataset")
    if any(file.file_oid not in kept for file in api.list_lfs_files(name, repo_type="dataset")):
        raise HerError(f"'{name}' still keeps contents that were deleted; start the same command again")
