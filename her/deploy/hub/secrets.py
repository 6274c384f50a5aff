"""Find secrets and personal names in the files that would be published. A finding is named by a fingerprint, never shown whole.

The list is our own. detect-secrets, the Python scanner that is usually taken, had its last release in May 2024 (1.5.0).
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from her import paths
from her.errors import InputError

_PATTERNS = {
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "API key": r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{20,}",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    "Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "Slack token": r"\bxox[abprs]-[0-9A-Za-z-]{10,}",
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "password in an address": r"\b[a-z][a-z0-9+]{2,20}://[^\s/:@\"']{1,60}:[^\s/@\"']{3,60}@[\w.-]+",
}
_PERSONAL = {
    "e-mail address": r"\b[A-Za-z0-9._%+-]{1,60}@(?!example\.)[A-Za-z0-9-]{1,60}(?:\.[A-Za-z0-9-]{1,60}){0,4}\.[A-Za-z]{2,10}\b",
    "home folder": r"(?<![\w.])/(?:home|Users)/[A-Za-z][\w.-]*",
}
NAMES = "private_names.txt"
"""File in HER_HOME with names that must not be published, one a line."""
_VOCABULARIES = frozenset({"tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"})
"""Files of pieces of words, in which a name or an address stands by chance."""
_LONGEST_LINE = 1 << 20


class Finding(NamedTuple):
    """Something that should not be published.

    Args:
        fingerprint: 8 hexadecimal digits, by which a person accepts it.
    """

    file: str
    place: str
    what: str
    shown: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.file} {self.place}: {self.what} {self.shown} [{self.fingerprint}]"


class SecretScanner:
    """The patterns of this machine: known forms of keys, its own keys, and names that are private here."""

    def __init__(self) -> None:
        secret = dict(_PATTERNS)
        if own := paths.secret_values():
            secret["key of this machine"] = "|".join(map(re.escape, own))
        personal = dict(_PERSONAL)
        if names := private_names():
            personal["private name"] = rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)"
        self._secret = {what: re.compile(pattern) for what, pattern in secret.items()}
        self._personal = {what: re.compile(pattern) for what, pattern in personal.items()}

    def scan(self, name: str, path: Path) -> Iterator[Finding]:
        """Yield what is found in a file, each thing once.

        Raises:
            InputError: the file cannot be searched.
        """
        patterns = self._secret if Path(name).name in _VOCABULARIES else {**self._secret, **self._personal}
        seen: set[str] = set()
        for place, text in texts_of(path):
            for finding in _findings(name, place, text, patterns):
                if finding.fingerprint not in seen:
                    seen.add(finding.fingerprint)
                    yield finding


def private_names() -> list[str]:
    """Return the names of `private_names.txt` in HER_HOME; none without the file."""
    path = paths.home() / NAMES
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _findings(name: str, place: str, text: str, patterns: Mapping[str, re.Pattern[str]]) -> Iterator[Finding]:
    for what, pattern in patterns.items():
        for match in pattern.finditer(text):
            value = match[0]
            fingerprint = hashlib.sha256(value.encode()).hexdigest()[:8]
            yield Finding(name, place, what, f"'{value[:4]}...' of {len(value)} characters", fingerprint)


def texts_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield place and text of everything readable in a file: lines, rows of Parquet, the header of safetensors.

    Raises:
        InputError: a Parquet file, and pyarrow is not installed.
    """
    if path.suffix == ".safetensors":
        yield "header", json.dumps(safetensors_header(path).get("__metadata__", {}), ensure_ascii=False)
    elif path.suffix == ".parquet":
        yield from _rows(path)
    else:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                yield f"line {number}", line.decode("utf-8", errors="replace")


def safetensors_header(path: Path) -> dict[str, dict[str, object]]:
    """Return the header of a safetensors file: name -> dtype, shape and offsets.

    Raises:
        InputError: the file is not in this format, or has another length than its header says.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        try:
            if not 2 <= length <= 100_000_000:
                raise ValueError(f"its header would have {length} bytes")
            header: dict[str, dict[str, object]] = json.loads(file.read(length))
            ends = [int(entry["data_offsets"][1]) for key, entry in header.items() if key != "__metadata__"]  # type: ignore[index]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{path.name}' is not a whole safetensors file ({error}); save the model again") from error
    if (size := path.stat().st_size) != 8 + length + max(ends, default=0):
        raise InputError(f"'{path.name}' has {size} bytes and should have {8 + length + max(ends, default=0)}; save it again")
    return header


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise InputError(
            f"'{path.name}' cannot be searched for secrets without pyarrow; install it: pip install 'her[train]'"
        ) from error
    row = 0
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
        for value in batch.to_pylist():
            row += 1
            yield f"row {row}", json.dumps(value, ensure_ascii=False, default=str)
