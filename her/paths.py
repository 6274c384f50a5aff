"""The one reader of HER_HOME, the database address and where to listen; read when called, never at import."""

import os
from pathlib import Path

from her.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
"""The checkout, where there is one: the folder that holds `her/` and `pipelines/`."""


def home() -> Path:
    """The folder of the database, runs and logs: `HER_HOME`, else `~/.her`. Created when missing, for its owner alone."""
    folder = expanded(os.environ.get("HER_HOME") or "~/.her")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"HER_HOME is '{folder}', which cannot be made ({error.strerror or error}); name a folder") from error
    return folder


def expanded(path: str) -> Path:
    """A path as a person writes it, `~` in it a home; unlike `Path.expanduser` it does not raise for a user who is not there."""
    return Path(os.path.expanduser(path))


def database_url() -> str:
    """`HER_DATABASE_URL`, else SQLite at `HER_HOME/her.sqlite3`."""
    return os.environ.get("HER_DATABASE_URL") or f"sqlite:///{home() / 'her.sqlite3'}"


def personas_folder() -> Path:
    """`HER_PERSONAS`, else the folder of personas that stands beside the package, else the one inside it."""
    if chosen := os.environ.get("HER_PERSONAS"):
        return expanded(chosen)
    beside = ROOT / "personas"
    return beside if beside.is_dir() else ROOT / "her" / "personas"


def space_id() -> str:
    """`OWNER/NAME` of the Hugging Face Space this runs on, else empty."""
    return os.environ.get("SPACE_ID", "")


def zero_gpu() -> bool:
    """Whether this is a Space on ZeroGPU hardware, which lends a GPU by the call."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")


def ephemeral() -> bool:
    """Whether ratings are lost at a restart: on a Space, unless a database elsewhere is named."""
    return bool(space_id()) and not os.environ.get("HER_DATABASE_URL")


def server_host() -> str:
    """Address to listen on: `GRADIO_SERVER_NAME`, else every address on a Space and this machine elsewhere."""
    return os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if space_id() else "127.0.0.1")


def server_port() -> int:
    """Port to listen on: `GRADIO_SERVER_PORT`, else `PORT`, else 7860."""
    for name in ("GRADIO_SERVER_PORT", "PORT"):
        if value := os.environ.get(name):
            if not value.isdecimal() or int(value) > 65535:
                raise InputError(f"{name} is {value!r}; give a port number from 0 to 65535")
            return int(value)
    return 7860
