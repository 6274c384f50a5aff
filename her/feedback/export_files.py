"""Write an export as a file or as a dataset: JSON lines, Parquet, or a folder with Parquet and the card that the Hub shows.

Parquet is made from the same lines as JSONL, by Arrow's JSON reader: it reads a block of lines in threads and C++, where a row of
Python values would take three times as long. Columns have fixed types, so that files of two exports can be joined.
"""

import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from her.errors import InputError
from her.feedback.export import Exported, ExportFormat, lines
from her.feedback.export_schema import NOTHING, schema_of
from her.feedback.rubric import RUBRIC
from her.files.atomic import replacing
from her.store import Store
from her.store.exports import EVERYTHING, ExportFilter, old_dimensions

BLOCK = 8_000_000
"""Characters of lines that become one row group: some 30 MB of memory while they are written."""
KEY = b"her_export"
"""Key of the file's metadata under which its format, filter and counts stand as JSON."""


def write_file(store: Store, format: ExportFormat, path: Path, only: ExportFilter = EVERYTHING) -> Exported:
    """Write or replace one file: Parquet where its name ends so, else JSON lines. After an error the old file is unchanged.

    Raises:
        InputError: the file cannot be written, or Parquet is asked for and pyarrow is not installed.
    """
    left_out: Counter[str] = Counter()
    written = 0
    if path.suffix == ".parquet":
        with ParquetLines(path, format, only, old_dimensions(store, RUBRIC.version)) as parquet:
            for line in lines(store, format, left_out, only):
                parquet.add(line)
            parquet.left_out = dict(sorted(left_out.items()))
            written = parquet.count
    else:
        with replacing(path) as file:
            for line in lines(store, format, left_out, only):
                file.write(line)
                written += 1
    return Exported(written=written, left_out=dict(sorted(left_out.items())))


class ParquetLines:
    """Writer of a Parquet file from JSON lines, a block at a time; the file appears when the block ends without an error.

    `dimensions` are those of earlier rubrics, which have columns beside those of the present one; `changed` see `schema_of`.
    """

    def __init__(
        self,
        path: Path,
        format: ExportFormat,
        only: ExportFilter,
        dimensions: Iterable[str] = (),
        changed: Mapping[str, Any] = NOTHING,
    ) -> None:
        self.count = 0
        self.left_out: dict[str, int] = {}
        self._path, self._part = path, path.with_name(f".{path.name}.{os.getpid()}.part")
        self._format, self._only, self._dimensions, self._changed = format, only, tuple(dimensions), changed
        self._lines: list[str] = []
        self._size = 0

    def __enter__(self) -> "ParquetLines":
        parquet = _pyarrow()
        self._schema = schema_of(self._format, self._dimensions, self._changed)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A dictionary saves space where texts repeat, as the history of a chat does in its later prompts.
            self._writer = parquet.ParquetWriter(self._part, self._schema, compression="zstd", compression_level=1)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def add(self, line: str) -> None:
        """Append one line."""
        self._lines.append(line)
        self._size += len(line)
        self.count += 1
        if self._size >= BLOCK:
            self._flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._flush()
                about = {"format": self._format, "rows": self.count, "left_out": self.left_out}
                text = json.dumps(about | {"filter": self._only.model_dump(mode="json")}, ensure_ascii=False)
                self._writer.add_key_value_metadata({KEY: text.encode()})
            self._writer.close()
            if kind is None:
                self._part.replace(self._path)
        except OSError as problem:
            raise self._failed(problem) from problem
        finally:
            with suppress(FileNotFoundError):
                self._part.unlink()

    def _flush(self) -> None:
        if not self._lines:
            return
        try:
            self._writer.write_table(_table(self._lines, self._schema))
        except OSError as error:
            raise self._failed(error) from error
        self._lines.clear()
        self._size = 0

    def _failed(self, error: OSError) -> InputError:
        why = error.strerror or error
        return InputError(f"'{self._path}' cannot be written ({why}); free disk space or choose another path")


def _table(rows: Iterable[str], schema: Any) -> Any:
    """Return lines as a table; the longest line has to fit into a block of Arrow's reader."""
    from pyarrow import json as arrow_json

    text = "".join(rows).encode()
    longest = max(map(len, rows)) * 4
    read = arrow_json.ReadOptions(block_size=max(1 << 20, longest), use_threads=True)
    parse = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    return arrow_json.read_json(io.BytesIO(text), read_options=read, parse_options=parse).select(schema.names).cast(schema)


def _pyarrow() -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise InputError("Parquet needs pyarrow: pip install pyarrow; or write JSON lines to a file *.jsonl") from error
    return parquet
