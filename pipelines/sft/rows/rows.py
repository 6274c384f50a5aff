"""Samples as the rows that a trainer takes, in either layout, in Arrow files that are mapped and not read.

train/ held_out/   rows.arrow: input_ids, labels, position_ids, and the spans of pipelines/models/prefix_tree.py
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from her.types import Sample, Value
from her.view import opening
from pipelines.models.prefix_tree import Encoded, Ids, TokenRow, pack, row, trees
from pipelines.models.template import AT_ONCE, ChatTemplate
from pipelines.sft.options import TrainingOptions

READING = 1024
"""Tokens of a row of short texts. With rows of 2,560 the same reading was half as many steps and left a loss of 3.3 for 2.2."""


class Facts(Value):
    """What the rows hold.

    Args:
        targets: target turns that are trained; `held_out` that are evaluated.
        rows: of training, as laid out; an estimate where TRL packs them.
        expanded_tokens: of the targets, each with its own prompt.
        laid_tokens: of the rows.
        longest: tokens of the longest sample.
    """

    targets: int
    held_out: int
    rows: int
    expanded_tokens: int
    laid_tokens: int
    longest: int


def encoded(samples: Sequence[Sample], template: ChatTemplate) -> Iterator[Encoded]:
    """The samples' tokens, by the template that training uses; a few samples at a time, for all have gigabytes of them."""
    for first in range(0, len(samples), AT_ONCE):
        some = samples[first : first + AT_ONCE]
        yield from keyed(some, template.pairs(some), first)


def keyed(samples: Sequence[Sample], pairs: Sequence[tuple[Ids, Ids]], first: int = 0) -> list[Encoded]:
    """Samples' tokens (prompt, target); those of one conversation, as one character sees it, may share their history.

    Args:
        first: place of the first of them among all, for samples that tell no conversation.
    """
    return [
        Encoded(f"{sample.transcript} {sample.speaker}" if sample.transcript else str(place), *pair)
        for place, (sample, pair) in enumerate(zip(samples, pairs, strict=True), first)
    ]


def passages(samples: Sequence[Sample], template: ChatTemplate) -> Iterator[Encoded]:
    """Each target in short: the first line of its prompt, which says who plays whom, the message before it, and the target.

    All of it is trained, from the second token on.
    """
    for number, sample in enumerate(samples):
        first = sample.messages[0].model_copy(update={"content": opening(sample.messages)})
        ids = np.asarray(template.ids([first, *sample.messages[1:][-2:]], ask=False), dtype=np.int32)
        yield Encoded(f"passage {number}", ids[:1], ids[1:])


def row_tokens(options: TrainingOptions) -> int:
    """The most tokens of a packed or shared row."""
    return options.row_tokens or options.samples.most_tokens


def lay_out(
    options: TrainingOptions,
    home: Path,
    train: Iterable[Encoded],
    held_out: Sequence[Encoded],
    change: Callable[[Iterator[TokenRow]], Iterator[TokenRow]] = iter,
) -> Facts:
    """Write the rows of `train`, which is gone through once, and of `held_out` under `home`.

    Args:
        change: what is made of the rows of `train` before they are written.
    """
    sizes: list[int] = []
    laid: list[int] = []

    def measured() -> Iterator[Encoded]:
        for each in train:
            sizes.append(len(each.prompt) + len(each.target))
            yield each

    def counted() -> Iterator[TokenRow]:
        for each in _rows(measured(), options):
            laid.append(len(each.input_ids))
            yield each

    save_rows(home / "train", change(counted()))
    if held_out:
        save_rows(home / "held_out", _rows(held_out, options))
    packed = options.layout == "plain" and options.packing
    return Facts(
        targets=len(sizes),
        held_out=len(held_out),
        rows=len(pack(sizes, row_tokens(options))) if packed else len(laid),
        expanded_tokens=sum(sizes),
        laid_tokens=sum(laid),
        longest=max(sizes),
    )


def read_rows(short: Sequence[Encoded], seed: int) -> Iterator[TokenRow]:
    """Passages in rows of `READING` tokens, or of the longest of them; so small that there are many steps."""
    most = max(READING, *(len(each.prompt) + len(each.target) for each in short))
    return shared_rows(short, most, seed)


def shared_rows(samples: Iterable[Encoded], most: int, seed: int) -> Iterator[TokenRow]:
    """Trees of neighbours that share their history, packed in a seeded order into rows of at most `most` tokens."""
    grown = list(trees(samples, most))
    random.Random(seed).shuffle(grown)
    for indices in pack([tree.tokens for tree in grown], most):
        yield row([grown[index] for index in indices])


def _rows(samples: Iterable[Encoded], options: TrainingOptions) -> Iterator[TokenRow]:
    """In the layout of the run."""
    if options.layout == "shared_prefix":
        return shared_rows(samples, row_tokens(options), options.seed)
    return _plain_rows(samples)


def _plain_rows(samples: Iterable[Encoded]) -> Iterator[TokenRow]:
    """One row a sample; TRL packs them where packing is asked for."""
    for sample in samples:
        yield row([*trees([sample], len(sample.prompt) + len(sample.target))])


def save_rows(folder: Path, rows: Iterable[TokenRow]) -> None:
    """Write rows as Arrow files, one at a time."""
    from datasets import Features, List
    from datasets import Value as Column
    from datasets.arrow_writer import ArrowWriter

    whole = List(Column("int32"))
    features = Features({"input_ids": whole, "labels": whole, "position_ids": whole, "spans": List(whole)})
    folder.mkdir()
    with ArrowWriter(path=str(folder / "rows.arrow"), features=features) as writer:
        for each in rows:
            writer.write({**each._asdict(), "spans": [list(span) for span in each.spans]})
        writer.finalize()


def mapped(folder: Path) -> Any:
    """The rows of a folder that `lay_out` wrote, as a `datasets.Dataset`; None when there is none."""
    from datasets import Dataset

    path = folder / "rows.arrow"
    return Dataset.from_file(str(path)) if path.is_file() else None
