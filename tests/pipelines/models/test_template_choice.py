"""pipelines/models/template_choice.py and the shipped templates: what passes trains and plays alike, what does not is named."""

from typing import Any

import pytest

from her.errors import InputError
from pipelines.models.from_scratch import train_tokenizer
from pipelines.models.stop_token import SHIPPED, set_stop_token, set_template
from pipelines.models.template_choice import choose_template, template_problem
from tests.tiny import CORPUS

pytestmark = pytest.mark.whole
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINKS = "('<think>\n</think>' if m['role'] == 'assistant' else '') + m['content'] +"
EXPECTED = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "Q<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>",
    "gemma": "<s><start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n",
    "mistral": "<s>[INST]S\n\nQ[/INST]A</s>",
    "llama2": "<s>[INST]S\n\nQ[/INST]\nA</s>",
}


def tokenizer_with(*marks: str, template: str | None = None) -> Any:
    """A byte-level tokenizer without ChatML's marks, with these ones."""
    small_tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    backend = small_tokenizer.backend_tokenizer.to_str().replace("<|im_", "<|no_")
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    small = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(backend), eos_token="</s>", bos_token="<s>")
    small.add_special_tokens({"additional_special_tokens": list(marks)})
    small.chat_template = template
    return small


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_writes_turns_unchanged_and_passes(name: str) -> None:
    tokenizer = tokenizer_with(*SHIPPED[name].marks)
    rows = [{"role": role, "content": text} for role, text in (("system", "S"), ("user", "Q"), ("assistant", "A"))]
    assert choose_template(tokenizer, frozenset(), "b") == name
    assert tokenizer.apply_chat_template(rows, tokenize=False) == EXPECTED[name]
    assert EXPECTED[name].startswith(tokenizer.apply_chat_template(rows[:2], tokenize=False, add_generation_prompt=True))
    assert tokenizer.eos_token == (SHIPPED[name].stop or "</s>") and tokenizer.pad_token
    headless = tokenizer.apply_chat_template([rows[0], rows[2]], tokenize=False)
    assert "S" in headless and headless.index("S") < headless.rindex("A")


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (CHATML, ""),
        (CHATML.replace("m['content']", "m['content'] | trim"), "trims the blanks"),
        (
            CHATML.replace("m['content'] +", "('<think>\n</think>' if m['role'] == 'assistant' else '') + m['content'] +"),
            "empty block",
        ),
        ("{{ strftime_now('%d') }}" + CHATML, "date of today"),
        (CHATML.replace("in messages", "in messages if m['role'] != 'system'"), "refuses or drops the system message"),
        (CHATML.replace("'<|im_start|>assistant\n'", "'<|im_start|>model\n'"), "another text in training than in play"),
    ],
)
def test_auto_takes_the_bases_own_template_only_where_it_passes(own: str, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    tokenizer.chat_template = own
    with caplog.at_level("INFO"):
        assert choose_template(tokenizer, frozenset(), "b") == ("chatml" if problem else "own")
    assert problem in caplog.text
    assert template_problem(tokenizer) == ""
    set_template(tokenizer, "own", "b")
    set_stop_token(tokenizer, frozenset(), "own")


def test_a_tokenizer_that_no_template_fits_is_named() -> None:
    tokenizer = tokenizer_with(template="{{ raise_exception('never') }}")
    tokenizer.eos_token = None
    with pytest.raises(
        InputError, match=r"no chat template fits the tokenizer of 'b' \(own: .*never.*; llama2: .*Jinja file's path"
    ):
        choose_template(tokenizer, frozenset(), "b")
