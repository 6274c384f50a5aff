"""Read files of preferences: JSONL of `her.types.Preference`, and the rows of `her ratings export --format rm` or `preference`.

Exported rows, JSONL or Parquet, are conversational rows of TRL with the columns `speaker`, `rater`, `conversation` and `turns`
beside them; rows without a speaker, of another program, are refused, because nobody could say who is played in them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from her.errors import InputError
from her.files import jsonl
from her.format import parse
from her.types import Message, NonEmpty, Preference, Turn, Value, Verdict

BATCH_ROWS = 256
"""Parquet rows that are decoded at once."""


class PairRow(Value):
    """The columns of an exported pair that are read."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message]
    rejected: tuple[Message]
    speaker: NonEmpty
    margin: float = 1.0
    source: str = ""
    rater: str = ""
    conversation: str = ""
    split: str = ""
    turns: tuple[str, str] | None = None

    def preference(self) -> Preference:
        """Return the pair as a preference, its replies read from their text."""
        ids = self.turns or (None, None)
        chosen, rejected = (self._turn(*each) for each in zip((self.chosen[0], self.rejected[0]), ids, strict=True))
        return Preference(
            prompt=self.prompt,
            chosen=chosen,
            rejected=rejected,
            verdict=Verdict(winner="a", reason=self.source, judge=self.rater or "unknown"),
            margin=self.margin,
            rater=self.rater,
            conversation=self.conversation,
            split=self.split,
        )

    def _turn(self, message: Message, identity: str | None) -> Turn:
        return parse(message.content, self.speaker, notation="her", turn_id=identity)


def preferences_in(path: Path) -> Iterator[Preference]:
    """Yield the preferences of a file in their order.

    Raises:
        InputError: there is no such file, or a row is no preference; the message names file and row.
    """
    file = Path(path).expanduser()
    if file.suffix == ".parquet":
        yield from _exported(file, _parquet_rows(file))
    elif _holds_rows(file):
        yield from _exported(file, map(json.loads, filter(str.strip, file.read_text("utf-8").splitlines())))
    else:
        yield from jsonl.read(file, Preference)


def _holds_rows(file: Path) -> bool:
    """Return whether the first line is an exported row, whose replies are lists of messages."""
    try:
        with file.open(encoding="utf-8") as lines:
            first = json.loads(lines.readline())
    except (OSError, ValueError):
        return False  # said by who reads it as preferences
    return isinstance(first, Mapping) and isinstance(first.get("chosen"), list)


def _exported(file: Path, rows: Iterable[Any]) -> Iterator[Preference]:
    number = 1
    try:
        for row in rows:
            known = {name: value for name, value in row.items() if name in PairRow.model_fields and value is not None}
            yield PairRow.model_validate_json(json.dumps(known)).preference()
            number += 1
    except (ValueError, AttributeError) as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(
            f"file '{file}' row {number} is no pair ({why}); write it again with her ratings export --format rm"
        ) from error


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError as error:
        raise InputError(f"'{file}' cannot be read without pyarrow: pip install pyarrow; or export JSON lines") from error
    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(BATCH_ROWS):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise InputError(f"file '{file}' cannot be read as Parquet ({error}); write it again") from error
