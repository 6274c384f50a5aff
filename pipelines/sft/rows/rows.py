"""Encode samples and write them as the rows that a trainer reads, in either layout, as memory-mapped Arrow files.

train/ held_out/   rows.arrow with input_ids, labels, position_ids and the spans of pipelines/models/prefix_tree.py
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from her.types import Sample, Value
from her.view import opening
from pipelines.models.chat_template import AT_ONCE, ChatTemplate
from pipelines.models.prefix_tree import Encoded, Ids, TokenRow, build_row, grow_trees, pack
from pipelines.sft.options import TrainingOptions

TEXT_ROW_TOKENS = 1024
"""Tokens of a row of text pretraining. Rows of 2,560 gave half as many steps and a loss of 3.3 instead of 2.2."""


class RowFacts(Value):
    """Counts of the rows of a run.

    Args:
        targets: trained target turns.
        held_out: target turns that are evaluated.
        rows: training rows; an estimate where TRL packs them.
        expanded_tokens: tokens of all targets, each with its own prompt.
        laid_tokens: tokens of the rows.
        longest: tokens of the longest sample.
    """

    targets: int
    held_out: int
    rows: int
    expanded_tokens: int
    laid_tokens: int
    longest: int


def encode_samples(samples: Sequence[Sample], template: ChatTemplate) -> Iterator[Encoded]:
    """Yield the tokens of all samples, a chunk at a time: all of them together can take gigabytes."""
    for first in range(0, len(samples), AT_ONCE):
        chunk = samples[first : first + AT_ONCE]
        yield from with_keys(chunk, template.pairs(chunk), first)


def with_keys(samples: Sequence[Sample], pairs: Sequence[tuple[Ids, Ids]], first: int = 0) -> list[Encoded]:
    """Give tokens of samples the key of their conversation and speaker; samples with the same key may share their history.

    Args:
        pairs: ids of prompt and target of each sample.
        first: index of the first sample among all, a unique key for samples without a transcript.
    """
    return [
        # Another character sees the same conversation with other thoughts, so its history cannot be shared.
        Encoded(f"{sample.transcript} {sample.speaker}" if sample.transcript else str(index), *pair)
        for index, (sample, pair) in enumerate(zip(samples, pairs, strict=True), first)
    ]


def encode_passages(samples: Sequence[Sample], template: ChatTemplate) -> Iterator[Encoded]:
    """Yield each target in short, for text pretraining: first line of its prompt, the message before it, and the target.

    The first line names the speakers. All tokens are trained, from the second on.
    """
    for number, sample in enumerate(samples):
        first = sample.messages[0].model_copy(update={"content": opening(sample.messages)})
        ids = np.asarray(template.ids([first, *sample.messages[1:][-2:]], ask=False), dtype=np.int32)
        yield Encoded(f"passage {number}", ids[:1], ids[1:])


def row_tokens(options: TrainingOptions) -> int:
    """Return the most tokens of a packed or shared row."""
    return options.row_tokens or options.samples.most_tokens


def write_rows(
    options: TrainingOptions,
    home: Path,
    train: Iterable[Encoded],
    held_out: Sequence[Encoded],
    change: Callable[[Iterator[TokenRow]], Iterator[TokenRow]] = iter,
) -> RowFacts:
    """Write the rows of `train` (iterated once) and of `held_out` to `home/train` and `home/held_out`.

    Args:
        change: applied to the rows of `train` before they are written; the counts are of the rows before it.
    """
    sizes: list[int] = []
    laid: list[int] = []

    def measured_samples() -> Iterator[Encoded]:
        for sample in train:
            sizes.append(len(sample.prompt) + len(sample.target))
            yield sample

    def counted_rows() -> Iterator[TokenRow]:
        for row in _layout_rows(measured_samples(), options):
            laid.append(len(row.input_ids))
            yield row

    save_rows(home / "train", change(counted_rows()))
    if held_out:
        save_rows(home / "held_out", _layout_rows(held_out, options))
    packed = options.layout == "plain" and options.packing
    return RowFacts(
        targets=len(sizes),
        held_out=len(held_out),
        rows=len(pack(sizes, row_tokens(options))) if packed else len(laid),
        expanded_tokens=sum(sizes),
        laid_tokens=sum(laid),
        longest=max(sizes),
    )


def text_rows(passages: Sequence[Encoded], seed: int) -> Iterator[TokenRow]:
    """Yield passages in rows of `TEXT_ROW_TOKENS` tokens, or as many as the longest passage has."""
    most = max(TEXT_ROW_TOKENS, *(len(passage.prompt) + len(passage.target) for passage in passages))
    return shared_rows(passages, most, seed)


def shared_rows(samples: Iterable[Encoded], most: int, seed: int) -> Iterator[TokenRow]:
    """Yield trees of neighbours that share their history, packed in a seeded order into rows of at most `most` tokens."""
    trees = list(grow_trees(samples, most))
    # The trainer reads rows in order (shuffle_dataset=False), so the order is drawn here, the same at every start.
    random.Random(seed).shuffle(trees)
    for indices in pack([tree.tokens for tree in trees], most):
        yield build_row([trees[index] for index in indices])


def save_rows(folder: Path, rows: Iterable[TokenRow]) -> None:
    """Write rows to `folder/rows.arrow`, one at a time."""
    from datasets import Features, List
    from datasets import Value as Column
    from datasets.arrow_writer import ArrowWriter

    integers = List(Column("int32"))
    features = Features({"input_ids": integers, "labels": integers, "position_ids": integers, "spans": List(integers)})
    folder.mkdir()
    with ArrowWriter(path=str(folder / "rows.arrow"), features=features) as writer:
        for row in rows:
            writer.write({**row._asdict(), "spans": [list(span) for span in row.spans]})
        writer.finalize()


def load_rows(folder: Path) -> Any:
    """Return the rows of a folder as a memory-mapped `datasets.Dataset`; None when there are none."""
    from datasets import Dataset

    path = folder / "rows.arrow"
    return Dataset.from_file(str(path)) if path.is_file() else None


def _layout_rows(samples: Iterable[Encoded], options: TrainingOptions) -> Iterator[TokenRow]:
    """Yield the rows in the layout of the run."""
    if options.layout == "shared_prefix":
        return shared_rows(samples, row_tokens(options), options.seed)
    return _plain_rows(samples)


def _plain_rows(samples: Iterable[Encoded]) -> Iterator[TokenRow]:
    """Yield one row a sample; TRL packs them when `packing` is set."""
    for sample in samples:
        yield build_row([*grow_trees([sample], len(sample.prompt) + len(sample.target))])
