"""Write the card of a folder of exports: `README.md` with the metadata that the Hub reads and what a user of the rows must know.

It states what was counted: rows and why others were left out, how far people agree, how careful they were, and how a person who
withdraws leaves the rows.
"""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import her
from her.feedback.export import Exported, ExportFormat
from her.feedback.export_files import KEY, write_file
from her.feedback.people import people_report
from her.feedback.raters import RaterVote
from her.feedback.votes import rater_votes
from her.files.atomic import file_hash, replacing
from her.statistics import Interval
from her.store import Store
from her.store.exports import EVERYTHING, ExportFilter
from her.types import Value

_WHAT = {
    "jsonl": "one rating of a turn, a chat or a character, with the turn, its prompt and what the rater saw",
    "sft": "prompt and completion of well rated replies (TRL SFTTrainer)",
    "preference": "prompt, chosen and rejected from votes, edits, kept swipes and stars (TRL DPOTrainer)",
    "kto": "prompt, completion and label from thumbs (TRL KTOTrainer)",
    "rm": "prompt, chosen, rejected and margin (TRL RewardTrainer); a margin of 1 is a clear difference",
    "verdicts": "one blind vote: both replies, the verdict, what was seen; `worse` marks a catch pair, `repeat_of` a repeat",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))


class ExportedFacts(Value):
    """Footer of an exported file: its format, rows, what was left out and what it was limited to."""

    format: str
    rows: int
    left_out: dict[str, int]
    filter: dict[str, Any]


def write_export(store: Store, format: ExportFormat, out: Path, only: ExportFilter = EVERYTHING) -> tuple[Path, Exported]:
    """Write a file, or into a folder FORMAT.parquet and the card; return the path of the file and what was written.

    A folder is one that exists, or a new name without an ending.
    """
    if not out.is_dir() and (out.suffix or out.exists()):
        return out, write_file(store, format, out, only)
    file = out / f"{format}.parquet"
    exported = write_file(store, format, file, only)
    write_export_card(store, out)
    return file, exported


def write_export_card(store: Store, folder: Path) -> Path:
    """Write `README.md` for all exports in a folder, FORMAT.parquet each, and return its path."""
    files = {path.stem: facts for path in sorted(folder.glob("*.parquet")) if (facts := _facts(path)) is not None}
    hashes = {f"{name}.parquet": file_hash(folder / f"{name}.parquet") for name in files}
    path = folder / "README.md"
    with replacing(path) as file:
        file.write(card_text(files, hashes, rater_votes(store)))
    return path


def card_text(files: Mapping[str, ExportedFacts], hashes: Mapping[str, str], votes: tuple[RaterVote, ...]) -> str:
    """Return the text of the card, metadata included."""
    from huggingface_hub import DatasetCard

    body = "\n".join(
        [
            "# Ratings of role-play turns",
            "",
            f"Exported by her {her.__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with `her ratings export`. People "
            "chatted with personas whose inner life is visible and rated what they read; a prompt is the one that was sent.",
            "",
            *_table(
                ("file", "rows", "what a row is"), [(f"{n}.parquet", f"{f.rows:,}", _WHAT[f.format]) for n, f in files.items()]
            ),
            *_filters(files),
            *_left_out(files),
            *_people(votes),
            "## Withdrawal",
            "",
            "Raters are pseudonyms. What a person withdraws is in no export made afterwards: export again and replace these "
            "files; of a published data set `her publish --withdraw OWNER/NAME` takes the rows away, from its history as well.",
            "",
            "## Loading",
            "",
            "```python",
            "from datasets import load_dataset",
            *(f'{name} = load_dataset("FOLDER", "{name}", split="train")' for name in files),
            "```",
            "",
            *_table(("file", "sha256"), [(name, f"`{digest}`") for name, digest in hashes.items()]),
        ]
    )
    return str(DatasetCard(f"---\n{_metadata(files)}\n---\n\n{body}"))


def _metadata(files: Mapping[str, ExportedFacts]) -> str:
    from huggingface_hub import DatasetCardData

    most = max((facts.rows for facts in files.values()), default=0)
    return DatasetCardData(
        license="other",
        task_categories=["text-generation", "reinforcement-learning"],
        tags=["role-play", "human-feedback", "trl"],
        size_categories=[next((name for upper, name in _SIZES if most < upper), "n>10M")],
        configs=[
            {"config_name": name, "data_files": f"{name}.parquet", "default": not place} for place, name in enumerate(files)
        ],
    ).to_yaml()


def _filters(files: Mapping[str, ExportedFacts]) -> list[str]:
    rows = [
        (f"{name}.parquet", "; ".join(f"{key} = {_moment(key, value)}" for key, value in facts.filter.items() if value))
        for name, facts in files.items()
    ]
    limited = [row for row in rows if row[1]]
    return _table(("file", "limited to"), limited) if limited else []


def _moment(key: str, value: Any) -> str:
    if key in ("since", "until"):
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return _cell(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _left_out(files: Mapping[str, ExportedFacts]) -> list[str]:
    rows = [
        (f"{name}.parquet", reason, f"{count:,}") for name, facts in files.items() for reason, count in facts.left_out.items()
    ]
    return ["## Left out", "", *_table(("file", "why", "rows"), rows)] if rows else []


def _people(votes: tuple[RaterVote, ...]) -> list[str]:
    if not votes:
        return []
    report = people_report(votes)
    checks = sum(each.checks for each in report.raters)
    passed = sum(each.passed for each in report.raters)
    return [
        "## People",
        "",
        *_table(
            ("", ""),
            [
                ("blind votes, of all exports", f"{report.votes:,} of {len(report.raters)} raters"),
                ("pairs with two raters or more", f"{report.agreement.pairs:,}"),
                ("Krippendorff's alpha", _interval(report.agreement.alpha)),
                ("two people name the same winner", _interval(report.agreement.agreement)),
                ("same winner with sides swapped (chance 0.50)", _interval(report.consistency)),
                ("catch pairs and repeats passed", f"{passed:g} of {checks}" if checks else "none were asked"),
            ],
        ),
    ]


def _interval(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "unknown"
    limits = f" ({interval.low:.2f} to {interval.high:.2f})" if not math.isnan(interval.low) else ""
    return f"{interval.value:.2f}{limits}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return [*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows), ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _facts(path: Path) -> ExportedFacts | None:
    """Return the facts of an exported file; None for a file of somebody else."""
    from pyarrow import ArrowException, parquet

    try:
        found = (parquet.read_metadata(path).metadata or {}).get(KEY)
    except (ArrowException, OSError):
        return None
    return None if found is None else ExportedFacts.model_validate(json.loads(found))
