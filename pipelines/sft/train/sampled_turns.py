"""Turns that a model in training plays from held-out prompts, and how many of them are in the format.

Training goes on as if nothing had been sampled: its random numbers and the model's modes are as they were.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from her.format import parse
from her.types import ENVIRONMENT, Sample, Value
from her.view import opening
from pipelines.models.template import ChatTemplate

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

EXAMPLES = 3
UNFINISHED = "unfinished"
MARKED = "special_token"
_NAME = re.compile(r"(?m)^([^\n:：<>=]{1,80})[:：]")


class Sampled(Value):
    """What was played.

    Args:
        turns: how many; `well_formed` those without any defect.
        defects: turns by what is wrong with them, most frequent first: the names of `her.format.DEFECTS`, `unfinished` (no stop
            token within the tokens it had) and `special_token` (one of the tokenizer's within the turn).
        examples: the first turns as they were played.
    """

    turns: int
    well_formed: int
    defects: dict[str, int]
    examples: tuple[str, ...]


class Played(NamedTuple):
    """One turn: its text without the stop token, whether it ended by it, and whether another special token is in it."""

    text: str
    finished: bool
    marked: bool


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
) -> Sampled:
    """Play the turn of every sample anew from its prompt, and read it as strictly as a target is read.

    Args:
        model: a causal language model of transformers or PEFT, in whatever mode.
        temperature: 0 always takes the likeliest token; nothing else shapes the draw (no top_p, no top_k).
        tokens: the most of a turn; fewer where the context ends.
        seed: of the draws; the same seed, samples and batch give the same turns on one machine.
        batch: prompts generated together, padded on the left; those of about one length.
        plans: False where turns without system_thinking are right.
    """
    rows = [template.ids(sample.messages[:-1], ask=True) for sample in samples]
    played: dict[int, Played] = {}
    by_length = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    with undisturbed(model, seed):
        for first in range(0, len(rows), batch):
            places = by_length[first : first + batch]
            texts = _play(model, template.tokenizer, [rows[place] for place in places], temperature, tokens)
            played.update(zip(places, texts, strict=True))
    found = [defects(played[place], sample, plans) for place, sample in enumerate(samples)]
    return Sampled(
        turns=len(samples),
        well_formed=sum(not names for names in found),
        defects=dict(Counter(name for names in found for name in names).most_common()),
        examples=tuple(played[place].text for place in range(min(EXAMPLES, len(samples)))),
    )


def defects(played: Played, sample: Sample, plans: bool = True) -> list[str]:
    """What is wrong with a played turn, by name.

    Every defect of the format counts, the small ones too (a space at a tag, two thoughts side by side): targets have none of
    them (her/training_data/audit.py), so each is something that was not learned. So do a turn that does not end by itself and
    a line spoken for somebody else, who would be put words in the mouth.
    """
    read = parse(played.text, sample.speaker, others_in(sample), notation="her")
    names = [defect.name for defect in read.defects if plans or defect.name != "plan_missing"]
    return [*names, *[UNFINISHED] * (not played.finished), *[MARKED] * played.marked]


def others_in(sample: Sample) -> tuple[str, ...]:
    """Who else may speak: the narrator, and the names before lines that the first line of the prompt knows as well."""
    told = opening(sample.messages)
    heard = (
        name[1].strip() for message in sample.messages[1:] if message.role == "user" for name in _NAME.finditer(message.content)
    )
    return tuple(dict.fromkeys([ENVIRONMENT, *(name for name in heard if name in told and name != sample.speaker)]))


@contextmanager
def undisturbed(model: Any, seed: int) -> Iterator[None]:
    """A model at rest and dice of their own; afterwards both are as they were, each module in its own mode."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    devices = [model.device] if model.device.type == "cuda" else []
    # PEFT generates with the model inside, past the outermost module of FSDP2, whose weights would stay in pieces
    inside = hasattr(model, "unshard") and hasattr(model, "get_base_model")
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            torch.manual_seed(seed)
            model.eval()
            if inside:
                model.unshard()
            yield
    finally:
        if inside:
            model.reshard()
        for module, training in modes:
            module.training = training


def _play(model: Any, tokenizer: Any, rows: list[list[int]], temperature: float, tokens: int) -> list[Played]:
    """The turns that follow these prompts, in their order."""
    import torch

    width = max(map(len, rows))
    room = min(tokens, _context(model) - width)
    if room < 1:
        return [Played("", finished=False, marked=False)] * len(rows)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    config = _generation(temperature, room, tokenizer.eos_token_id, pad)
    whole = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return [_read(tokenizer, row) for row in whole[:, width:]]


def _generation(temperature: float, tokens: int, stop: int, pad: int) -> "GenerationConfig":
    from transformers import GenerationConfig

    # Written out, because what is left open is taken from the model's own generation config.
    drawn = (
        {"do_sample": True, "temperature": float(temperature), "top_k": 0, "top_p": 1.0} if temperature else {"do_sample": False}
    )
    plain = {"repetition_penalty": 1.0, "num_beams": 1, "use_cache": True}
    return GenerationConfig(max_new_tokens=tokens, eos_token_id=stop, pad_token_id=pad, **plain, **drawn)


def _read(tokenizer: Any, row: "torch.Tensor") -> Played:
    ids = row.tolist()
    finished = tokenizer.eos_token_id in ids
    own = ids[: ids.index(tokenizer.eos_token_id)] if finished else ids
    text = tokenizer.decode(own, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Played(text, finished, bool(set(own) & set(tokenizer.all_special_ids)))


def _context(model: Any) -> int:
    return int(model.config.get_text_config().max_position_embeddings)
