"""Read files of samples: Parquet of a synthesis, JSONL of samples or of ratings, as `her ratings export --format sft` writes it.

Equal messages are stored once; otherwise a history of 40 turns would be in memory 40 times.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from her.errors import FormatVersionError, InputError
from her.files import jsonl
from her.format.tags import WRITTEN
from her.training_data.samples import FORMAT
from her.types import Message, Sample, Value
from her.view import opening

BATCH_ROWS = 256
"""Parquet rows that are decoded at once."""
COLUMNS = ("prompt", "completion", "turn", "transcript", "speaker", "source")
CACHED_MESSAGES = 20_000
"""Messages in which an equal one is looked up."""
LONGEST_NAME = 80
"""Characters of a reply in which the speaker's name is searched."""


class CompletionRow(Value):
    """A prompt-completion row, as `her ratings export --format sft` writes it; older exports have no transcript and speaker."""

    prompt: tuple[Message, ...] = Field(min_length=1)
    completion: tuple[Message, ...] = Field(min_length=1, max_length=1)
    turn: str = ""
    transcript: str = ""
    speaker: str = ""
    source: str = ""


def require_file(path: Path) -> Path:
    """Return the path with `~` expanded; InputError when there is no such file."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"file '{file}' does not exist; `her run synthesize` makes dataset/sft/trl.parquet in its run's folder")
    return file


def read_file(path: Path) -> Iterator[Sample]:
    """Yield the samples of one file.

    Raises:
        InputError: not a Parquet or JSONL file of samples, no sample in it, or a wrong row, whose line is named.
        FormatVersionError: the Parquet file was written by another version of this project, or by another program.
    """
    file = require_file(path)
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
        raise InputError(f"file '{file}' has no sample in it; remove it from the settings")


def _lines(file: Path) -> Iterator[Sample]:
    """Yield the samples of a JSONL file of samples or of prompt-completion rows; its first line decides which."""
    messages = _MessageCache()
    if _line_type(file) is Sample:
        for sample in jsonl.read(file, Sample):
            yield messages.share(sample)
        return
    for number, row in enumerate(jsonl.read(file, CompletionRow), 1):
        yield messages.share(_to_sample(row, f"file '{file}' line {number}"))


def _line_type(file: Path) -> type[Sample] | type[CompletionRow]:
    with file.open("rb") as lines:
        first = lines.readline()
    try:
        keys = set(json.loads(first))
    except (ValueError, TypeError):  # jsonl.read reports what is wrong and where
        return Sample
    if others := keys & {"chosen", "rejected", "label"}:
        raise InputError(f"file '{file}' has {sorted(others)[0]!r} in it: rows for another training; export it with --format sft")
    return CompletionRow if "prompt" in keys else Sample


def _parquet(file: Path) -> Iterator[Sample]:
    """Yield the samples of a Parquet file, `BATCH_ROWS` rows at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            _require_format(file, opened.schema_arrow)  # before any row: another version may mean other columns
            messages, number = _MessageCache(), 0
            for batch in opened.iter_batches(BATCH_ROWS, columns=list(COLUMNS)):
                for fields in batch.to_pylist():
                    number += 1
                    where = f"file '{file}' row {number}"
                    yield messages.share(_to_sample(_parse_row(fields, where), where))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"file '{file}' cannot be read as Parquet ({error}); write it again") from error


def _require_format(file: Path, schema: Any) -> None:
    version = (schema.metadata or {}).get(b"her_format", b"").decode("utf-8", "replace")
    if version != FORMAT:
        described = f"format version {version!r}" if version else "no format version"
        raise FormatVersionError(
            f"file '{file}' has {described} and this HER reads version {FORMAT!r}; make it again with `her run synthesize`"
        )
    if missing := [name for name in COLUMNS if name not in schema.names]:
        raise InputError(f"file '{file}' has no column {missing[0]!r}; samples are in the trl.parquet of a synthesis run")


def _parse_row(fields: dict[str, Any], where: str) -> CompletionRow:
    try:
        prompt, completion = (
            tuple(Message(role=message["role"], content=message["content"]) for message in fields[name])
            for name in ("prompt", "completion")
        )
        return CompletionRow(prompt=prompt, completion=completion, **{name: fields[name] for name in COLUMNS[2:]})
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} is not a sample: {' '.join(str(error).split())[:200]}; write the file again") from error


def _to_sample(row: CompletionRow, where: str) -> Sample:
    if row.completion[0].role != "assistant":
        raise InputError(
            f"{where}: the completion has the role {row.completion[0].role!r}; only turns of the assistant are learned"
        )
    return Sample(
        messages=(*row.prompt, *row.completion),
        trained=(len(row.prompt),),
        turn=row.turn or where,
        transcript=row.transcript,
        speaker=row.speaker or _speaker(row, where),
        source=row.source,
    )


def _speaker(row: CompletionRow, where: str) -> str:
    """Return the name before the reply, after its plan, that the first line of the prompt names too.

    A name may contain a colon, so the longest name that matches is taken.
    """
    reply = row.completion[0].content.rpartition(WRITTEN["system_thinking"][1])[2].lstrip()[:LONGEST_NAME]
    cast = opening(row.prompt)
    ends = [place for place, char in enumerate(reply) if char in ":：" and reply[:place].strip()]
    for end in reversed(ends):
        if (name := reply[:end].strip()) in cast:
            return name
    raise InputError(f"{where}: the reply begins with no name from the prompt's first line ({reply[:40]!r}); write 'Name: '")


class _MessageCache:
    """Cache that lets samples share equal messages."""

    def __init__(self) -> None:
        self._messages: dict[Message, Message] = {}

    def share(self, sample: Sample) -> Sample:
        """Return the sample with cached messages in place of equal ones."""
        if len(self._messages) > CACHED_MESSAGES:
            self._messages.clear()
        shared = tuple(self._messages.setdefault(message, message) for message in sample.messages)
        return sample.model_copy(update={"messages": shared})
