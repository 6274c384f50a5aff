"""The samples of a run, read: Parquet of a synthesis, JSON lines of samples or of ratings, and the chats written for personas.

What is learned and what is held out never share a transcript. Order is kept, but the samples of one transcript become
neighbours, and in it those of one speaker: their prompts begin alike, and only neighbours share a row's history. Equal messages
are kept once, or a history of 40 turns would be in memory 40 times.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from her.errors import FormatVersionError, InputError
from her.files import jsonl
from her.format.tags import WRITTEN
from her.runs.folder import run_folder
from her.training_data.samples import FORMAT
from her.types import Message, Sample, Value
from her.view import opening
from pipelines.sft.options import SampleOptions
from pipelines.sft.rows.written_chats import chat_files, written_chats, written_samples

ROWS = 256
"""Parquet rows in memory beside the samples made of them."""
COLUMNS = ("prompt", "completion", "turn", "transcript", "speaker", "source")
REMEMBERED = 20_000
"""Messages that are looked up before an equal one is made."""
NAME = 80
"""Longest name, in characters, that a reply is searched for."""


class CompletionRow(Value):
    """A prompt-completion row, such as `her ratings export --format sft` writes; older ones say neither chat nor speaker."""

    prompt: tuple[Message, ...] = Field(min_length=1)
    completion: tuple[Message, ...] = Field(min_length=1, max_length=1)
    turn: str = ""
    transcript: str = ""
    speaker: str = ""
    source: str = ""


class Read(NamedTuple):
    """What is learned, and what is held out for evaluation."""

    train: list[Sample]
    held_out: list[Sample]


def read_samples(options: SampleOptions, seed: int) -> Read:
    """All samples of a run.

    Raises:
        InputError: a file cannot be read or has another format version, a turn stands in it twice, or a transcript is both
            learned and held out.
    """
    train = _neighbours(_learned(options, seed))
    if options.held_out:
        held_out = _neighbours(sample for path in options.held_out for sample in read_file(path))
        known = {_group(sample) for sample in train}
        if both := next((sample for sample in held_out if _group(sample) in known), None):
            raise InputError(
                f"samples.held_out: transcript {both.transcript!r} of turn {both.turn!r} is learned as well, so the evaluation "
                "would be of what is known by heart; take it from one of the two"
            )
        return Read(train, held_out)
    return _parted(train, options.held_out_share, seed)


def file_list(options: SampleOptions) -> list[Path]:
    """Every file that the samples are made from; InputError when one is not there."""
    files = [there(path) for path in (*learned_files(options), *options.held_out)]
    return [*files, *(path for name in options.personas for path in chat_files(name))]


def learned_files(options: SampleOptions) -> list[Path]:
    """The files of samples that are learned, those of runs first."""
    ran = [run_folder(name) / "dataset" / options.split / "trl.parquet" for name in options.runs]
    return [*ran, *options.files]


def there(path: Path) -> Path:
    """A file of samples, its home spelled out; InputError when it is not there."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"file '{file}' is not there; `her run synthesize` makes dataset/sft/trl.parquet in its run's folder")
    return file


def read_file(path: Path) -> Iterator[Sample]:
    """The samples of one file.

    Raises:
        InputError: it is neither Parquet nor JSON lines of samples, holds none, or a row of it is none; the line is named.
        FormatVersionError: the Parquet file was written by another version, or by nobody of the house.
    """
    file = there(path)
    if file.suffix == ".parquet":
        rows = _parquet(file)
    elif file.suffix == ".jsonl":
        rows = _lines(file)
    else:
        raise InputError(f"file '{file}' ends in {file.suffix!r}; samples are read from .parquet and .jsonl")
    empty = True
    for sample in rows:
        empty = False
        yield sample
    if empty:
        raise InputError(f"file '{file}' has no sample in it; leave it out")


def _learned(options: SampleOptions, seed: int) -> Iterator[Sample]:
    for path in learned_files(options):
        yield from read_file(path)
    for name in options.personas:
        yield from written_samples(written_chats(name, options.chats, options.exchanges, seed), options.plans)


def _neighbours(samples: Iterable[Sample]) -> list[Sample]:
    """The samples, those of one transcript together, where its first one stands; in it those of one speaker together."""
    groups: dict[str, dict[str, list[Sample]]] = {}
    turns: set[tuple[str, str]] = set()
    for sample in samples:
        key = (sample.transcript, sample.turn)
        if all(key) and key in turns:
            raise InputError(
                f"turn {sample.turn!r} of transcript {sample.transcript!r} stands twice in the samples; give every file once"
            )
        turns.add(key)
        speakers = groups.setdefault(sample.transcript or f"alone {len(turns)} {len(groups)}", {})
        speakers.setdefault(sample.speaker, []).append(sample)
    return [sample for speakers in groups.values() for spoken in speakers.values() for sample in spoken]


def _parted(samples: list[Sample], share: float, seed: int) -> Read:
    """Whole transcripts held out; at least one where a share is wanted and there are two, at most all but one."""
    groups = list(dict.fromkeys(_group(sample) for sample in samples))
    count = min(max(round(share * len(groups)), 1), len(groups) - 1) if share and groups else 0
    chosen = set(random.Random(f"{seed} held out").sample(groups, count))
    parts: tuple[list[Sample], list[Sample]] = ([], [])
    for sample in samples:
        parts[_group(sample) in chosen].append(sample)
    return Read(*parts)


def _group(sample: Sample) -> str:
    """What tells transcripts apart: the id, or for rows without one the system message, the same all through a chat."""
    return sample.transcript or f"{sample.messages[0].role} {sample.messages[0].content}"


def _lines(file: Path) -> Iterator[Sample]:
    """Samples, or prompt-completion rows; the first line decides."""
    kept = _Messages()
    form = _form(file)
    if form is Sample:
        for sample in jsonl.read(file, Sample):
            yield kept.of(sample)
        return
    for number, row in enumerate(jsonl.read(file, CompletionRow), 1):
        yield kept.of(_sample(row, f"file '{file}' line {number}"))


def _form(file: Path) -> type[Sample] | type[CompletionRow]:
    with file.open("rb") as lines:
        first = lines.readline()
    try:
        keys = set(json.loads(first))
    except (ValueError, TypeError):  # jsonl.read says what is wrong with it, and where
        return Sample
    if found := keys & {"chosen", "rejected", "label"}:
        raise InputError(f"file '{file}' has {sorted(found)[0]!r} in it: rows for another training; export it with --format sft")
    return CompletionRow if "prompt" in keys else Sample


def _parquet(file: Path) -> Iterator[Sample]:
    """Samples of a Parquet file, a few rows at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            _require_format(file, opened.schema_arrow)
            kept, number = _Messages(), 0
            for batch in opened.iter_batches(ROWS, columns=list(COLUMNS)):
                for fields in batch.to_pylist():
                    number += 1
                    yield kept.of(_sample(_row(fields, f"file '{file}' row {number}"), f"file '{file}' row {number}"))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"file '{file}' cannot be read as Parquet ({error}); write it anew") from error


def _require_format(file: Path, schema: Any) -> None:
    found = (schema.metadata or {}).get(b"her_format", b"").decode("utf-8", "replace")
    if found != FORMAT:
        said = f"format version {found!r}" if found else "no format version"
        raise FormatVersionError(
            f"file '{file}' has {said} and this HER reads version {FORMAT!r}; make it anew with `her run synthesize`"
        )
    if missing := [name for name in COLUMNS if name not in schema.names]:
        raise InputError(f"file '{file}' has no column {missing[0]!r}; samples are in the trl.parquet of a synthesis")


def _row(fields: dict[str, Any], where: str) -> CompletionRow:
    try:
        prompt, completion = (
            tuple(Message(role=each["role"], content=each["content"]) for each in fields[name])
            for name in ("prompt", "completion")
        )
        return CompletionRow(prompt=prompt, completion=completion, **{name: fields[name] for name in COLUMNS[2:]})
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} is no sample: {' '.join(str(error).split())[:200]}; write the file anew") from error


def _sample(row: CompletionRow, where: str) -> Sample:
    if row.completion[0].role != "assistant":
        raise InputError(f"{where}: the completion is said by {row.completion[0].role!r}; only the assistant's turns are learned")
    return Sample(
        messages=(*row.prompt, *row.completion),
        trained=(len(row.prompt),),
        turn=row.turn or where,
        transcript=row.transcript,
        speaker=row.speaker or _speaker(row, where),
        source=row.source,
    )


def _speaker(row: CompletionRow, where: str) -> str:
    """Whose reply it is: the name that it opens with, after its plan, and that the first line of the prompt knows.

    A name may hold a colon, so the longest that is known is taken.
    """
    reply = row.completion[0].content.rpartition(WRITTEN["system_thinking"][1])[2].lstrip()[:NAME]
    told = opening(row.prompt)
    ends = [place for place, char in enumerate(reply) if char in ":：" and reply[:place].strip()]
    for end in reversed(ends):
        if (name := reply[:end].strip()) in told:
            return name
    raise InputError(f"{where}: the reply opens with no name that the prompt's first line knows ({reply[:40]!r}); write 'Name: '")


class _Messages:
    """Equal messages kept once, the last so many."""

    def __init__(self) -> None:
        self._known: dict[Message, Message] = {}

    def of(self, sample: Sample) -> Sample:
        """The sample with messages that were there before, where there are equal ones."""
        if len(self._known) > REMEMBERED:
            self._known.clear()
        same: Sequence[Message] = [self._known.setdefault(message, message) for message in sample.messages]
        return sample.model_copy(update={"messages": tuple(same)})
