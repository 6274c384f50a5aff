"""Words that a model from nothing reads wrong on purpose, while what it is to say stays right.

It sees so few texts that it knows them by heart, closing tags too: after "upon one ear" an act ends, whatever was opened. When it
then plays, the first word that comes out differently leaves it nowhere. So in a share of the places that are trained it reads
another word than the one it had to predict, never instead of a tag or of what the template writes, and learns to tell from the
tags where it is. The word is one of the same row: so a full stop or an "I" now and then stands in an act and ends none; with
words of the whole vocabulary, where these are rare, a longer act went on as if it were speech. `benchmarks/sft_learns.py`
measures what comes of it.

`model.shape.noise` is the share; 0 for none. A model from a hub has read enough, so only one from nothing has it. The words are
drawn when the rows are written, so that a resumed run reads the same; a row that will be read several times is written as often,
each time with other words wrong, or it would be known by heart as it is.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.format.tags import WRITTEN
from her.types import Message
from pipelines.models.prefix_tree import IGNORED, TokenRow
from pipelines.models.template import ChatTemplate
from pipelines.sft.options import TrainingOptions


class Noise(NamedTuple):
    """How rows are spoiled: a share of the trained places gets another of the row's words, but where `kept` has the token."""

    share: float
    kept: NDArray[np.int32]
    seed: int


def noise_of(options: TrainingOptions, template: ChatTemplate) -> Noise:
    """What the settings ask for; none for a model that has a base."""
    tags = template.tokenizer("".join(tag for pair in WRITTEN.values() for tag in pair), add_special_tokens=False)
    empty = [Message(role=role, content="") for role in ("system", "user", "assistant")]
    kept = {*template.tokenizer.all_special_ids, *template.ids(empty, ask=True), *tags["input_ids"]}
    share = 0.0 if options.model.base else options.model.shape.noise
    return Noise(share, np.array(sorted(kept), np.int32), options.seed)


def noised(rows: Iterable[TokenRow], noise: Noise, passes: float = 1) -> Iterator[TokenRow]:
    """The rows with other words in them, each as often as it will be read; the same noise makes the same of the same rows."""
    dice = np.random.default_rng(noise.seed)
    for row in rows:
        if not noise.share:
            yield row
            continue
        ids, labels = np.array(row.input_ids, np.int32), np.array(row.labels)
        free = (labels != IGNORED) & ~np.isin(ids, noise.kept)
        for _ in range(max(math.ceil(passes), 1)):
            places = free & (dice.random(len(ids)) < noise.share)
            spoiled = ids.copy()
            spoiled[places] = dice.choice(ids[free], places.sum())
            yield row._replace(input_ids=spoiled.tolist())
