"""Paths and addresses from the environment (HER_HOME, database, host, port); read at each call, never at import."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from her.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
"""Root of the checkout: the folder that holds `her/` and, in a checkout, `pipelines/`."""


def home() -> Path:
    """Return the folder of database, runs and logs: `HER_HOME`, else `~/.her`; created when missing, mode 0700.

    Raises:
        InputError: the folder cannot be created.
    """
    folder = expanded(os.environ.get("HER_HOME") or "~/.her")
    try:
        # 0700: the database in it holds the chats and names of visitors.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"HER_HOME is '{folder}', which cannot be created ({error.strerror or error}); name a folder") from error
    return folder


def expanded(path: str) -> Path:
    """Return a path with `~` and `~user` replaced; an unknown user stays as written, where `Path.expanduser` would raise."""
    return Path(os.path.expanduser(path))


def database_url() -> str:
    """Return `HER_DATABASE_URL`, else the URL of the SQLite file `HER_HOME/her.sqlite3`."""
    return os.environ.get("HER_DATABASE_URL") or f"sqlite:///{home() / 'her.sqlite3'}"


def personas_folder() -> Path:
    """Return `HER_PERSONAS`, else the folder `personas` beside the package (a checkout), else the one inside it (a wheel)."""
    if chosen := os.environ.get("HER_PERSONAS"):
        return expanded(chosen)
    beside = ROOT / "personas"
    return beside if beside.is_dir() else ROOT / "her" / "personas"


def playtest_file() -> str:
    """Return `HER_PLAYTEST`, the file of the playtest that a server without a command line opens; empty for none."""
    return os.environ.get("HER_PLAYTEST", "")


def space_id() -> str:
    """Return `OWNER/NAME` of the Hugging Face Space that this process runs on, else an empty string."""
    return os.environ.get("SPACE_ID", "")


def proxies() -> tuple[str, ...]:
    """Return the addresses of proxies whose X-Forwarded headers are believed: `HER_PROXIES`, separated by commas; `*` on a Space.

    A Space can be reached through the proxy of Hugging Face alone.
    """
    named = tuple(part.strip() for part in os.environ.get("HER_PROXIES", "").split(",") if part.strip())
    return named or (("*",) if space_id() else ())


def prepare_for_gradio() -> None:
    """Set up what Gradio and its server read when they are imported; called before that.

    Gradio imports the package `spaces` where it finds one. In a checkout that name is the folder spaces/ of this repository, a
    namespace in which it then misses functions when SYSTEM=spaces is set. uvicorn believes what everybody on this machine says in
    X-Forwarded-For; the guard of the playground believes the proxies of `proxies()` instead.
    """
    found = find_spec("spaces") if "spaces" not in sys.modules else None
    if found is not None and found.origin is None:
        sys.modules["spaces"] = None  # type: ignore[assignment]  # an import fails as if nothing were there
    os.environ["FORWARDED_ALLOW_IPS"] = ""


def zero_gpu() -> bool:
    """Return whether this is a Space on ZeroGPU hardware, which gives a GPU to one call at a time."""
    # The values that the package `spaces` itself takes for true.
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")


def ephemeral() -> bool:
    """Return whether a restart loses the ratings: on a Space without `HER_DATABASE_URL` and without `HER_DURABLE`."""
    return bool(space_id()) and not os.environ.get("HER_DATABASE_URL") and not durable()


def durable() -> str:
    """Return `HER_DURABLE`: the private data set, `OWNER/NAME`, in which chats and ratings are kept; empty for none."""
    return os.environ.get("HER_DURABLE", "").strip()


def durable_every() -> float:
    """Return the seconds between two copies to it, `HER_DURABLE_EVERY`, else 60: the Hub takes about 128 commits an hour.

    Raises:
        InputError: the variable is not a number of seconds above 0.
    """
    text = os.environ.get("HER_DURABLE_EVERY") or "60"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86_400:
        raise InputError(f"HER_DURABLE_EVERY is {text!r}; give seconds between two copies, such as 60")
    return seconds


def secret_values() -> list[str]:
    """Return the values of variables that are keys by their names, such as HF_TOKEN, so that they can be kept out of files."""
    named = ("TOKEN", "SECRET", "PASSWORD", "API_KEY", "ACCESS_KEY")
    # A short value, such as TOKENIZERS_PARALLELISM=false, is no key.
    return sorted({value for key, value in os.environ.items() if len(value) >= 8 and any(word in key.upper() for word in named)})


def named_secret(variable: str) -> str:
    """Return the value of a variable that a person named as a secret of a Space; empty when it is not set."""
    return os.environ.get(variable, "")


def reward_token() -> str:
    """Return the token of reward servers that a run asks (`HER_REWARD_TOKEN`); empty for none."""
    return os.environ.get("HER_REWARD_TOKEN", "")


def server_host() -> str:
    """Return the address to listen on: `GRADIO_SERVER_NAME`, else 0.0.0.0 on a Space and 127.0.0.1 elsewhere."""
    return os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if space_id() else "127.0.0.1")


def server_port() -> int:
    """Return the port to listen on: `GRADIO_SERVER_PORT`, else `PORT`, else 7860.

    Raises:
        InputError: the variable is not a port number.
    """
    for name in ("GRADIO_SERVER_PORT", "PORT"):
        if value := os.environ.get(name):
            if not value.isdecimal() or int(value) > 65535:
                raise InputError(f"{name} is {value!r}; give a port number from 0 to 65535")
            return int(value)
    return 7860
