"""Sample turns from a model in training on held-out prompts, and count those without format defects.

Sampling leaves training undisturbed: random state and the modes of all modules are restored.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from her.format import parse
from her.types import ENVIRONMENT, Sample, Value
from her.view import opening
from pipelines.models.chat_template import ChatTemplate

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

EXAMPLES = 3
UNFINISHED = "unfinished"
SPECIAL_TOKEN = "special_token"
_SPEAKER = re.compile(r"(?m)^([^\n:：<>=]{1,80})[:：]")
"""A name before a colon at the beginning of a line."""


class SampledTurns(Value):
    """Counts of sampled turns.

    Args:
        turns: number of turns; `well_formed` those without any defect.
        defects: defect -> turns, most frequent first: the names of `her.format.DEFECTS`, `unfinished` (no stop token within the
            token limit) and `special_token` (a special token inside the turn).
        examples: text of the first turns.
    """

    turns: int
    well_formed: int
    defects: dict[str, int]
    examples: tuple[str, ...]


class SampledTurn(NamedTuple):
    """Text of one turn without its stop token; whether it ended with it; whether another special token is inside."""

    text: str
    finished: bool
    has_special_token: bool


def sample_turns(
    model: Any,
    template: ChatTemplate,
    samples: Sequence[Sample],
    *,
    temperature: float,
    tokens: int,
    seed: int,
    batch: int = 8,
    plans: bool = True,
) -> SampledTurns:
    """Generate the turn of every sample from its prompt, and parse it as strictly as a training target.

    Args:
        model: a causal language model of transformers or PEFT, in training or evaluation mode.
        temperature: 0 takes the most likely token; no top_p or top_k is applied.
        tokens: most tokens of a turn; fewer where the context ends.
        seed: seed of the sampling; the same seed, samples and batch give the same turns on one machine.
        batch: prompts generated together, padded on the left and sorted by length.
        plans: whether a turn without system_thinking has a defect.
    """
    rows = [template.ids(sample.messages[:-1], ask=True) for sample in samples]
    turns: dict[int, SampledTurn] = {}
    # Prompts of similar length in one batch need little padding.
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    with evaluation_mode(model, seed):
        for first in range(0, len(rows), batch):
            indices = by_length[first : first + batch]
            generated = generate(model, template.tokenizer, [rows[index] for index in indices], temperature, tokens)
            turns.update(zip(indices, generated, strict=True))
    defects = [turn_defects(turns[index], sample, plans) for index, sample in enumerate(samples)]
    return SampledTurns(
        turns=len(samples),
        well_formed=sum(not names for names in defects),
        defects=dict(Counter(name for names in defects for name in names).most_common()),
        examples=tuple(turns[index].text for index in range(min(EXAMPLES, len(samples)))),
    )


def turn_defects(turn: SampledTurn, sample: Sample, plans: bool = True) -> list[str]:
    """Return the names of all defects of a sampled turn.

    Training targets have no format defect at all (her/training_data/audit.py), so each one here, also a space at a tag, is
    something the model did not learn. A turn without its stop token counts too, and so does a line spoken for another speaker.
    """
    parsed = parse(turn.text, sample.speaker, other_speakers(sample), notation="her")
    names = [defect.name for defect in parsed.defects if plans or defect.name != "plan_missing"]
    return [*names, *[UNFINISHED] * (not turn.finished), *[SPECIAL_TOKEN] * turn.has_special_token]


def other_speakers(sample: Sample) -> tuple[str, ...]:
    """Return the environment and every speaker of a user line whom the first line of the prompt names as well."""
    cast = opening(sample.messages)
    speakers = (
        name[1].strip()
        for message in sample.messages[1:]
        if message.role == "user"
        for name in _SPEAKER.finditer(message.content)
    )
    return tuple(dict.fromkeys([ENVIRONMENT, *(name for name in speakers if name in cast and name != sample.speaker)]))


@contextmanager
def evaluation_mode(model: Any, seed: int) -> Iterator[None]:
    """Set evaluation mode and a seed while the block runs; restore random state and the mode of each module afterwards."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    devices = [model.device] if model.device.type == "cuda" else []
    # PEFT calls `generate` of the model inside it. That bypasses the outermost FSDP2 module, whose hook would gather its weights,
    # so they are gathered here.
    sharded = hasattr(model, "unshard") and hasattr(model, "get_base_model")
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            torch.manual_seed(seed)
            model.eval()
            if sharded:
                model.unshard()
            yield
    finally:
        if sharded:
            model.reshard()
        for module, training in modes:
            module.training = training


def generate(model: Any, tokenizer: Any, rows: list[list[int]], temperature: float, tokens: int) -> list[SampledTurn]:
    """Generate one turn for each prompt, in order."""
    import torch

    width = max(map(len, rows))
    room = min(tokens, _context(model) - width)
    if room < 1:
        return [SampledTurn("", finished=False, has_special_token=False)] * len(rows)
    # Padded on the left, so that all prompts end where generation begins.
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    config = _generation_config(temperature, room, tokenizer.eos_token_id, pad)
    output = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return [_decode(tokenizer, row) for row in output[:, width:]]


def _generation_config(temperature: float, tokens: int, stop: int, pad: int) -> "GenerationConfig":
    from transformers import GenerationConfig

    # Every field is set, because transformers fills missing ones from the model's own generation config.
    sampling = (
        {"do_sample": True, "temperature": float(temperature), "top_k": 0, "top_p": 1.0} if temperature else {"do_sample": False}
    )
    plain = {"repetition_penalty": 1.0, "num_beams": 1, "use_cache": True}
    return GenerationConfig(max_new_tokens=tokens, eos_token_id=stop, pad_token_id=pad, **plain, **sampling)


def _decode(tokenizer: Any, row: "torch.Tensor") -> SampledTurn:
    ids = row.tolist()
    finished = tokenizer.eos_token_id in ids
    kept = ids[: ids.index(tokenizer.eos_token_id)] if finished else ids
    text = tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return SampledTurn(text, finished, bool(set(kept) & set(tokenizer.all_special_ids)))


def _context(model: Any) -> int:
    return int(model.config.get_text_config().max_position_embeddings)
