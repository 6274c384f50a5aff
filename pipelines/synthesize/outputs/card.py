"""The dataset card: a README that Hugging Face reads, with counts, hashes, models, prompts and licences of the sources.

The card tells how to load each split (`load_dataset(FOLDER, "sft")`), and nothing that was not counted or hashed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from her.errors import InputError
from her.training_data.audit import AuditReport
from her.types import NonEmpty, Value

_SPDX = (
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "pddl",
    "unknown",
    "other",
)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))


class CardSource(Value):
    """Where text came from: a book or a file, its licence, and how many transcripts it gave."""

    name: NonEmpty
    licence: str = "unknown"
    transcripts: int = 0


class CardFacts(Value):
    """What a card tells.

    Args:
        name: of the dataset.
        licence: of the whole, an SPDX identifier in lower case, `unknown` or `other`.
        languages: of the transcripts.
        command: that made it.
        commit: of the code; `seed` of the splits.
        split_by: `conversation` or `book`.
        splits: samples by split, in order.
        dropped: turns that became no sample, by reason; `held_out` transcripts left out for the test set.
        plans: whether every target has a plan.
        models: what each stage was asked of, by stage.
        prompts: hash of each prompt, by file name.
        inputs: hash of each input, by name.
        sources: the books, with licences.
        test_set: name of the test set held out, or empty.
    """

    name: NonEmpty
    licence: str = "unknown"
    languages: tuple[str, ...] = ("en",)
    command: str = ""
    commit: str = ""
    seed: int = 0
    split_by: str = "conversation"
    splits: dict[str, int]
    dropped: dict[str, int] = {}
    held_out: int = 0
    plans: bool = True
    models: dict[str, str] = {}
    prompts: dict[str, str] = {}
    inputs: dict[str, str] = {}
    sources: tuple[CardSource, ...] = ()
    test_set: str = ""


def write_card(folder: Path, facts: CardFacts, reports: Sequence[AuditReport] = ()) -> Path:
    """Write `README.md` into a dataset's folder, with the hash of every file in it.

    The folder holds `SPLIT/trl.parquet` for every split.

    Raises:
        InputError: a split has no such file.
    """
    for split in facts.splits:
        if not (folder / split / "trl.parquet").is_file():
            raise InputError(f"dataset '{folder.name}': split '{split}' has no trl.parquet; write the samples before the card")
    path = folder / "README.md"
    path.write_text(card(facts, hashes(folder), reports), "utf-8")
    return path


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a dataset's folder but its card, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md" and path.suffix != ".part")
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def card(facts: CardFacts, files: Mapping[str, str], reports: Sequence[AuditReport] = ()) -> str:
    """The text of the card."""
    return "\n".join(
        [
            *_front_matter(facts),
            f"# {_plain(facts.name)}",
            "",
            "Role-play turns with two layers of thinking: a plan by the one who plays (third person, in every target and in no "
            "history) and what the character thinks, does and says. One row a turn; the prompt is the one the playground sends."
            if facts.plans
            else "Role-play turns as the books have them: thoughts, acts and speech, without plans. One row a turn.",
            "",
            *_counts(facts),
            *_lengths(reports),
            *_provenance(facts),
            *_table("Files", ("file", "sha256"), files),
            *_loading(facts),
        ]
    )


def _front_matter(facts: CardFacts) -> list[str]:
    total = sum(facts.splits.values())
    lines = ["---", f"license: {facts.licence if facts.licence in _SPDX else 'other'}", "language:"]
    lines += [f"- {language}" for language in facts.languages]
    lines += ["task_categories:", "- text-generation", "tags:", "- role-play", "- reasoning", "size_categories:"]
    lines += [f"- {next((name for upper, name in _SIZES if total < upper), 'n>10M')}", "configs:"]
    for split in facts.splits:
        kind = "test" if split == "test" else "train"
        lines += [f"- config_name: {split}", "  data_files:", f"  - split: {kind}", f"    path: {split}/trl.parquet"]
    return [*lines, "---", ""]


def _counts(facts: CardFacts) -> list[str]:
    lines = ["## Splits", "", f"Split by {facts.split_by}, seed {facts.seed}; no conversation is in two of them.", ""]
    lines += ["| split | samples |", "| --- | --- |", *(f"| {name} | {count} |" for name, count in facts.splits.items()), ""]
    if facts.dropped:
        lines += [f"Turns that became no sample: {', '.join(f'{name} {count}' for name, count in facts.dropped.items())}.", ""]
    if facts.test_set:
        lines += [
            f"Held out for {_plain(facts.test_set)}: {facts.held_out} transcripts, by case, by book and by what is said.",
            "",
        ]
    return lines


def _lengths(reports: Sequence[AuditReport]) -> list[str]:
    if not reports:
        return []
    lines = [
        "## Audit",
        "",
        "| split | target tokens kept | longest | problems | counted with |",
        "| --- | --- | --- | --- | --- |",
    ]
    for report in reports:
        share = report.kept_tokens / report.target_tokens if report.target_tokens else 0.0
        kept = f"{report.kept_tokens} ({share:.1%})"
        lines.append(f"| {report.name} | {kept} | {report.longest} | {len(report.problems)} | {_plain(report.encoder)} |")
    return [*lines, ""]


def _provenance(facts: CardFacts) -> list[str]:
    lines = ["## How it was made", ""]
    if facts.command:
        lines += ["```", facts.command, "```", ""]
    if facts.commit:
        lines += [f"Commit `{facts.commit}`.", ""]
    lines += _table("Models", ("stage", "model"), facts.models)
    lines += _table("Prompts", ("prompt", "sha256"), facts.prompts)
    lines += _table("Inputs", ("input", "sha256"), facts.inputs)
    lines += ["### Sources and licences", "", "| source | licence | transcripts |", "| --- | --- | --- |"]
    lines += [f"| {_plain(source.name)} | {_plain(source.licence)} | {source.transcripts} |" for source in facts.sources]
    return [*lines, ""]


def _table(title: str, heads: tuple[str, str], rows: Mapping[str, str]) -> list[str]:
    if not rows:
        return []
    body = [f"| {_plain(name)} | `{_plain(value)}` |" for name, value in rows.items()]
    return [f"### {title}", "", f"| {heads[0]} | {heads[1]} |", "| --- | --- |", *body, ""]


def _loading(facts: CardFacts) -> list[str]:
    split = next(iter(facts.splits), "sft")
    return [
        "## Loading",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'rows = load_dataset({json.dumps(facts.name)}, "{split}")',
        "```",
        "",
        "TRL trains `completion` and nothing else of a row. Beside each `trl.parquet` stand `sharegpt.jsonl` and, for",
        "reinforcement learning, `verl.parquet`, whose `ground_truth` is the book's turn without its plan.",
        "",
    ]


def _plain(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
