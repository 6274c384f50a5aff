"""Replace a share of the trained input tokens at random, while the labels stay right (denoising, for models from scratch).

A model from scratch sees so few texts that it memorises them, closing tags included: after "upon one ear" an act always ends.
In the playground the first word that comes out differently leaves it without context. With noise, the input at a share of the
trained places is another token than the one that had to be predicted there, so the model learns to find its place from the
tags. Tags, special tokens and what the template writes are never replaced. benchmarks/sft_learns.py measures the effect.

The replacement is a token of the same row. So a full stop or an "I" sometimes stands inside an act without ending it. Tokens
drawn from the whole vocabulary were tried: there these are rare, and longer acts then continued as speech.

`model.shape.token_noise` is the share; only models without a base have noise. Tokens are drawn when the rows are written, so a
resumed run reads the same rows. A row that is read several times is written as often, each time with other replacements;
otherwise the model would memorise that version.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.format.tags import WRITTEN
from her.types import Message
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.prefix_tree import IGNORED, TokenRow
from pipelines.sft.options import TrainingOptions


class Noise(NamedTuple):
    """Share of trained places that are replaced, and the token ids that never are; int32."""

    share: float
    protected: NDArray[np.int32]
    seed: int


def noise_for(options: TrainingOptions, template: ChatTemplate) -> Noise:
    """Return the noise of the settings; its share is 0 for a model that has a base."""
    tags = template.tokenizer("".join(tag for pair in WRITTEN.values() for tag in pair), add_special_tokens=False)
    empty = [Message(role=role, content="") for role in ("system", "user", "assistant")]
    # The template's own tokens include role names and line ends around turns, which `empty` chats show.
    protected = {*template.tokenizer.all_special_ids, *template.ids(empty, ask=True), *tags["input_ids"]}
    share = 0.0 if options.model.base else options.model.shape.token_noise
    return Noise(share, np.array(sorted(protected), np.int32), options.seed)


def add_noise(rows: Iterable[TokenRow], noise: Noise, passes: float = 1) -> Iterator[TokenRow]:
    """Yield each row `passes` times (rounded up) with other tokens replaced; unchanged and once when the share is 0.

    The same noise and rows give the same output.
    """
    generator = np.random.default_rng(noise.seed)
    for row in rows:
        if not noise.share:
            yield row
            continue
        # Replacements come from `free` as well, so that a tag or special token is never drawn.
        ids, labels = np.array(row.input_ids, np.int32), np.array(row.labels)
        free = (labels != IGNORED) & ~np.isin(ids, noise.protected)
        for _ in range(max(math.ceil(passes), 1)):
            replaced = free & (generator.random(len(ids)) < noise.share)
            noisy = ids.copy()
            noisy[replaced] = generator.choice(ids[free], replaced.sum())
            yield row._replace(input_ids=noisy.tolist())
