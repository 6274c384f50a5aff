"""Choose the model of a Space and what it needs there: backend spec, hardware, variables, secrets, further requirements.

    router     a model that the Hugging Face router serves, asked with the key of a secret
    endpoint   an OpenAI-compatible server of yours, such as an Inference Endpoint or `her serve` behind a proxy
    zero       ZeroGPU: the checkpoint is loaded on the Space itself, which gets a GPU for each answer (her/backends/zero_gpu.py)

Values of secrets come from the environment of this machine by name, never from the command line, and are printed nowhere.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from her import paths
from her.backends.open import HUGGING_FACE, parse_spec
from her.deploy.hub.records import read_records
from her.deploy.hub.remote import Address, parse_address
from her.deploy.stage_record import on_stage
from her.errors import InputError

Serving = Literal["router", "endpoint", "zero"]
STAGED = "promoted"
"""Word for the checkpoint on stage, in place of a repository."""
ZERO_HARDWARE = "zero-a10g"
"""Name of ZeroGPU for the Hub, whatever GPU it has today."""
OPEN_PORTS = (80, 443, 8080)
"""Ports that a Space reaches outside."""
KEYS = ("HER_OPENAI_API_KEY", "OPENAI_API_KEY", "HF_TOKEN")
"""Secrets that a Space asks a router or a server with (her/backends/open.py)."""
ZERO_PACKAGES = ("torch", "transformers", "accelerate", "safetensors", "tokenizers")
"""Packages of the extra `local`, pinned as `requirements/train-cuda.txt` pins them."""
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class SpaceModel(NamedTuple):
    """Settings of a Space; without a model only those that the command names.

    Args:
        address: the repository that the front matter names; its tag pins what ZeroGPU loads.
        hardware: empty leaves what the Space has.
        secrets: name on the Space -> variable of this machine's environment.
        requirements: lines that are added to `requirements.txt`.
    """

    serving: Serving | None = None
    address: Address | None = None
    hardware: str = ""
    variables: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    requirements: tuple[str, ...] = ()

    def secret_values(self) -> dict[str, str]:
        """Return the values of the secrets.

        Raises:
            InputError: a variable of this machine is not set.
        """
        values = {name: paths.named_secret(variable) for name, variable in self.secrets.items()}
        if missing := [self.secrets[name] for name, value in values.items() if not value]:
            raise InputError(f"secret '{missing[0]}' is not set in this environment, from which its value comes; export it first")
        return values


def space_model(
    model: str,
    serving: Serving | None,
    *,
    endpoint: str = "",
    hardware: str = "",
    variables: Collection[str] = (),
    secrets: Collection[str] = (),
    ratings: str = "",
    root: Path = paths.ROOT,
) -> SpaceModel:
    """Return what a Space needs for a model, and to keep its ratings.

    Args:
        model: `promoted`, `OWNER/NAME` or `OWNER/NAME@TAG`; empty for none, or for the only one of an endpoint.
        endpoint: address of the server, with `serving=endpoint`.
        variables: `NAME=VALUE`; visible to everybody who may see the Space.
        secrets: `NAME`, or `NAME=VARIABLE` where the variable of this machine has another name.
        ratings: data set that keeps chats and ratings when the Space restarts (her/deploy/hub/durable.py); empty for none.

    Raises:
        InputError: the words do not fit together, or the model is not on the Hub.
    """
    _require_hardware(hardware)
    own = SpaceModel(hardware=hardware, variables=_variables(variables), secrets=_secrets(secrets))
    if ratings:
        own = _keeping_ratings(own, ratings)
    if serving is None:
        if model or endpoint:
            raise InputError("say how the Space gets answers of the model: --serve router, endpoint or zero")
        return own
    if bool(endpoint) != (serving == "endpoint"):
        raise InputError("--endpoint URL goes with --serve endpoint, and that one needs it")
    address = _address(model) if model else None
    if address is None and serving != "endpoint":
        raise InputError(f"--serve {serving} needs a model: --model {STAGED}, --model OWNER/NAME or OWNER/NAME@TAG")
    spec = _spec(serving, address, endpoint)
    if "HER_BACKEND" in own.variables:
        raise InputError(f"--variable HER_BACKEND contradicts --serve {serving}, which sets it to {spec}; leave one out")
    if serving != "zero" and not set(KEYS) & own.secrets.keys():
        raise InputError(f"the Space asks the {serving} with a key: name one of {', '.join(KEYS)} with --secret")
    return own._replace(
        serving=serving,
        address=address,
        hardware=hardware or (ZERO_HARDWARE if serving == "zero" else ""),
        variables={"HER_BACKEND": spec, **own.variables},
        requirements=_zero_requirements(root) if serving == "zero" else (),
    )


def _keeping_ratings(own: SpaceModel, ratings: str) -> SpaceModel:
    name, tag = parse_address(ratings)
    if tag:
        raise InputError(f"--ratings '{ratings}' names a tag; write OWNER/NAME, and the data set is made when the Space starts")
    if "HER_DURABLE" in own.variables:
        raise InputError("--variable HER_DURABLE contradicts --ratings, which sets it; leave one out")
    if "HF_TOKEN" not in own.secrets:
        raise InputError(
            f"the Space writes to '{name}' with a token of its own: --secret HF_TOKEN, or --secret HF_TOKEN=VARIABLE for one "
            "that may write nowhere else"
        )
    return own._replace(variables={"HER_DURABLE": name, **own.variables})


def _address(model: str) -> Address:
    if model != STAGED:
        return parse_address(model)
    line = on_stage()
    if line is None:
        raise InputError("nothing is on stage; put a run there with her promote RUN, or name a repository with --model")
    published = [each for each in read_records() if each.run == line.run and each.repository_type == "model"]
    if not published:
        raise InputError(
            f"run '{line.run}' is on stage and not on the Hub, from where a Space reads it: her publish {line.run} OWNER/NAME"
        )
    return Address(published[-1].repository, published[-1].tag)


def _spec(serving: Serving, address: Address | None, endpoint: str) -> str:
    name = address.repository if address else ""
    if serving == "zero" and address is not None:
        return f"local:{name}" + (f"#{address.tag}" if address.tag else "")
    if serving == "router":
        return f"openai:https://{HUGGING_FACE}/v1#{name}"
    _require_reachable(endpoint)
    return str(parse_spec(f"openai:{endpoint}" + (f"#{name}" if name else "")))


def _require_hardware(hardware: str) -> None:
    from huggingface_hub import SpaceHardware

    known = [each.value for each in SpaceHardware]
    if hardware and hardware not in known:
        raise InputError(f"hardware '{hardware}' is not known to the Hub; it has {', '.join(known)}")


def _require_reachable(endpoint: str) -> None:
    """Refuse an address that a Space cannot reach, or would send its key to unencrypted."""
    url = urlsplit(endpoint)
    if url.scheme != "https" or not url.hostname:
        raise InputError(f"the endpoint '{endpoint}' is not an https address; the Space would send its key there unencrypted")
    if (url.port or 443) not in OPEN_PORTS:
        raise InputError(f"a Space reaches ports {', '.join(map(str, OPEN_PORTS))} only, and the endpoint has port {url.port}")
    try:
        private = not ipaddress.ip_address(url.hostname).is_global
    except ValueError:
        private = url.hostname == "localhost" or url.hostname.endswith((".local", ".internal"))
    if private:
        raise InputError(f"'{url.hostname}' is an address of this machine or network, which a Space cannot reach")


def _variables(words: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise InputError(f"--variable '{name}' is not NAME=VALUE; write such as --variable HER_LANGUAGE=zh")
        if any(secret in value for secret in paths.secret_values()):
            raise InputError(f"variable '{name}' holds a key of this machine, and everybody could read it; give it as --secret")
        found[name] = value
    return found


def _secrets(words: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, _, variable = word.partition("=")
        if not _VARIABLE.fullmatch(name) or not _VARIABLE.fullmatch(variable or name):
            # The word is not repeated: people put the value itself there by mistake.
            raise InputError("a secret is NAME or NAME=VARIABLE, and its value comes from that variable of this environment")
        found[name] = variable or name
    return found


def _zero_requirements(root: Path) -> tuple[str, ...]:
    path = root / "requirements" / "train-cuda.txt"
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text("utf-8"), re.MULTILINE)) if path.is_file() else {}
    if missing := [name for name in ZERO_PACKAGES if name not in pins]:
        raise InputError(f"'{path}' does not pin {missing[0]}, which ZeroGPU needs; run make lock in a clone of the repository")
    return tuple(f"{name}=={pins[name]}" for name in ZERO_PACKAGES)
