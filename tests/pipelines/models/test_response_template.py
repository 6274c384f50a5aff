"""pipelines/models/response_template.py: a saved checkpoint says how its answers split into plan and turn."""

from pathlib import Path

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.whole

from tests.tiny import make_tiny  # noqa: E402

ANSWER = "<system_thinking>I need to portray Ann.</system_thinking>Ann: <role_action>nods</role_action>Come in.<|im_end|>"


def test_a_saved_checkpoint_splits_plan_and_turn_and_training_goes_without(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipelines.models.saving import save

    base = make_tiny(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    save(AutoModelForCausalLM.from_pretrained(base), tokenizer, tmp_path / "model", base="", facts={})
    assert tokenizer.response_template is None
    saved = AutoTokenizer.from_pretrained(tmp_path / "model")
    prompt = saved.apply_chat_template([{"role": "user", "content": "May I?"}], tokenize=False, add_generation_prompt=True)
    parsed = saved.parse_response(ANSWER, prefix=prompt)
    assert parsed == {
        "role": "assistant",
        "thinking": "I need to portray Ann.",
        "content": "Ann: <role_action>nods</role_action>Come in.",
    }
