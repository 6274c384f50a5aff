"""Check a folder before it leaves the machine: formats that cannot run code, whole weights, limits, licences, secrets."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from her.deploy.checkpoints import read_front_matter, weights_problem
from her.deploy.hub.secrets import Finding, SecretScanner
from her.deploy.hub.weights import check_weights
from her.errors import InputError

ALLOWED = frozenset(
    {".safetensors", ".json", ".jsonl", ".jinja", ".md", ".txt", ".yaml", ".yml", ".parquet", ".html", ".svg", ".png", ".model"}
)
"""Endings of files that are sent. All others are refused: pickles (.bin, .pt, .pth, .pkl, .ckpt), code (.py, .so), archives."""
PLAIN = ("LICENSE", "LICENCE", "NOTICE")
"""Beginnings of names that need no ending."""
MOST_BYTES = 50_000_000_000
"""Largest file: Git LFS on the Hub takes no larger one."""
MOST_FILES = 10_000
"""Most files of one publication: the Hub's advice for a folder."""
_SHOWN = 8
_NO_SHARING = ("cc-by-nd", "cc-by-nc-nd", "proprietary", "all-rights-reserved", "no-redistribution")
"""Beginnings of licences that forbid to hand on what was made from the work."""
_UNKNOWN = ("", "-", "unknown", "not stated", "none stated", "other")


def check_folder(folder: Path, names: Collection[str]) -> None:
    """Refuse files of a wrong form: code, pickles, too large, torn.

    Raises:
        InputError: names the first file and what would be right.
    """
    if len(names) > MOST_FILES:
        raise InputError(f"{len(names)} files would be sent, and {MOST_FILES} are the most; pack them into fewer, larger ones")
    for name in names:
        _check_file(name, folder / name)
    if any(name.endswith(".safetensors") for name in names) and (problem := weights_problem(folder)):
        raise InputError(f"the checkpoint is not whole: {problem}")


def _check_file(name: str, path: Path) -> None:
    if path.suffix.lower() not in ALLOWED and not path.name.upper().startswith(PLAIN):
        raise InputError(
            f"'{name}' is not sent: files with the ending '{path.suffix}' may hold code; weights go as .safetensors, "
            "rows as .jsonl or .parquet, text as .md, .json or .yaml"
        )
    if (size := path.stat().st_size) > MOST_BYTES:
        raise InputError(f"'{name}' has {size:,} bytes and {MOST_BYTES:,} are the most; save it in shards")
    if path.suffix == ".safetensors":
        check_weights(name, path)
    if path.suffix == ".json" and size < 1_000_000 and (keys := sorted(_remote_code(path))):
        raise InputError(f"'{name}' asks for code of the repository ({keys[0]}); publish a model of a class in transformers")


def _remote_code(path: Path) -> set[str]:
    try:
        return {key for key in _keys(json.loads(path.read_bytes())) if key in ("auto_map", "custom_pipelines")}
    except ValueError as error:
        raise InputError(f"'{path.name}' is not JSON ({error}); restore it") from error


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def check_secrets(folder: Path, names: Collection[str], accepted: Collection[str]) -> None:
    """Refuse secrets and personal names, except those that a person accepted by their fingerprints.

    Raises:
        InputError: lists the findings without showing them whole.
    """
    scanner = SecretScanner()
    found: list[Finding] = [finding for name in names for finding in scanner.scan(name, folder / name)]
    left = [finding for finding in found if finding.fingerprint not in accepted]
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        listed = "; ".join(str(finding) for finding in left[:_SHOWN])
        raise InputError(
            f"{len(left)} secrets or personal names would be published: {listed}{more}. Take them out and run it again, "
            f"or, if one of them is not a secret, accept it: --accept {left[0].fingerprint}"
        )


def check_licence(card: Path, licence: str, repository: str, public: bool) -> None:
    """Refuse what the licence in the card forbids.

    Args:
        licence: what the command names; it must not say another thing than the card.

    Raises:
        InputError: sharing is forbidden, a public repository would have no licence, or the name breaks a rule of the licence.
    """
    front = read_front_matter(card)
    stated = str(front.get("license_name") or front.get("license") or "").lower()
    stated = "" if stated in _UNKNOWN else stated
    if licence and stated and licence.lower() != stated:
        raise InputError(
            f"the card states the licence '{stated}' and --licence says '{licence}'; the base's licence holds, leave it out"
        )
    found = stated or licence.lower()
    for source, terms in _source_licences(card.read_text("utf-8")):
        if _forbids_sharing(terms):
            raise InputError(
                f"source '{source}' has the licence '{terms}', which forbids to hand on what was made from it; leave it out"
            )
        if public and terms in _UNKNOWN:
            raise InputError(
                f"the licence of source '{source}' is not known, and nothing goes public without one; give it to the run"
            )
    if _forbids_sharing(found):
        raise InputError(
            f"licence '{found}' forbids to hand on what was made from the work; nothing may be published, also not privately"
        )
    if public and not found:
        raise InputError(
            "the licence is not known, and nothing goes public without one; name it with --licence, such as apache-2.0"
        )
    if found.startswith("llama") and not repository.split("/")[1].lower().startswith("llama"):
        raise InputError(
            f"licence '{found}' asks that the name begins with 'Llama', and it is '{repository}'; choose such a name"
        )


def _forbids_sharing(licence: str) -> bool:
    return licence.lower().replace(" ", "-").startswith(_NO_SHARING)


def _source_licences(card: str) -> Iterator[tuple[str, str]]:
    """Yield source and licence of the table that the card of a data set has."""
    table = card.partition("### Sources and licences\n")[2].partition("\n#")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| ") and len(cells) >= 2 and cells[0] != "source" and not cells[0].startswith("---"):
            yield cells[0], cells[1]
