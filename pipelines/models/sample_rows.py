"""Read files of samples: Parquet of a synthesis, JSONL of samples or of ratings, as `her ratings export --format sft` writes it.

Conversations of other programs, rows with a list `messages`, are read as well, from JSONL and Parquet: every message of the
assistant is a target, and its plan is in no history. Columns that nothing here reads are left out.

Equal messages are stored once; otherwise a history of 40 turns would be in memory 40 times.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

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


class _KnownColumns(Value):
    """A row of which only the fields that are declared are read, also of its messages."""

    @model_validator(mode="before")
    @classmethod
    def _drop_unknown(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        known = {name: value for name, value in row.items() if name in cls.model_fields}
        for name in known.keys() & {"messages", "prompt", "completion"}:
            if isinstance(known[name], list | tuple):
                known[name] = tuple(_bare(message) for message in known[name])
        return known


def _bare(message: Any) -> Any:
    return {name: message[name] for name in ("role", "content") if name in message} if isinstance(message, dict) else message


class ChatRow(_KnownColumns):
    """A conversation of another program; every message of the assistant is a target."""

    messages: tuple[Message, ...] = Field(min_length=2)


class CompletionRow(_KnownColumns):
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
    kind = _line_type(file)
    if kind is ChatRow:
        for number, chat in enumerate(jsonl.read(file, ChatRow), 1):
            yield from map(messages.share, _chat_samples(chat, f"file '{file}' line {number}", f"{file.name} line {number}"))
        return
    if kind is Sample:
        for sample in jsonl.read(file, Sample):
            yield messages.share(sample)
        return
    for number, row in enumerate(jsonl.read(file, CompletionRow), 1):
        yield messages.share(_to_sample(row, f"file '{file}' line {number}"))


def _line_type(file: Path) -> type[Sample] | type[CompletionRow] | type[ChatRow]:
    with file.open("rb") as lines:
        first = lines.readline()
    try:
        keys = set(json.loads(first))
    except (ValueError, TypeError):  # jsonl.read reports what is wrong and where
        return Sample
    if others := keys & {"chosen", "rejected", "label"}:
        raise InputError(f"file '{file}' has {sorted(others)[0]!r} in it: rows for another training; export it with --format sft")
    if "messages" in keys and "trained" not in keys:
        return ChatRow
    return CompletionRow if "prompt" in keys else Sample


def _parquet(file: Path) -> Iterator[Sample]:
    """Yield the samples of a Parquet file, `BATCH_ROWS` rows at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            if "messages" in opened.schema_arrow.names and "prompt" not in opened.schema_arrow.names:
                yield from _parquet_chats(file, opened)
                return
            _require_format(file, opened.schema_arrow)  # before any row: another version may mean other columns
            messages, number = _MessageCache(), 0
            for batch in opened.iter_batches(BATCH_ROWS, columns=list(COLUMNS)):
                for fields in batch.to_pylist():
                    number += 1
                    where = f"file '{file}' row {number}"
                    yield messages.share(_to_sample(_parse_row(fields, where), where))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"file '{file}' cannot be read as Parquet ({error}); write it again") from error


def _parquet_chats(file: Path, opened: Any) -> Iterator[Sample]:
    """Yield the samples of conversations in a column `messages`."""
    messages, number = _MessageCache(), 0
    for batch in opened.iter_batches(BATCH_ROWS, columns=["messages"]):
        for fields in batch.to_pylist():
            number += 1
            where = f"file '{file}' row {number}"
            try:
                chat = ChatRow.model_validate(fields)
            except ValueError as error:
                raise InputError(f"{where} is not a conversation: {' '.join(str(error).split())[:200]}; correct it") from error
            yield from map(messages.share, _chat_samples(chat, where, f"{file.name} row {number}"))


def _chat_samples(chat: ChatRow, where: str, transcript: str) -> Iterator[Sample]:
    """Yield a sample for every message of the assistant; the plan of an earlier one is left out of the history."""
    shown = [Message(role=each.role, content=_without_plan(each)) for each in chat.messages]
    targets = [place for place, message in enumerate(chat.messages) if message.role == "assistant" and place]
    if not targets:
        raise InputError(f"{where}: no message of the assistant has one before it; a conversation needs a prompt and a reply")
    for place in targets:
        row = CompletionRow(prompt=tuple(shown[:place]), completion=(chat.messages[place],))
        sample = _to_sample(row, f"{where}, message {place + 1}")
        yield sample.model_copy(update={"transcript": transcript, "turn": f"{transcript} message {place + 1}"})


def _without_plan(message: Message) -> str:
    opening_tag, closing = WRITTEN["system_thinking"]
    if message.role != "assistant" or not message.content.lstrip().startswith(opening_tag):
        return message.content
    return message.content.partition(closing)[2]


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

    A name may contain a colon, so the longest name that matches is taken. Where no system message names a cast, it is the name
    at the reply's beginning.
    """
    reply = row.completion[0].content.rpartition(WRITTEN["system_thinking"][1])[2].lstrip()[:LONGEST_NAME]
    cast = opening(row.prompt) if row.prompt[0].role == "system" else None
    ends = [place for place, char in enumerate(reply) if char in ":：" and reply[:place].strip()]
    if cast is None and ends:
        return reply[: ends[0]].strip()
    for end in reversed(ends if cast else []):
        if (name := reply[:end].strip()) in (cast or ""):
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
