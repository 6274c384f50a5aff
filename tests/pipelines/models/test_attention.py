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

    from pipelines.models.attention import block_mask

    row = shared_row("BABAAB")
    spans, tokens = torch.tensor(row.spans), len(row.input_ids)
    query, key, value = (torch.randn(1, 2, tokens, 16) for _ in range(3))
    ours = flex_attention(query, key, value, block_mask=block_mask(spans, tokens))
    mask = dense_mask(spans, tokens)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(ours, expected, rtol=CLOSE, atol=CLOSE)
    assert block_mask(spans, tokens) is block_mask(spans, tokens)


ROWS = {
    "one": ([[0, 300, 0, 0]], 300),
    "padded": ([[0, 300, 0, 0]], 512),
    "tree": ([[0, 1000, 0, 0], [1000, 1100, 0, 640], [1100, 1130, 0, 129], [1130, 1500, 0, 0]], 1536),
    "two trees": ([[0, 256, 0, 0], [256, 384, 0, 128], [384, 900, 384, 384], [900, 1400, 384, 896]], 1408),
    "ends on blocks": ([[0, 128, 0, 0], [128, 256, 0, 128], [256, 384, 0, 127]], 384),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_block_mask_is_that_of_all_pairs(name: str) -> None:
    """Beside the mask that PyTorch finds by evaluating every pair."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    from pipelines.models.attention import block_mask

    spans, tokens = torch.tensor(ROWS[name][0]), ROWS[name][1]
    ours, mask = block_mask(spans, tokens), dense_mask(spans, tokens)
    expected = create_block_mask(lambda b, h, q, k: mask[q, k], None, None, tokens, tokens, device="cpu")
    dense = [[each.kv_num_blocks, each.kv_indices, each.full_kv_num_blocks, each.full_kv_indices] for each in (ours, expected)]
    for counts, indices in ((0, 1), (2, 3)):
        assert torch.equal(dense[0][counts], dense[1][counts])
        for row, count in enumerate(dense[0][counts][0, 0].tolist()):
            assert dense[0][indices][0, 0, row, :count].tolist() == dense[1][indices][0, 0, row, :count].tolist()
    assert ours.shape == expected.shape
    index = torch.arange(tokens)
    assert torch.equal(ours.mask_mod(0, 0, index[:, None], index[None, :]), mask)


def test_where_flex_attention_cannot_be_compiled_a_dense_mask_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from pipelines.models import attention

    def fails(*_: Any) -> None:
        raise RuntimeError("out of resource: shared memory\nmore")

    state = attention._FlexState()
    monkeypatch.setattr(attention, "_flex_state", lambda: state)
    row = shared_row("BABAAB")
    spans, tokens = torch.tensor(row.spans), len(row.input_ids)
    query, key, value = (torch.randn(1, heads, tokens, 16) for heads in (4, 2, 2))
    expected, _ = shared_prefix_attention(None, query, key, value, None, spans=spans)
    with monkeypatch.context() as patched:
        patched.setattr(attention, "_flex", fails)
        out, _ = attention._on_gpu(None, [query, key, value], 0.25, spans, (None, None, None))
    assert "does not work here (out of resource: shared memory); a dense mask" in caplog.text
    torch.testing.assert_close(out, expected, rtol=CLOSE, atol=CLOSE)
    assert attention.kernel_options(torch.device("cpu")) is None


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
