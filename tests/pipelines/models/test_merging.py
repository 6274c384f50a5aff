"""pipelines/models/merging.py: the merged weights are PEFT's, and the base stays unchanged."""

import copy
from pathlib import Path
from typing import Any

import pytest

from pipelines.models.merging import merged_weights
from tests.pipelines.models.adapters import equal_weights, load_base, with_adapter

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "changes", [{}, {"use_rslora": True}, {"use_dora": True}, {"target_modules": ["q_proj", "down_proj"]}], ids=str
)
def test_merged_weights_are_pefts_and_the_base_stays_unchanged(
    base: Path, tokenizer: Any, precision: str, changes: dict[str, Any]
) -> None:
    model = with_adapter(load_base(base, tokenizer, precision), **changes)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    merged = {name: weight.clone() for name, weight in merged_weights(model)}
    assert equal_weights(model.state_dict(), before)
    assert equal_weights(merged, copy.deepcopy(model).merge_and_unload().state_dict())
    if "use_dora" not in changes:
        assert equal_weights(dict(merged_weights(model, before)), merged)
