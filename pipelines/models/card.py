"""The model card: a README that Hugging Face reads, with the base, the licence, what it was trained on and how to run it."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from her import paths
from her.errors import InputError

_SPDX = re.compile(
    r"apache-2\.0|mit|bsd.*|cc0-1\.0|cc-by.*|gpl.*|agpl.*|lgpl.*|mpl-2\.0|openrail.*|gemma|llama[0-9.]*|unlicense|pddl"
)
"""Identifiers that the hub knows; others go by their name."""
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")


def model_card(name: str, base: str, licence: str, facts: Mapping[str, Any], prompt: str, stop: str) -> str:
    """The text of the card.

    Args:
        name: of the folder.
        base: folder or repository; empty for a model from nothing.
        licence: of the base; empty is said to be unknown.
        facts: what the run knows, in the order it is told; mappings inside become lines of their own.
        prompt: a chat as the template writes it.
        stop: the token that ends a reply.
    """
    made = f"Trained from `{_plain(_shown(base))}`." if base else "Trained from random weights."
    return "\n".join(
        [
            *_front_matter(base, licence),
            f"# {_plain(name)}",
            "",
            f"{made} It plays one speaker of a scene: a plan in third person, then what the character thinks, does and says.",
            "",
            *_licence(base, licence),
            *_facts(facts),
            *_format(prompt, stop),
            *_running(name),
        ]
    )


def adapter_card(name: str, base: str, licence: str) -> str:
    """The text of the card of an adapter that stands beside its merged model."""
    lines = [*_front_matter(base, licence, "peft"), f"# {_plain(name)}", ""]
    lines += [f"The LoRA adapter alone; it goes onto `{_plain(_shown(base))}`. The model beside it has it merged in.", ""]
    return "\n".join(lines)


def licence_of(base: str, licence: str) -> str:
    """The licence asked for, else that of the base's own card on this machine; empty when neither says one.

    Raises:
        InputError: the base has a card whose front matter is no YAML.
    """
    if licence or not base:
        return licence
    front = _base_front(base)
    said = front.get("license_name") if front.get("license") == "other" else front.get("license")
    return said if isinstance(said, str) else ""


def licence_files(base: str) -> Sequence[Path]:
    """Licence and notice files of a base that is a folder."""
    folder = paths.expanded(base) if base else None
    if folder is None or not folder.is_dir():
        return ()
    return sorted({path for pattern in _LICENCES for path in folder.glob(pattern) if path.is_file()})


def _base_front(base: str) -> Mapping[str, Any]:
    """The front matter of the base's card: in its folder, or in the cache of repositories."""
    path = paths.expanded(base) / "README.md"
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(base, "README.md") if base.count("/") == 1 and not Path(base).is_dir() else None
        if not isinstance(cached, str):
            return {}
        path = Path(cached)
    text = path.read_text("utf-8", "replace")
    if not text.startswith("---\n"):
        return {}
    try:
        front = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError as error:
        raise InputError(f"the card of '{base}' has front matter that is no YAML ({path.name}); give model.licence") from error
    return front if isinstance(front, Mapping) else {}


def _front_matter(base: str, licence: str, library: str = "transformers") -> list[str]:
    front: dict[str, Any] = {"license": licence.lower()} if _SPDX.fullmatch(licence.lower()) else {"license": "other"}
    if licence and front["license"] == "other":
        front["license_name"] = licence
    if origin := _repository(base):
        front["base_model"] = origin
    front |= {"library_name": library, "pipeline_tag": "text-generation", "tags": ["role-play", "reasoning", "her"]}
    return ["---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(), "---", ""]


def _repository(base: str) -> Any:
    """What a hub takes for the base: a repository, or the one that a local folder names as its own base."""
    if not base:
        return ""
    if paths.expanded(base).is_dir():
        with suppress(InputError):  # the licence was given, or there would have been an end before the first step
            return _base_front(base).get("base_model", "")
        return ""
    return base


def _shown(base: str) -> str:
    """A folder of this machine by its last two parts, a repository as it is."""
    path = paths.expanded(base)
    return "/".join(path.resolve().parts[-2:]) if path.is_dir() else base


def _licence(base: str, licence: str) -> list[str]:
    if not base:
        return ["Nothing but the samples went into the weights; their licence is that of the data.", ""]
    said = f"Licence of the base: {_plain(licence)}." if licence else "The base names no licence; look at where it came from."
    return [said, ""]


def _facts(facts: Mapping[str, Any]) -> list[str]:
    if not facts:
        return []
    rows = [
        line
        for name, value in facts.items()
        for line in (
            [f"| {_plain(name)}: {_plain(str(key))} | {_told(each)} |" for key, each in value.items()]
            if isinstance(value, Mapping)
            else [f"| {_plain(name)} | {_told(value)} |"]
        )
    ]
    return ["## What it was trained on", "", "| fact | value |", "| --- | --- |", *rows, ""]


def _format(prompt: str, stop: str) -> list[str]:
    fence = "~~~~"
    return [
        "## Prompt format",
        "",
        f"The chat template is saved with the model; a reply ends with `{stop}`. A chat, as it writes it:",
        "",
        f"{fence}text",
        prompt.replace(fence, "~ ~ ~ ~").rstrip("\n"),
        fence,
        "",
    ]


def _running(name: str) -> list[str]:
    return [
        "## How to run it",
        "",
        "```sh",
        f"her play --backend local:PATH/{_plain(name)}    # the playground, with the model in its process",
        f"her serve PATH/{_plain(name)}                   # the command of a vLLM server for it",
        "```",
        "",
    ]


def _told(value: Any) -> str:
    return _plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _plain(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
