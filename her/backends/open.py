"""One spec names one backend; the environment's keys and default are read here, when asked.

scripted:                                    written lines, no model; options ?seed=7&rate=0 (tokens a second, 0: at once)
openai:http://127.0.0.1:8000/v1#MODEL        any OpenAI-compatible server; #MODEL may be left out when it has exactly one
openai:https://host/v1#MODEL?context=32768   with the model's context, in tokens, where the server does not say it
local:PATH-or-repository                     transformers in this process; #REVISION pins a repository's commit
vllm:PATH-or-repository                      vLLM in this process, for pipelines on a GPU
teacher:                                     rules that answer the questions of synthesis; no model, to try a run with
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from her.backends.base import Backend
from her.errors import InputError
from her.types import Persona, Value

Scheme = Literal["scripted", "openai", "local", "vllm", "teacher"]
SCHEMES: tuple[Scheme, ...] = ("scripted", "openai", "local", "vllm", "teacher")
DEFAULT = "scripted:"
HUGGING_FACE = "router.huggingface.co"
_OPTIONS: dict[Scheme, tuple[str, ...]] = {"scripted": ("seed", "rate"), "openai": ("context",)}
_LOCAL_SERVERS = {
    "ollama": "openai:http://127.0.0.1:11434/v1#{}",
    "llamacpp": "openai:http://127.0.0.1:8080/v1",
    "llama.cpp": "openai:http://127.0.0.1:8080/v1",
    "hf": "openai:https://router.huggingface.co/v1#{}",
    "huggingface": "openai:https://router.huggingface.co/v1#{}",
    "transformers": "local:{}",
}


class Spec(Value):
    """A parsed spec; `str()` gives it back in one canonical spelling.

    Args:
        scheme: which kind of backend.
        address: URL without credentials, path or repository; empty for `scripted`.
        model: model at the server, or the revision of a repository.
        seed: of the scripted player.
        rate: tokens a second of the scripted player, 0 for all at once.
        context: tokens; 0 when not said.
    """

    scheme: Scheme
    address: str = ""
    model: str = ""
    seed: int = 0
    rate: float = 40
    context: int = 0

    def __str__(self) -> str:
        options = {"seed": (self.seed, 0), "rate": (self.rate, 40), "context": (self.context, 0)}
        said = "&".join(f"{name}={value:g}" for name, (value, usual) in options.items() if value != usual)
        return f"{self.scheme}:{self.address}" + (f"#{self.model}" if self.model else "") + (f"?{said}" if said else "")


def default_spec() -> str:
    """`HER_BACKEND`, else `scripted:`."""
    return os.environ.get("HER_BACKEND", "").strip() or DEFAULT


def parse_spec(text: str | None = None) -> Spec:
    """The value of a spec; None or empty takes `default_spec()`.

    Raises:
        InputError: not a spec; the sentence names the nearest right one, and no key that stood in it.
    """
    given = (text or "").strip() or default_spec()
    scheme, colon, rest = given.partition(":")
    known = next((name for name in SCHEMES if name == scheme), None)
    if not colon or known is None:
        raise InputError(f"backend {_hidden(given)!r} is not a spec; perhaps {_nearest(given)!r} was meant")
    if known == "openai":
        return _openai(rest)
    if known == "scripted":
        return _scripted(rest)
    if known == "teacher":
        if rest:
            raise InputError(f"backend 'teacher:{rest}' names something; 'teacher:' alone is right")
        return Spec(scheme=known)
    address, _, revision = rest.partition("#")
    if not address:
        raise InputError(f"backend '{known}:' names no model; give a folder or a repository, such as '{known}:checkpoints/her'")
    return Spec(scheme=known, address=address, model=revision)


def open_backend(
    spec: str | Spec | None = None,
    *,
    personas: Mapping[str, Persona] | None = None,
    visitor: bool = False,
    key: str = "",
    pipeline: bool = False,
) -> Backend:
    """The backend that a spec names.

    Args:
        spec: None takes `default_spec()`.
        personas: whose written lines the scripted player knows; None loads the house's.
        visitor: the spec was typed by a visitor: only servers may be named, and the keys of the environment stay here.
        key: a key for the server, instead of the environment's; kept in memory only.
        pipeline: opened by a pipeline, which may have vLLM in its own process.

    Raises:
        InputError: not a spec, or one that may not be opened here.
        BackendError: `missing_extra`, or a local model that cannot be read.
    """
    chosen = spec if isinstance(spec, Spec) else parse_spec(spec)
    if visitor and chosen.scheme not in ("openai", "scripted"):
        raise InputError(f"visitors may connect servers only; '{chosen.scheme}:' is for who starts the playground")
    if chosen.scheme == "openai":
        from her.backends.openai_http import OpenAIBackend

        secret = key or ("" if visitor else key_for(chosen.address))
        return OpenAIBackend(chosen.address, chosen.model, key=secret, context=chosen.context)
    if chosen.scheme == "teacher":
        from her.backends.teacher import TeacherBackend

        return TeacherBackend()
    if chosen.scheme == "local":
        from her.backends.local import LocalBackend

        return LocalBackend(chosen.address, chosen.model)
    if chosen.scheme == "vllm" and pipeline:
        from her.backends.vllm_engine import VLLMBackend

        return VLLMBackend(chosen.address, chosen.model)
    if chosen.scheme == "vllm":
        raise InputError(
            f"'{chosen}' is for pipelines on a GPU; to chat, start 'her serve {chosen.address}' and open "
            "'openai:http://127.0.0.1:8000/v1'"
        )
    from her.backends.scripted import ScriptedBackend
    from her.characters.personas import load_personas

    return ScriptedBackend(load_personas() if personas is None else personas, seed=chosen.seed, rate=chosen.rate)


def key_for(url: str) -> str:
    """The key for a server: HER_OPENAI_API_KEY, else OPENAI_API_KEY; at the Hugging Face router HF_TOKEN when neither is set."""
    names = ["HER_OPENAI_API_KEY", "OPENAI_API_KEY"] + (["HF_TOKEN"] if urlsplit(url).hostname == HUGGING_FACE else [])
    return next((key for name in names if (key := os.environ.get(name, "").strip())), "")


def _openai(rest: str) -> Spec:
    address, _, fragment = rest.partition("#")
    model, _, query = fragment.partition("?")
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError:
        url, host, port = urlsplit(""), None, None
    if url.username is not None or url.password is not None or url.query:
        raise InputError(
            f"backend 'openai:{_hidden(address)}' has a name, key or option inside its address; "
            "put the key into HER_OPENAI_API_KEY and leave the address bare"
        )
    if url.scheme not in ("http", "https") or not host or port == 0:
        raise InputError(f"backend 'openai:{_hidden(rest)}' has no web address; perhaps {_nearest('openai:' + rest)!r} was meant")
    return Spec(scheme="openai", address=address.rstrip("/"), model=model, **_options("openai", query))


def _scripted(rest: str) -> Spec:
    if rest and not rest.startswith("?"):
        raise InputError(f"backend 'scripted:{rest}' names something; 'scripted:' alone is right, or 'scripted:?seed=7'")
    return Spec(scheme="scripted", **_options("scripted", rest.removeprefix("?")))


def _options(scheme: Scheme, query: str) -> dict[str, Any]:
    """The numbers of `name=value&...`."""
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS[scheme]:
            raise InputError(f"'{scheme}:' knows no option {name!r}; it knows {', '.join(_OPTIONS[scheme])}")
        pattern = r"\d{1,6}(\.\d+)?" if name == "rate" else r"\d{1,15}"
        if not re.fullmatch(pattern, value):
            raise InputError(f"option {name} of '{scheme}:' is {value!r}; give a number, such as {name}=40")
        options[name] = float(value) if name == "rate" else int(value)
    return options


def _nearest(given: str) -> str:
    """The spec that was most likely meant."""
    scheme, colon, rest = given.partition(":")
    if colon and (server := _LOCAL_SERVERS.get(scheme.lower())):
        return server.format(rest or "MODEL")
    if scheme == "openai" and rest:
        bare = _hidden(rest.lstrip("/"))
        return f"openai:http://{bare}" if re.match(r"[\w.-]+(:\d+)?([/#]|$)", bare) else "openai:http://127.0.0.1:8000/v1#MODEL"
    if scheme in ("http", "https"):
        return f"openai:{_hidden(given)}"
    if not colon and (Path(given).is_dir() or re.fullmatch(r"[./~][\w./-]*|[\w.-]+/[\w.-]+", given)):
        return f"local:{given}"
    close = difflib.get_close_matches(scheme.lower(), SCHEMES, 1, 0.5)
    examples = {"openai": "openai:http://127.0.0.1:8000/v1#MODEL", "scripted": DEFAULT, "teacher": "teacher:"}
    named: str = close[0] if close else "scripted"
    return f"{named}:{rest}" if named in ("local", "vllm") and rest else examples.get(named, f"{named}:PATH")


def _hidden(text: str) -> str:
    """The text without what stands before an @, and without a query: where keys are put by mistake."""
    return re.sub(r"\?[^#]*", "?***", re.sub(r"[^/@\s]+@", "***@", text))
