"""pipelines/models/attention.py: the same numbers as a dense mask, on a CPU and with FlexAttention, and what is refused."""

from typing import Any

import pytest

from her.errors import HerError
from pipelines.models.attention import dense_mask, shared_prefix_attention
from tests.pipelines.models.shared_prefix import CLOSE, shared_row, small_model, small_template

pytestmark = pytest.mark.whole


def test_spans_give_the_same_as_a_dense_mask() -> None:
    """Logits of PyTorch's own attention over the dense mask."""
    import torch

    row = shared_row("BABAAB")
    spans, tokens = torch.tensor(row.spans), len(row.input_ids)
    ids, positions = torch.tensor([row.input_ids]), torch.tensor([row.position_ids])
    mask = dense_mask(spans, tokens)[None, None]
    with torch.no_grad():
        ones = torch.ones(1, tokens, dtype=torch.long)
        ours = small_model("shared_prefix")(input_ids=ids, position_ids=positions, attention_mask=ones, spans=spans)
        expected = small_model("sdpa").eval()(input_ids=ids, position_ids=positions, attention_mask=mask)
    torch.testing.assert_close(ours.logits, expected.logits, rtol=CLOSE, atol=1e-4)


def test_flex_attention_uses_the_same_mask() -> None:
    """The mask function that a GPU compiles, evaluated here pair by pair."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    from pipelines.models.attention import _block_mask

    row = shared_row("BABAAB")
    spans, tokens = torch.tensor(row.spans), len(row.input_ids)
    query, key, value = (torch.randn(1, 2, tokens, 16) for _ in range(3))
    ours = flex_attention(query, key, value, block_mask=_block_mask(spans, tokens))
    mask = dense_mask(spans, tokens)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(ours, expected, rtol=CLOSE, atol=CLOSE)
    assert _block_mask(spans, tokens) is _block_mask(spans, tokens)


def test_without_spans_a_model_generates_as_usual() -> None:
    import torch

    ids = torch.tensor([small_template().tokenizer.encode("The mill is late.")])
    request = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 12, "do_sample": False}
    ours, expected = small_model("shared_prefix").eval(), small_model("sdpa").eval()
    assert ours.generate(**request).tolist() == expected.generate(**request).tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout": 0.1}, "dropout"),
        ({"sliding_window": 128}, "sliding_window"),
        ({"softcap": 30.0}, "softcap"),
        ({"batch": 2}, "batch of one"),
    ],
)
def test_unsupported_attention_is_refused(changes: dict[str, Any], message: str) -> None:
    import torch

    query = torch.zeros(changes.get("batch", 1), 2, 4, 16)
    others = {name: value for name, value in changes.items() if name != "batch"}
    with pytest.raises(HerError, match=message):
        shared_prefix_attention(None, query, query, query, None, spans=torch.tensor([[0, 4, 0, 0]]), **others)
