"""Write samples in the forms that trainers read: TRL prompt-completion and verl as Parquet, ShareGPT as JSON lines.

The messages are those of the sample, unchanged. In TRL's form the completion is the target alone, so that the loss is
computed on nothing else; verl's `ground_truth` is what a reward model may see of the book's turn: no plan.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from her.errors import InputError
from her.format import parse
from her.training_data.samples import FORMAT
from her.types import Message, Sample
from her.view import Viewer, line

Table = Any
Form = Literal["trl", "verl", "sharegpt"]
ROWS = 512
"""Rows of a Parquet row group; at 10 kB a row, about 5 MB in memory."""
_REPEATED = ("speaker", "source", "transcript", "data_source", "ability")
_SHAREGPT_ROLES = {"system": "system", "user": "human", "assistant": "gpt"}


class ParquetRows:
    """Writer of one Parquet file, a row group at a time; the file appears when the block ends without an error.

    A thread compresses and writes one row group while the next one is made.

    Args:
        path: the file, replaced when it exists.
        to_table: `trl_table`, or `verl_table` of one split.
    """

    def __init__(self, path: Path, to_table: Callable[[Sequence[Sample]], Table]) -> None:
        self.path = path
        self.count = 0
        self._part = path.with_name(path.name + ".part")
        self._to_table = to_table
        self._rows: list[Sample] = []
        self._writer: Any = None
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> "ParquetRows":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        whole = False
        try:
            if kind is None:
                self._flush()
                self._wait()
                whole = True
        finally:
            self._thread.shutdown()
            if self._writer is not None:
                self._writer.close()
            if not whole:
                self._part.unlink(missing_ok=True)
        if whole:
            self._part.replace(self.path)

    def add(self, sample: Sample) -> None:
        """Append one row."""
        self._rows.append(sample)
        self.count += 1
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        from pyarrow import parquet

        # Without any rows the file is written all the same: it holds the schema, which a reader expects.
        if not self._rows and self._writer is not None:
            return
        table = self._to_table(self._rows)
        if self._writer is None:
            # A dictionary saves space where a column has few values; for long texts it only takes memory.
            repeated = [name for name in _REPEATED if name in table.column_names]
            schema = table.schema.with_metadata({"her_format": FORMAT})
            self._writer = parquet.ParquetWriter(self._part, schema, compression="zstd", use_dictionary=repeated)
        self._wait()  # one row group at a time is in the writer's hands, so that memory stays flat
        self._writing = self._thread.submit(self._writer.write_table, table, row_group_size=ROWS)
        self._rows.clear()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()


def trl_table(samples: Sequence[Sample]) -> Table:
    """Return the columns `prompt` and `completion` (lists of role and content), then the origin of the sample.

    `turn` is the id of the turn, `merged` those of the neighbouring turns of its speaker that were merged into it.
    """
    import pyarrow as pa

    columns = {
        "prompt": _messages([sample.messages[:-1] for sample in samples]),
        "completion": _messages([sample.messages[-1:] for sample in samples]),
        **{name: _texts([getattr(sample, name) for sample in samples]) for name in ("turn", "transcript", "speaker", "source")},
        "merged": _lists([sample.merged for sample in samples]),
    }
    return pa.table(columns)


def verl_table(samples: Sequence[Sample], split: str, first: int = 0) -> Table:
    """Return verl's RL rows: `data_source`, `prompt`, `ability`, `reward_model` with `ground_truth`, `extra_info`.

    Args:
        split: name of the split, for `extra_info`.
        first: `extra_info.index` of the first row.
    """
    import pyarrow as pa

    text = pa.string()
    extra = [("index", pa.int64()), *((name, text) for name in ("split", "turn", "transcript", "speaker", "source", "reference"))]
    rows = [
        {
            "index": index,
            "split": split,
            "turn": sample.turn,
            "transcript": sample.transcript,
            "speaker": sample.speaker,
            "source": sample.source,
            "reference": sample.messages[-1].content,
        }
        for index, sample in enumerate(samples, first)
    ]
    truths = [{"style": "model", "ground_truth": ground_truth(sample)} for sample in samples]
    columns = {
        "data_source": pa.array(["her"] * len(samples), text),
        "prompt": _messages([sample.messages[:-1] for sample in samples]),
        "ability": pa.array(["roleplay"] * len(samples), text),
        "reward_model": pa.array(truths, pa.struct([("style", text), ("ground_truth", text)])),
        "extra_info": pa.array(rows, pa.struct(extra)),
    }
    return pa.table(columns)


def verl_rows(path: Path, split: str) -> ParquetRows:
    """Return a writer of verl rows whose `extra_info.index` counts through the file."""
    written = 0

    def table(samples: Sequence[Sample]) -> Table:
        nonlocal written
        first, written = written, written + len(samples)
        return verl_table(samples, split, first)

    return ParquetRows(path, table)


def ground_truth(sample: Sample) -> str:
    """Return the book's turn as a reward model may see it: thoughts, actions and speech, no plan."""
    turn = parse(sample.messages[-1].content, sample.speaker, notation="her")
    return line(turn, Viewer(kind="reward_model"))


def sharegpt(sample: Sample) -> str:
    """Return one JSON line `{id, conversations: [{from, value}]}`; the last value is the one to train."""
    rows = [{"from": _SHAREGPT_ROLES[message.role], "value": message.content} for message in sample.messages]
    return json.dumps({"id": sample.turn, "conversations": rows}, ensure_ascii=False) + "\n"


def _messages(rows: Sequence[Sequence[Any]]) -> Any:
    """Return lists of messages as an Arrow column, built from flat columns: about ten times as fast as from dicts."""
    import pyarrow as pa

    flat: list[Message] = [message for row in rows for message in row]
    roles, contents = _texts([message.role for message in flat]), _texts([message.content for message in flat])
    return pa.ListArray.from_arrays(_starts(rows), pa.StructArray.from_arrays([roles, contents], names=["role", "content"]))


def _lists(rows: Sequence[Sequence[str]]) -> Any:
    """Return lists of texts as an Arrow column."""
    import pyarrow as pa

    return pa.ListArray.from_arrays(_starts(rows), _texts([text for row in rows for text in row]))


def _starts(rows: Iterable[Sequence[Any]]) -> Any:
    """Return the place in the flat column where each list begins, and the end of the last."""
    import pyarrow as pa

    places = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return pa.Array.from_buffers(pa.int32(), len(places), [None, pa.py_buffer(places)])


def _texts(texts: Sequence[str]) -> Any:
    """Texts as an Arrow column, from their bytes: `pyarrow.array` would import pandas, 0.4 s in every process.

    Raises:
        InputError: more than 2 GiB in one row group, which Arrow's offsets cannot count.
    """
    import pyarrow as pa

    # The messages of a history stand in every later prompt: each text is encoded once.
    bytes_of = {text: text.encode() for text in set(texts)}
    encoded = [bytes_of[text] for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > np.iinfo(np.int32).max:
        raise InputError(
            f"{len(texts)} rows have {ends[-1]:,} bytes of text; a row group holds at most 2 GiB, so shorten the prompts"
        )
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)
