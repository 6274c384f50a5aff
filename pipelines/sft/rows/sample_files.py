"""Choose the samples of a run, from files (pipelines/models/sample_rows.py) and from written exchanges of personas.

Training and held-out samples never share a transcript. Order is kept, except that samples of one transcript become neighbours,
and within it those of one speaker: their prompts have a common prefix, and only neighbours can share it in a row.
"""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from her.errors import InputError
from her.runs.folder import run_folder
from her.types import Sample
from pipelines.models.persona_chats import chat_files, chat_samples, persona_chats
from pipelines.models.sample_rows import read_file, require_file
from pipelines.sft.options import SampleOptions


class SampleSplit(NamedTuple):
    """Samples to learn from, and samples held out for evaluation."""

    train: list[Sample]
    held_out: list[Sample]


def read_samples(options: SampleOptions, seed: int) -> SampleSplit:
    """Read all samples of a run.

    Raises:
        InputError: a file cannot be read or has another format version, a turn occurs twice, or a transcript is both in the
            training files and in the held-out files.
    """
    train = group_samples(_read_training(options, seed))
    if options.held_out:
        held_out = group_samples(sample for path in options.held_out for sample in read_file(path))
        known = {_conversation(sample) for sample in train}
        if both := next((sample for sample in held_out if _conversation(sample) in known), None):
            raise InputError(
                f"samples.held_out: transcript {both.transcript!r} of turn {both.turn!r} is also trained on, so the evaluation "
                "would measure memory; remove it from one of the two"
            )
        return SampleSplit(train, held_out)
    return split_samples(train, options.held_out_share, seed)


def input_files(options: SampleOptions) -> list[Path]:
    """List every file that the samples come from; InputError when one is missing."""
    files = [require_file(path) for path in (*training_files(options), *options.held_out)]
    return [*files, *(path for name in options.personas for path in chat_files(name))]


def training_files(options: SampleOptions) -> list[Path]:
    """List the files of training samples, those of runs first."""
    from_runs = [run_folder(name) / "dataset" / options.split / "trl.parquet" for name in options.runs]
    return [*from_runs, *options.files]


def group_samples(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples with those of one transcript together, at the place of its first; within it those of one speaker.

    Raises:
        InputError: a turn occurs twice.
    """
    groups: dict[str, dict[str, list[Sample]]] = {}
    turns: set[tuple[str, str]] = set()
    for sample in samples:
        key = (sample.transcript, sample.turn)
        # Rows without ids (older exports) cannot be checked.
        if all(key) and key in turns:
            raise InputError(
                f"turn {sample.turn!r} of transcript {sample.transcript!r} is twice in the samples; give every file once"
            )
        turns.add(key)
        # A sample without a transcript is a group of its own.
        speakers = groups.setdefault(sample.transcript or f"alone {len(turns)} {len(groups)}", {})
        speakers.setdefault(sample.speaker, []).append(sample)
    return [sample for speakers in groups.values() for group in speakers.values() for sample in group]


def split_samples(samples: list[Sample], share: float, seed: int) -> SampleSplit:
    """Hold out whole transcripts, chosen by the seed: at least one when a share is wanted and there are two, never all."""
    groups = list(dict.fromkeys(_conversation(sample) for sample in samples))
    count = min(max(round(share * len(groups)), 1), len(groups) - 1) if share and groups else 0
    chosen = set(random.Random(f"{seed} held out").sample(groups, count))
    split = SampleSplit([], [])
    for sample in samples:
        split[_conversation(sample) in chosen].append(sample)
    return split


def _read_training(options: SampleOptions, seed: int) -> Iterator[Sample]:
    for path in training_files(options):
        yield from read_file(path)
    for name in options.personas:
        yield from chat_samples(persona_chats(name, options.chats, options.exchanges, seed), options.plans)


def _conversation(sample: Sample) -> str:
    """Return the transcript's id, or for rows without one the system message, which is the same in all turns of a chat."""
    return sample.transcript or f"{sample.messages[0].role} {sample.messages[0].content}"
