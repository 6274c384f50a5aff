"""pipelines/models/shared_rows.py: loss and gradients are those of expanded rows; a model that ignores spans is refused."""

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from her.errors import HerError
from pipelines.models.prefix_tree import grow_trees
from pipelines.models.shared_rows import JoinRows, require_spans_honoured, select_trained, smallest_shared
from tests.pipelines.models.shared_prefix import (
    UNLIMITED,
    compare_layouts,
    encode_transcript,
    make_transcript,
    packed_rows,
    shared_row,
    small_model,
    token_losses,
)

pytestmark = pytest.mark.whole
CASES: dict[str, str] = {
    "in turn": "ABABAB",
    "target first": "AB",
    "one turn": "BA",
    "merged speakers": "BAABBAAAB",
    "environment between": "EAEEBA",
    "forty turns": "AB" * 20,
}


@pytest.mark.parametrize("speakers", CASES.values(), ids=CASES.keys())
def test_loss_and_gradients_are_those_of_expanded_rows(speakers: str) -> None:
    samples = encode_transcript(make_transcript(speakers))
    trees = list(grow_trees(samples, UNLIMITED))
    assert len(trees) == len({sample.key for sample in samples}), "one history for each character"
    compare_layouts(samples, *packed_rows(samples, UNLIMITED))


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "lora"])
@pytest.mark.parametrize("checkpointing", ["none", "light", "full"])
def test_with_adapters_and_with_activation_checkpointing(lora: bool, checkpointing: str) -> None:
    samples = encode_transcript(make_transcript("BABABAAB"))
    compare_layouts(samples, *packed_rows(samples, UNLIMITED), lora=lora, checkpointing=checkpointing)


@pytest.mark.parametrize("seed", range(4))
def test_several_conversations_in_a_row_and_long_ones_split(seed: int) -> None:
    generator = random.Random(seed)
    casts = ["".join(generator.choice("AABBE") for _ in range(generator.randint(2, 16))) for _ in range(3)]
    transcripts = [make_transcript(speakers, number) for number, speakers in enumerate(casts)]
    samples = [sample for transcript in transcripts for sample in encode_transcript(transcript)]
    longest = max(len(sample.prompt) + len(sample.target) for sample in samples)
    rows, order = packed_rows(samples, int(longest * generator.choice([1, 1.3, 2.5])))
    assert len(rows) > 1
    compare_layouts(samples, rows, order)


def test_half_precision_stays_close() -> None:
    import torch

    row = shared_row("BABABA")
    model = small_model("shared_prefix")
    with torch.no_grad():
        exact = token_losses(model, row, shared=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = token_losses(model, row, shared=True)
    assert np.isclose(exact.mean().item(), half.float().mean().item(), rtol=0.02)


def fake_trainer(model: Any) -> Any:
    """Return what `require_spans_honoured` reads of a trainer, for a model with TRL's fused head."""
    import contextlib

    import torch

    class FusedHead(torch.nn.Module):
        """Model that returns log probabilities of trained tokens, as TRL's patched forward does."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model
            select_trained(model.model)

        def forward(self, labels: Any, use_cache: bool, fused_lm_head: bool, **inputs: Any) -> Any:
            logits = self.inner(**inputs, use_cache=use_cache).logits[0, :-1]
            mask = labels[0, 1:] != -100
            log_probs = logits.log_softmax(-1).gather(1, labels[0, 1:].clamp(min=0)[:, None])[:, 0]
            return SimpleNamespace(log_probs=log_probs, label_mask=mask)

    row = shared_row("BABAAB")
    return SimpleNamespace(
        model=FusedHead().train(),
        train_dataset=[{**row._asdict(), "spans": [list(span) for span in row.spans]}],
        args=SimpleNamespace(device=torch.device("cpu"), bf16=False),
        compute_loss_context_manager=contextlib.nullcontext,
    )


def test_a_model_that_ignores_spans_is_refused_before_the_first_step() -> None:
    honest = fake_trainer(small_model("shared_prefix"))
    require_spans_honoured(honest)
    assert honest.model.training
    # PyTorch's own attention drops the keyword, as an architecture would that does not pass it on.
    with pytest.raises(HerError, match="does not honour shared prefixes: its losses differ by .*; use layout=plain"):
        require_spans_honoured(fake_trainer(small_model("sdpa")))


def test_joined_rows_keep_their_spans_apart() -> None:
    rows = [
        {"input_ids": [1, 2, 3], "labels": [-100, 2, 3], "position_ids": [0, 1, 2], "spans": [[0, 3, 0, 0]]},
        {"input_ids": [4, 5], "labels": [-100, 5], "position_ids": [0, 1], "spans": [[0, 2, 0, 0]]},
    ]
    batch = {name: tensor.tolist() for name, tensor in JoinRows(pad=False)(rows).items()}
    assert batch["input_ids"] == [[1, 2, 3, 4, 5]]
    assert batch["spans"] == [[0, 3, 0, 0], [3, 5, 3, 3]]
    assert (batch["sources"], batch["labels"]) == ([0, 1, 3, 0], [[-100, 2, 3, 5]])
    padded = JoinRows(pad=True)(rows)
    assert padded["input_ids"].shape == (1, JoinRows.BLOCK) and padded["bounds"].shape == (3, JoinRows.BLOCK)
    assert padded["partial"].tolist() == [[1, 0]] and padded["full"].tolist() == [[0, 0]]


def test_the_smallest_shared_tree_is_cut_from_its_row() -> None:
    spans = [[0, 5, 0, 0], [5, 8, 0, 3], [8, 12, 8, 8], [12, 13, 8, 10]]
    columns = {name: [*range(13)] for name in ("input_ids", "labels", "position_ids")}
    assert smallest_shared([{**columns, "spans": spans}]) == {
        **dict.fromkeys(columns, [8, 9, 10, 11, 12]),
        "spans": [[0, 4, 0, 0], [4, 5, 0, 2]],
    }
    assert smallest_shared([{**columns, "spans": spans[:1]}]) is None
