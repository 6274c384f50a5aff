"""pipelines/models/activation_checkpointing.py: what each way recomputes in the backward pass."""

import pytest

from pipelines.models import attention
from tests.pipelines.models.shared_prefix import shared_row, small_model, token_losses

pytestmark = pytest.mark.whole


def test_light_checkpointing_recomputes_activations_but_no_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """`none` recomputes neither, `full` both."""
    row = shared_row("BABABAAB")
    flash, counts = attention._flash, {}
    for checkpointing in ("none", "light", "full"):
        attended, activated = [], []
        monkeypatch.setattr(attention, "_flash", lambda *words, count=attended: count.append(1) or flash(*words))
        model = small_model("shared_prefix", checkpointing=checkpointing)
        hook = model.model.layers[0].mlp.act_fn.register_forward_hook(lambda *_, count=activated: count.append(1))
        token_losses(model, row, shared=True).mean().backward()
        hook.remove()
        counts[checkpointing] = (len(attended), len(activated))
    once = counts["none"][0]
    assert once > len(row.spans)
    assert counts == {"none": (once, 1), "light": (once, 2), "full": (2 * once, 2)}
