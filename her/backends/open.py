"""Open the backend that a spec names. BACKENDS is the one table of backends; everything that lists them reads it.

    scripted:                                    written lines, no model; options ?seed=7&rate=0
    openai:http://127.0.0.1:8000/v1#MODEL        any OpenAI-compatible server; #MODEL may be left out when it has exactly one
    openai:https://host/v1#MODEL?context=32768   with the model's context in tokens, where the server does not report it
    local:PATH-or-repository                     transformers in this process; #REVISION pins a repository's commit
    vllm:PATH-or-repository                      vLLM in this process, for pipelines on a GPU
    teacher:                                     rules that answer the questions of synthesis; no model, for trial runs

To add a backend: write a module with a class that has the methods of `her.backends.base.Backend`, a function here that opens
it, and one entry in BACKENDS. parse_spec, open_backend, the suggestions for a wrong spec, `her doctor`, what visitors may connect
and what Ray workers may share all read that entry. Keys and the default spec come from the environment at the time of the call.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from her.backends.addresses import check_key, hidden, refuse_strange
from her.backends.base import Backend
from her.capacity.needs import Needs
from her.errors import InputError
from her.types import Persona, Value

DEFAULT = "scripted:"
HUGGING_FACE = "router.huggingface.co"
_LOCAL_SERVERS = {
    "ollama": "openai:http://127.0.0.1:11434/v1#{}",
    "llamacpp": "openai:http://127.0.0.1:8080/v1",
    "llama.cpp": "openai:http://127.0.0.1:8080/v1",
    "hf": f"openai:https://{HUGGING_FACE}/v1#{{}}",
    "huggingface": f"openai:https://{HUGGING_FACE}/v1#{{}}",
    "transformers": "local:{}",
}
"""Words that people write for a scheme, and the spec they mean."""


class Spec(Value):
    """A parsed spec; `str()` returns it in one canonical spelling.

    Args:
        scheme: key of BACKENDS.
        address: URL without credentials, path or repository; empty where the backend has none.
        model: model at the server, or the revision of a repository.
        options: only those that differ from their default.
    """

    scheme: str
    address: str = ""
    model: str = ""
    options: Mapping[str, int | float] = {}

    def __str__(self) -> str:
        options = "&".join(f"{name}={self.options[name]:g}" for name in BACKENDS[self.scheme].options if name in self.options)
        return f"{self.scheme}:{self.address}" + (f"#{self.model}" if self.model else "") + (f"?{options}" if options else "")

    def option(self, name: str) -> int | float:
        """Return the value of an option, or its default."""
        return self.options.get(name, BACKENDS[self.scheme].options[name].default)


class OpeningContext(NamedTuple):
    """Facts that the caller of `open_backend` knows and a spec does not hold; see its arguments."""

    personas: Mapping[str, Persona] | None = None
    visitor: bool = False
    key: str = ""


class Option(NamedTuple):
    """An option after `?`. Its default decides the type: int takes whole numbers, float also decimal ones."""

    default: int | float
    meaning: str


class BackendKind(NamedTuple):
    """One entry of the table of backends.

    Args:
        scheme: the word before the colon.
        summary: what it is, in one phrase.
        example: a right spec, suggested when a wrong one is near to it.
        parse: rule for the text after the colon.
        open: returns the backend; imports its module only when called.
        needs: packages and GPU, for `her doctor`.
        options: by name.
        chat: named in the help of `her play` and in the README.
        visitors: a visitor of the playground may name it.
        shared: Ray workers on other machines can open the same spec: it is a server, or has no model.
        only_pipelines: empty, or the advice for someone who opens it for a chat; may hold {address}.
    """

    scheme: str
    summary: str
    example: str
    parse: "Callable[[BackendKind, str], Spec]"
    open: Callable[[Spec, OpeningContext], Backend]
    needs: Needs
    options: Mapping[str, Option] = {}
    chat: bool = False
    visitors: bool = False
    shared: bool = False
    only_pipelines: str = ""


def default_spec() -> str:
    """Return HER_BACKEND, or `scripted:` when it is not set."""
    return named_spec() or DEFAULT


def named_spec() -> str:
    """Return HER_BACKEND; empty when it is not set."""
    return os.environ.get("HER_BACKEND", "").strip()


def parse_spec(text: str | None = None) -> Spec:
    """Parse a spec. None and empty text mean `default_spec()`.

    Raises:
        InputError: not a spec. The sentence suggests the nearest right one and never repeats a key.
    """
    text = (text or "").strip() or default_spec()
    scheme, colon, rest = text.partition(":")
    kind = BACKENDS.get(scheme)
    if not colon or kind is None:
        raise InputError(f"backend {hidden(text)!r} is not a spec; perhaps {_nearest(text)!r} was meant")
    return kind.parse(kind, rest)


def open_backend(
    spec: str | Spec | None = None,
    *,
    personas: Mapping[str, Persona] | None = None,
    visitor: bool = False,
    key: str = "",
    pipeline: bool = False,
) -> Backend:
    """Open the backend that a spec names.

    Args:
        spec: None means `default_spec()`.
        personas: whose written lines `scripted:` knows; None loads those of the project.
        visitor: a visitor typed the spec. Then only the kinds marked `visitors` open, and no key of the environment is used.
        key: key for the server, instead of the environment's; kept in memory only.
        pipeline: a pipeline opens it. Then the kinds with `only_pipelines` open as well.

    Raises:
        InputError: not a spec, or one that may not be opened here.
        BackendError: `missing_extra`, or a local model that cannot be read.
    """
    spec = spec if isinstance(spec, Spec) else parse_spec(spec)
    kind = BACKENDS[spec.scheme]
    if visitor and not kind.visitors:
        raise InputError(f"visitors may connect to servers only; '{spec.scheme}:' is for the person who starts the playground")
    if kind.only_pipelines and not pipeline:
        raise InputError(f"'{spec}' is for pipelines on a GPU; {kind.only_pipelines.format(address=spec.address)}")
    return kind.open(spec, OpeningContext(personas, visitor, key))


def is_shared(spec: str) -> bool:
    """Return True when workers on several machines can open this spec and mean the same model.

    Raises:
        InputError: not a spec.
    """
    return BACKENDS[parse_spec(spec).scheme].shared


def backend_needs() -> list[Needs]:
    """List what all backends need, in the order of the table."""
    return [kind.needs for kind in BACKENDS.values()]


def key_for(url: str) -> str:
    """Return the key for a server: HER_OPENAI_API_KEY, else OPENAI_API_KEY, else HF_TOKEN at the Hugging Face router."""
    names = ["HER_OPENAI_API_KEY", "OPENAI_API_KEY"] + (["HF_TOKEN"] if urlsplit(url).hostname == HUGGING_FACE else [])
    return next((key for name in names if (key := os.environ.get(name, "").strip())), "")


# -- openers -----------------------------------------------------------------------------------------------------------
# Each imports its module when it is called: the playground starts without torch, vLLM or the openai package.


def _open_scripted(spec: Spec, opening: OpeningContext) -> Backend:
    from her.backends.scripted import ScriptedBackend
    from her.characters.personas import load_personas

    personas = load_personas() if opening.personas is None else opening.personas
    return ScriptedBackend(personas, seed=int(spec.option("seed")), rate=spec.option("rate"))


def _open_openai(spec: Spec, opening: OpeningContext) -> Backend:
    from her.backends.openai_connections import HttpLimits
    from her.backends.openai_http import OpenAIBackend

    # A visitor chooses the address, so the operator's keys must not be sent there.
    key = check_key(opening.key or ("" if opening.visitor else key_for(spec.address)))
    limits = HttpLimits(first_token=spec.option("patience"))
    return OpenAIBackend(spec.address, spec.model, key=key, context=int(spec.option("context")), limits=limits)


def _open_local(spec: Spec, opening: OpeningContext) -> Backend:
    from her.backends.local import LocalBackend

    return LocalBackend(spec.address, spec.model)


def _open_vllm(spec: Spec, opening: OpeningContext) -> Backend:
    from her.backends.vllm_engine import VLLMBackend

    return VLLMBackend(spec.address, spec.model)


def _open_teacher(spec: Spec, opening: OpeningContext) -> Backend:
    from her.backends.teacher import TeacherBackend

    return TeacherBackend()


# -- rules for the text after the colon --------------------------------------------------------------------------------


def _parse_bare(kind: BackendKind, rest: str) -> Spec:
    """Parse a spec without an address: nothing, or `?option=value`."""
    if rest and not rest.startswith("?"):
        also = f", or '{kind.scheme}:?{next(iter(kind.options))}=7'" if kind.options else ""
        raise InputError(f"backend '{kind.scheme}:{rest}' names something; '{kind.scheme}:' alone is right{also}")
    return Spec(scheme=kind.scheme, options=_parse_options(kind, rest.removeprefix("?")))


def _parse_model(kind: BackendKind, rest: str) -> Spec:
    """Parse `PATH-or-repository#REVISION`."""
    address, _, revision = rest.partition("#")
    if not address:
        example = f"{kind.scheme}:checkpoints/her"
        raise InputError(f"backend '{kind.scheme}:' names no model; give a folder or a repository, such as '{example}'")
    return Spec(scheme=kind.scheme, address=address, model=revision)


def _parse_server(kind: BackendKind, rest: str) -> Spec:
    """Parse `URL#MODEL?option=value`. The model may hold slashes and colons, as in `Qwen/Qwen3-8B:fastest`."""
    refuse_strange(kind.scheme, rest)
    address, _, fragment = rest.partition("#")
    model, _, query = fragment.partition("?")
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError:  # such as http://[::1 or a port above 65535
        url, host, port = urlsplit(""), None, None
    if url.username is not None or url.password is not None or url.query:
        raise InputError(
            f"backend '{kind.scheme}:{hidden(address)}' has a name, key or option inside its address; "
            "put the key into HER_OPENAI_API_KEY and leave the address bare"
        )
    if url.scheme not in ("http", "https") or not host or port == 0:
        spec = f"{kind.scheme}:{rest}"
        raise InputError(f"backend {hidden(spec)!r} has no web address; perhaps {_nearest(spec)!r} was meant")
    options = _parse_options(kind, query)
    return Spec(scheme=kind.scheme, address=address.rstrip("/"), model=model, options=options)


def _parse_options(kind: BackendKind, query: str) -> dict[str, int | float]:
    """Parse `name=value&...`, without the values that equal their default."""
    options: dict[str, int | float] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in kind.options:
            raise InputError(f"'{kind.scheme}:' knows no option {name!r}; it knows {', '.join(kind.options) or 'none'}")
        default = kind.options[name].default
        pattern = r"\d{1,6}(\.\d+)?" if isinstance(default, float) else r"\d{1,15}"
        if not re.fullmatch(pattern, text):
            raise InputError(f"option {name} of '{kind.scheme}:' is {text!r}; give a number, such as {name}=40")
        options[name] = type(default)(text)
    return {name: value for name, value in options.items() if value != kind.options[name].default}


def _nearest(text: str) -> str:
    """Return the spec that was most likely meant."""
    scheme, colon, rest = text.partition(":")
    if colon and (server := _LOCAL_SERVERS.get(scheme.lower())):
        return server.format(rest or "MODEL")
    if scheme == "openai" and rest:
        bare = hidden(rest.lstrip("/"))
        # host, host:port or host/path without http:// before it
        is_host = re.match(r"[\w.-]+(:\d+)?([/#]|$)", bare)
        return f"openai:http://{bare}" if is_host else BACKENDS["openai"].example
    if scheme in ("http", "https"):
        return f"openai:{hidden(text)}"
    if not colon and (Path(text).is_dir() or re.fullmatch(r"[./~][\w./-]*|[\w.-]+/[\w.-]+", text)):
        return f"local:{text}"
    # 0.5 finds `openia`, `locl` and `script`; at 0.6, the default of difflib, a short scheme with two typing errors is lost.
    close = difflib.get_close_matches(scheme.lower(), BACKENDS, 1, 0.5)
    kind = BACKENDS[close[0] if close else "scripted"]
    return f"{kind.scheme}:{rest}" if kind.parse is _parse_model and rest else kind.example


# -- the table ---------------------------------------------------------------------------------------------------------

BACKENDS = {
    kind.scheme: kind
    for kind in (
        BackendKind(
            scheme="scripted",
            summary="written lines, no model",
            example="scripted:",
            parse=_parse_bare,
            open=_open_scripted,
            needs=Needs("scripted:"),
            options={
                "seed": Option(0, "seed of the choices that the messages leave open"),
                "rate": Option(40.0, "tokens per second; 0 sends the whole answer at once"),
            },
            chat=True,
            visitors=True,
            shared=True,
        ),
        BackendKind(
            scheme="openai",
            summary="any OpenAI-compatible server",
            example="openai:http://127.0.0.1:8000/v1#MODEL",
            parse=_parse_server,
            open=_open_openai,
            needs=Needs("openai:", ("openai",)),
            options={
                "context": Option(0, "longest prompt plus reply in tokens; 0 asks the server"),
                "patience": Option(120.0, "longest silence before the first token in seconds; a keepalive ends a silence"),
            },
            chat=True,
            visitors=True,
            shared=True,
        ),
        BackendKind(
            scheme="local",
            summary="transformers in this process",
            example="local:PATH",
            parse=_parse_model,
            open=_open_local,
            needs=Needs("local:", ("torch", "transformers", "accelerate"), ("local",)),
            chat=True,
        ),
        BackendKind(
            scheme="vllm",
            summary="vLLM in this process",
            example="vllm:PATH",
            parse=_parse_model,
            open=_open_vllm,
            needs=Needs("vllm:", ("vllm",), ("vllm",), gpu=True, cpu_build=True, instead="her play --backend local:CHECKPOINT"),
            only_pipelines="to chat, start 'her serve {address}' and open 'openai:http://127.0.0.1:8000/v1'",
        ),
        BackendKind(
            scheme="teacher",
            summary="rules that answer the questions of synthesis, no model",
            example="teacher:",
            parse=_parse_bare,
            open=_open_teacher,
            needs=Needs("teacher:"),
            shared=True,
        ),
    )
}
"""All backends by scheme."""
