"""Write the model card: the README of a checkpoint with base, licence, training facts, prompt format and how to run it."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from her import paths
from her.deploy.checkpoints import read_front_matter
from her.deploy.hub.bases import is_publication, local_base
from her.errors import InputError

_HUB_LICENCES = re.compile(
    r"apache-2\.0|mit|bsd.*|cc0-1\.0|cc-by.*|gpl.*|agpl.*|lgpl.*|mpl-2\.0|openrail.*|gemma|llama[0-9.]*|unlicense|pddl"
)
"""Licence identifiers that the Hub knows; any other becomes `license: other` with `license_name`."""
_LICENCE_FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
log = logging.getLogger(__name__)
_FENCE = "~~~~"


def model_card(name: str, base: str, licence: str, facts: Mapping[str, Any], prompt: str, stop: str) -> str:
    """Return the text of a model card.

    Args:
        name: name of the checkpoint's folder.
        base: folder or repository that was trained from; empty for random weights.
        licence: licence of the base; empty when unknown.
        facts: what the run recorded, in this order; a mapping inside gives one row per entry.
        prompt: a chat as the template renders it.
        stop: the token that ends a reply.
    """
    origin = f"Trained from `{_cell(_public_name(base))}`." if base else "Trained from random weights."
    plays = "It plays one speaker of a scene: a plan in third person, then what the character thinks, does and says."
    sections = [
        _front_matter(base, licence, "transformers"),
        f"# {_cell(name)}",
        f"{origin} {plays}",
        _licence_line(base, licence),
        _fact_table(facts),
        _prompt_section(prompt, stop),
        _running_section(name),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def adapter_card(name: str, base: str, licence: str) -> str:
    """Return the text of the model card of an adapter that is saved beside its merged model."""
    use = f"The LoRA adapter alone, for `{_cell(_public_name(base))}`. The model beside it has it merged in."
    return "\n\n".join([_front_matter(base, licence, "peft"), f"# {_cell(name)}", use]) + "\n"


def licence_of(base: str, licence: str) -> str:
    """Return `licence` if given, else the licence in the base's own model card on this machine; empty when unknown.

    Raises:
        InputError: the base has a model card whose front matter is not valid YAML.
    """
    if licence or not base:
        return licence
    front = _base_front_matter(base)
    stated = front.get("license_name") if front.get("license") == "other" else front.get("license")
    return stated if isinstance(stated, str) else ""


def licence_files(base: str) -> Sequence[Path]:
    """List the licence, notice and use policy files of a base: those in its folder, or in its repository on the Hub."""
    folder = local_base(base) if base else None
    if folder is not None and not folder.is_dir():
        folder = _hub_licences(base)
    if folder is None:
        return ()
    return sorted({path for pattern in _LICENCE_FILES for path in folder.glob(pattern) if path.is_file()})


def _hub_licences(base: str) -> Path | None:
    """Return the folder in the local cache with the licence files of a repository; None where the Hub cannot be asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=list(_LICENCE_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        log.warning(
            "the licence files of '%s' could not be fetched (%s); add them before you publish", base, type(error).__name__
        )
        return None


def _base_front_matter(base: str) -> Mapping[str, Any]:
    """Return the front matter of the base's model card, from its folder or from the local cache of repositories."""
    path = local_base(base) / "README.md"
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache

        # The folder check keeps a relative path such as `runs/model` from being read as a repository.
        cached = try_to_load_from_cache(base, "README.md") if base.count("/") == 1 and not Path(base).is_dir() else None
        if not isinstance(cached, str):
            return {}
        path = Path(cached)
    try:
        return read_front_matter(path)
    except InputError as error:
        raise InputError(f"the model card of '{base}' has front matter that is not valid YAML; give model.licence") from error


def _front_matter(base: str, licence: str, library: str) -> str:
    from huggingface_hub import ModelCardData

    known = bool(_HUB_LICENCES.fullmatch(licence.lower()))
    front = ModelCardData(
        license=licence.lower() if known else "other",
        license_name=licence if licence and not known else None,
        base_model=_repository(base),
        library_name=library,
        pipeline_tag="text-generation",
        tags=["role-play", "reasoning", "her"],
    )
    return f"---\n{front.to_yaml()}\n---"


def _repository(base: str) -> Any:
    """Return the base as the Hub knows it: a repository, or the one that a local folder names as its own base; else None."""
    if not base:
        return None
    if is_publication(base):
        return base.partition("@")[0]
    if paths.expanded(base).is_dir():
        with suppress(InputError):  # an unreadable card stopped the run before its first step, unless a licence was given
            return _base_front_matter(base).get("base_model") or None
        return None
    return base


def _public_name(base: str) -> str:
    """Return a repository as it is, and only the last two parts of a local folder."""
    path = paths.expanded(base)
    return "/".join(path.resolve().parts[-2:]) if path.is_dir() else base


def _licence_line(base: str, licence: str) -> str:
    if not base:
        return "The weights were trained on the samples alone; their licence is that of the data."
    if licence:
        return f"Licence of the base: {_cell(licence)}."
    return "The base states no licence; check where it came from."


def _fact_table(facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    rows = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            rows += [f"| {_cell(name)}: {_cell(str(key))} | {_cell_value(entry)} |" for key, entry in value.items()]
        else:
            rows.append(f"| {_cell(name)} | {_cell_value(value)} |")
    return "\n".join(["## What it was trained on", "", "| fact | value |", "| --- | --- |", *rows])


def _prompt_section(prompt: str, stop: str) -> str:
    shown = prompt.replace(_FENCE, "~ ~ ~ ~").rstrip("\n")
    use = f"The chat template is saved with the model; a reply ends with `{stop}`. A chat as it renders one:"
    return f"## Prompt format\n\n{use}\n\n{_FENCE}text\n{shown}\n{_FENCE}"


def _running_section(name: str) -> str:
    lines = [
        "```sh",
        f"her play --backend local:PATH/{_cell(name)}    # the playground, with the model in its process",
        f"her serve PATH/{_cell(name)}                   # a vLLM server",
        "```",
    ]
    return "## How to run it\n\n" + "\n".join(lines)


def _cell_value(value: Any) -> str:
    return _cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _cell(text: str) -> str:
    """Return text that stays inside a table cell or code span."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
