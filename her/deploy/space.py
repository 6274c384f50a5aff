"""Upload the playground to a Hugging Face Space. Run: `her space deploy OWNER/NAME --dry-run`.

Only files that git tracks are uploaded, and of those only the ones named here, so that no database, key or draft leaves the
machine by accident. huggingface_hub reads the token (HF_TOKEN); this module never does.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from her import paths
from her.deploy.space_model import SpaceModel
from her.errors import HerError, InputError
from her.types import Value

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FOLDERS = ("her", "personas")
"""Folders that are mirrored: a file on the Space that is no longer in them is deleted there."""
FILES = {
    "app.py": "app.py",
    "LICENSE": "LICENSE",
    "spaces/README.md": "README.md",
    "spaces/pre-requirements.txt": "pre-requirements.txt",
    "spaces/requirements.txt": "requirements.txt",
}
"""Path in the repository -> path on the Space."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Upload(Value):
    """One file: its path in the repository, its path on the Space, its size in bytes, and its text where that is changed."""

    source: str
    target: str
    size: int
    text: str = ""


def find_repository() -> Path:
    """Return the folder with `app.py` and `spaces/`; InputError when the package was installed without them."""
    root = paths.ROOT
    absent = [name for name in FILES if not (root / name).is_file()]
    if absent:
        raise InputError(
            f"a Space is deployed from the repository, and '{absent[0]}' is not beside the package; run this in a clone of it"
        )
    return root


def list_uploads(root: Path) -> list[Upload]:
    """List the files to upload, sorted by their path on the Space; InputError when `root` is not a git checkout."""
    tracked = _tracked_files(root)
    absent = [name for name in FILES if name not in tracked]
    if absent:
        raise InputError(f"'{absent[0]}' is not tracked by git, so it would not be uploaded; add and commit it")
    chosen = {name: FILES.get(name, name) for name in tracked if name in FILES or name.split("/")[0] in FOLDERS}
    return sorted((_upload(root, source, target) for source, target in chosen.items()), key=lambda upload: upload.target)


def with_model(files: Sequence[Upload], root: Path, model: SpaceModel) -> list[Upload]:
    """Return the files with those that a model changes: the front matter names it, the requirements hold what it needs."""
    changed = []
    for upload in files:
        text = ""
        if upload.target == "README.md" and model.address is not None:
            added = f"models:\n  - {model.address.repository}\n"
            added += f"suggested_hardware: {model.hardware}\n" if model.hardware else ""
            text = (root / upload.source).read_text("utf-8").replace("---\n", f"---\n{added}", 1)
        elif upload.target == "requirements.txt" and model.requirements:
            text = (root / upload.source).read_text("utf-8").rstrip() + "\n" + "\n".join(model.requirements) + "\n"
        changed.append(upload.model_copy(update={"text": text, "size": len(text.encode())}) if text else upload)
    return changed


def deploy(name: str, root: Path, files: Sequence[Upload], model: SpaceModel = SpaceModel()) -> str:  # noqa: B008  # immutable
    """Create the Space if it does not exist, set what the model needs, upload exactly these files in one commit.

    Started again it sets and uploads the same, so a deploy that was cut is finished by the same command.

    Args:
        name: `OWNER/NAME`.
        root: the repository; `files` are relative to it.

    Returns:
        The address of the Space.

    Raises:
        InputError: a wrong name, or no token.
        HerError: the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    check_name(name)
    model.secret_values()  # before anything is written
    if not get_token():
        raise InputError("there is no Hugging Face token; set HF_TOKEN to one that may write to your Spaces")
    # huggingface_hub uses httpx or httpx2, depending on its version; its errors derive from that library's HTTPError.
    network: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    try:
        return _deploy(HfApi(), name, root, files, model)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise HerError(f"the Hub refused the upload to '{name}' (HTTP {status}): {_advice(status)}") from error
    except (OSError, network) as error:
        raise HerError(f"the Hub could not be reached for '{name}' ({type(error).__name__}); try again later") from error


def check_name(name: str) -> None:
    """Raise InputError unless `name` is OWNER/NAME."""
    if not _NAME.fullmatch(name):
        raise InputError(f"'{name}' is not the name of a Space; write OWNER/NAME, such as 'ada/her'")


def _deploy(api: "HfApi", name: str, root: Path, files: Sequence[Upload], model: SpaceModel) -> str:
    from huggingface_hub import SpaceHardware

    _require_readable(api, model)
    # A free account may create a Gradio Space on ZeroGPU only, so the hardware is asked for at once.
    hardware = SpaceHardware(model.hardware) if model.hardware else None
    address = api.create_repo(name, repo_type="space", space_sdk="gradio", space_hardware=hardware, exist_ok=True)
    # Secrets and variables come before the files, so that the first start has them.
    for key, value in model.secret_values().items():
        api.add_space_secret(name, key, value)
    for key, value in model.variables.items():
        api.add_space_variable(name, key, value)
    _upload_commit(api, name, root, files)
    if hardware:
        api.request_space_hardware(name, hardware)
    return str(address)


def _require_readable(api: "HfApi", model: SpaceModel) -> None:
    """Refuse a checkpoint that the Space could not load.

    Raises:
        InputError: it is not on the Hub, its tag is not, or it is private and the Space has no token for it.
    """
    if model.serving != "zero" or model.address is None:
        return
    repository, tag = model.address
    if not api.repo_exists(repository, repo_type="model"):
        raise InputError(f"there is no model '{repository}', or the token of this machine may not see it; her publish sends one")
    if tag and tag not in {ref.name for ref in api.list_repo_refs(repository, repo_type="model").tags}:
        raise InputError(
            f"'{repository}' has no tag '{tag}', so nothing says that its upload is whole; her publish writes it last"
        )
    if api.repo_info(repository, repo_type="model").private and "HF_TOKEN" not in model.secrets:
        raise InputError(
            f"'{repository}' is private, and the Space needs a token that may read it: --secret HF_TOKEN, or "
            "--secret HF_TOKEN=VARIABLE for a token of its own"
        )


def _upload_commit(api: "HfApi", name: str, root: Path, files: Sequence[Upload]) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    kept = {upload.target for upload in files}
    stored = api.list_repo_files(name, repo_type="space")
    # Files outside FOLDERS, such as notes that someone added on the Space, stay.
    stale = [path for path in stored if path.split("/")[0] in FOLDERS and path not in kept]
    added = [CommitOperationAdd(each.target, each.text.encode() if each.text else root / each.source) for each in files]
    api.create_commit(
        name,
        [*added, *(CommitOperationDelete(path) for path in stale)],
        commit_message="Deploy the playground",
        repo_type="space",
    )


def _tracked_files(root: Path) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"git cannot list the files of '{root.name}'; a Space is deployed from a git clone of the repository"
        ) from error
    return [name for name in listed.stdout.split("\0") if name]


def _upload(root: Path, source: str, target: str) -> Upload:
    path = root / source
    # A link could upload a file from outside the repository.
    if path.is_symlink() or not path.is_file():
        raise InputError(f"'{source}' is tracked by git but is not a regular file here; restore it or remove it from git")
    return Upload(source=source, target=target, size=path.stat().st_size)


def _advice(status: int) -> str:
    if status in (401, 403):
        return "the token may not write there; take one with write access to this owner"
    if status == 402:
        return "this account's subscription allows no further Gradio Space; see the Hub's pricing, or use another owner"
    if status == 404:
        return "no such owner; check OWNER"
    return "try again later" if status >= 500 else "see the Hub's status page, or create the Space by hand first"
