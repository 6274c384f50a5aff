"""Record all that determines an evaluation, in `manifest.json` of its run; the key of a simulation is a hash of it.

Whatever changes a transcript changes its key: data, prompts, models and revisions, samplings, rounds, seeds, retrieval, code.
So a transcript is never taken for that of another model or protocol.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from her import paths
from her.backends.open import parse_spec
from her.deploy.checkpoints import checkpoint_hash, find_folder
from her.errors import InputError
from pipelines.evaluate.options import EvaluateOptions, Role

_PLAYING = ("act_coser", "choose_speaker", "choose_speaker_again", "choose_speaker_bare", "narrate_scene", "remember", "roleplay")
_JUDGING = (
    *("judge_scene", "judge_scene_again", "judge_scene_question", "judge_storyline_consistency", "judge_anthropomorphism"),
    *("judge_character_fidelity", "judge_storyline_quality"),
)
_CODE = ("her/view.py", "her/types.py", "her/kinds.py", "her/format/*.py", "her/rollouts/*.py", "her/characters/coser.py")
_JUDGING_SWITCHES = {"thoughts", "reference_thoughts", "labels", "numbered", "severities", "credit", "judge", "judge_asks"}
"""Switches of a protocol that have no part in a transcript."""


def manifest(
    options: EvaluateOptions, models: Mapping[Role, str], inputs: Mapping[str, str], cases: Iterable[str], checkpoint: str = ""
) -> dict[str, Any]:
    """Return what determines a run.

    Args:
        options: of the run.
        models: model and revision of each role.
        inputs: sha256 of every input file.
        cases: keys of the cases.
        checkpoint: as `evaluated_checkpoint` returns it.
    """
    return {
        "simulation": simulation_manifest(options, models, checkpoint),
        "judging": {
            "judge": models.get("judge", ""),
            "protocol": {name: value for name, value in _switches(options).items() if name in _JUDGING_SWITCHES},
            "prompts": prompt_hash(_JUDGING),
            "transcripts": options.transcripts is not None,
        },
        "protocol": options.protocol,
        "inputs": dict(inputs),
        "cases": list(cases),
        "runs": options.runs,
    }


def evaluated_checkpoint(options: EvaluateOptions) -> str:
    """Return the hash of the checkpoint that plays, empty where no folder of it is known.

    Raises:
        InputError: the setting `checkpoint` names neither a folder nor a run with a model, or the actors are two checkpoints.
    """
    if options.transcripts is not None:
        return _checkpoint_of(options.transcripts)
    if options.checkpoint:
        folder = find_folder(options.checkpoint)
        if folder is None:
            raise InputError(f"checkpoint='{options.checkpoint}' is neither a folder nor a run with a model; name what is served")
        return checkpoint_hash(folder)
    specs = [parse_spec(spec) for spec in options.actor]
    folders = [paths.expanded(spec.address) for spec in specs if spec.scheme in ("local", "vllm")]
    found = {checkpoint_hash(folder) for folder in folders if folder.is_dir()}
    if len(found) > 1:
        raise InputError(f"actor={list(options.actor)} names two checkpoints; an evaluation is of one")
    return found.pop() if found else ""


def _checkpoint_of(folder: Path) -> str:
    """Return the checkpoint whose transcripts are judged again."""
    try:
        return str(json.loads((folder / "manifest.json").read_bytes())["simulation"].get("checkpoint", ""))
    except (OSError, ValueError, KeyError, AttributeError):
        return ""


def simulation_manifest(options: EvaluateOptions, models: Mapping[Role, str], checkpoint: str = "") -> dict[str, Any]:
    """Return what determines the transcripts of a run, but the cases and the number of the run."""
    return {
        **({"checkpoint": checkpoint} if checkpoint else {}),
        "models": {role: model for role, model in sorted(models.items()) if role != "judge"},
        "protocol": {name: value for name, value in _switches(options).items() if name not in _JUDGING_SWITCHES},
        "seed": options.seed,
        "given": options.given,
        "retrieval": {**options.retrieval.model_dump(mode="json", exclude={"books"}), "books": _books_hash(options)},
        "prompts": prompt_hash(_PLAYING),
        "code": code_hash(),
    }


def key_of(described: Any) -> str:
    """Return the sha256 of a value with a JSON form."""
    return hashlib.sha256(json.dumps(described, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _switches(options: EvaluateOptions) -> dict[str, Any]:
    return options.acting.model_dump(mode="json")


def prompt_hash(names: Iterable[str]) -> str:
    """Return the sha256 of these prompts in all languages."""
    texts = {
        path.name: path.read_text("utf-8") for path in files("her.prompts").iterdir() if path.name.split(".")[0] in set(names)
    }
    return key_of(texts)


@cache
def code_hash() -> str:
    """Return the sha256 of the source files that decide what stands in a transcript."""
    found = [path for pattern in _CODE for path in sorted(paths.ROOT.glob(pattern))]
    found += [Path(__file__).with_name(f"{name}.py") for name in ("cases", "players", "protocols", "retrieval", "simulation")]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in found)).hexdigest()


def _books_hash(options: EvaluateOptions) -> str:
    if options.retrieval.mode == "none" or options.retrieval.books is None:
        return ""
    books = sorted(options.retrieval.books.glob("*.json"))
    return key_of([[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in books])
