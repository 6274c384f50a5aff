"""Write the dataset card: `README.md` with the metadata that Hugging Face reads, counts, hashes, models, prompts and licences.

It states only what was counted or hashed, and how each split is loaded (`load_dataset(FOLDER, "sft")`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from her.errors import InputError
from her.files.atomic import file_hash
from her.training_data.audit import AuditReport
from her.types import NonEmpty, Value

_LICENCES = (
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
"""Licence identifiers that the Hub knows; every other one is written as `other`."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
"""Size categories of the Hub: upper bound of the number of rows, name."""


class DatasetSource(Value):
    """A source of text: a book or file, its licence, and the number of transcripts made from it."""

    name: NonEmpty
    licence: str = "unknown"
    transcripts: int = 0


class DatasetFacts(Value):
    """Content of a dataset card.

    Args:
        name: name of the dataset.
        licence: of the whole dataset, an SPDX identifier in lower case, `unknown` or `other`.
        languages: languages of the transcripts.
        command: command that made it.
        commit: commit of the code; `seed` of the splits.
        split_by: `conversation` or `book`.
        splits: number of samples by split, in order.
        dropped: turns that became no sample, by reason; `held_out` the number of transcripts excluded for the test set.
        plans: whether every target has a plan.
        models: the model that each question was asked of, by question name.
        prompts: sha256 of each prompt, by file name.
        inputs: sha256 of each input, by file name.
        sources: the books, with licences.
        test_set: file name of the test set that is held out, or empty.
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
    sources: tuple[DatasetSource, ...] = ()
    test_set: str = ""


def write_card(folder: Path, facts: DatasetFacts, reports: Sequence[AuditReport] = ()) -> Path:
    """Write `README.md` into the folder of a dataset, with the hash of every file in it, and return its path.

    The folder must hold `SPLIT/trl.parquet` for every split.

    Raises:
        InputError: a split has no such file.
    """
    for split in facts.splits:
        if not (folder / split / "trl.parquet").is_file():
            raise InputError(f"dataset '{folder.name}': split '{split}' has no trl.parquet; write the samples before the card")
    path = folder / "README.md"
    path.write_text(card_text(facts, file_hashes(folder), reports), "utf-8")
    return path


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a dataset except its card, by its path in the folder."""
    # `.part` files are left by a writer that was killed.
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md" and path.suffix != ".part")
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def card_text(facts: DatasetFacts, files: Mapping[str, str], reports: Sequence[AuditReport] = ()) -> str:
    """Return the text of the card, metadata included."""
    from huggingface_hub import DatasetCard

    body = "\n".join(
        [
            f"# {_in_cell(facts.name)}",
            "",
            "Role-play turns with two layers of thinking: a plan of the actor (third person, in every target and in no history) "
            "and what the character thinks, does and says. One row per turn; its prompt is the one the playground sends."
            if facts.plans
            else "Role-play turns as the books have them: thoughts, actions and speech, without plans. One row per turn.",
            "",
            *_counts(facts),
            *_audit(reports),
            *_provenance(facts),
            *_table("Files", ("file", "sha256"), files),
            *_loading(facts),
        ]
    )
    return str(DatasetCard(f"---\n{_metadata(facts)}\n---\n\n{body}"))


def _metadata(facts: DatasetFacts) -> str:
    """Return the YAML that the Hub reads: licence, language, size, and one configuration per split."""
    from huggingface_hub import DatasetCardData

    total = sum(facts.splits.values())
    configs = [
        {"config_name": name, "data_files": [{"split": "test" if name == "test" else "train", "path": f"{name}/trl.parquet"}]}
        for name in facts.splits
    ]
    return DatasetCardData(
        license=facts.licence if facts.licence in _LICENCES else "other",
        language=list(facts.languages),
        task_categories=["text-generation"],
        tags=["role-play", "reasoning"],
        size_categories=[next((name for upper, name in _SIZES if total < upper), "n>10M")],
        configs=configs,
    ).to_yaml()


def _counts(facts: DatasetFacts) -> list[str]:
    lines = ["## Splits", "", f"Split by {facts.split_by}, seed {facts.seed}; every conversation is in one split only.", ""]
    lines += ["| split | samples |", "| --- | --- |", *(f"| {name} | {count} |" for name, count in facts.splits.items()), ""]
    if facts.dropped:
        lines += [f"Turns that became no sample: {', '.join(f'{name} {count}' for name, count in facts.dropped.items())}.", ""]
    if facts.test_set:
        lines += [
            f"Held out for {_in_cell(facts.test_set)}: {facts.held_out} transcripts, by case, by book and by spoken lines.",
            "",
        ]
    return lines


def _audit(reports: Sequence[AuditReport]) -> list[str]:
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
        lines.append(f"| {report.name} | {kept} | {report.longest} | {len(report.problems)} | {_in_cell(report.encoder)} |")
    return [*lines, ""]


def _provenance(facts: DatasetFacts) -> list[str]:
    lines = ["## How it was made", ""]
    if facts.command:
        lines += ["```", facts.command, "```", ""]
    if facts.commit:
        lines += [f"Commit `{facts.commit}`.", ""]
    lines += _table("Models", ("question", "model"), facts.models)
    lines += _table("Prompts", ("prompt", "sha256"), facts.prompts)
    lines += _table("Inputs", ("input", "sha256"), facts.inputs)
    lines += ["### Sources and licences", "", "| source | licence | transcripts |", "| --- | --- | --- |"]
    lines += [f"| {_in_cell(source.name)} | {_in_cell(source.licence)} | {source.transcripts} |" for source in facts.sources]
    return [*lines, ""]


def _table(title: str, heads: tuple[str, str], rows: Mapping[str, str]) -> list[str]:
    if not rows:
        return []
    body = [f"| {_in_cell(name)} | `{_in_cell(value)}` |" for name, value in rows.items()]
    return [f"### {title}", "", f"| {heads[0]} | {heads[1]} |", "| --- | --- |", *body, ""]


def _loading(facts: DatasetFacts) -> list[str]:
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
        "TRL trains `completion` and nothing else of a row. Beside each `trl.parquet` there are `sharegpt.jsonl` and, for",
        "reinforcement learning, `verl.parquet`, whose `ground_truth` is the book's turn without its plan.",
        "",
    ]


def _in_cell(text: str) -> str:
    """Text that cannot end a table cell or a code span."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
