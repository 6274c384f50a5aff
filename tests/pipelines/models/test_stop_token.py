"""pipelines/models/stop_token.py and chatml.jinja: turns unchanged, a prompt that is a prefix, and the token that ends a turn."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.errors import InputError
from pipelines.models.from_scratch import train_tokenizer
from pipelines.models.stop_token import set_stop_token, set_template
from tests.tiny import CORPUS

pytestmark = pytest.mark.whole
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
TURNS = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXTS), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    small_tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    set_template(small_tokenizer, "chatml", "")
    return small_tokenizer


def written(tokenizer: Any, turns: list[tuple[str, str]], ask: bool = False) -> str:
    rows = [{"role": role, "content": content} for role, content in turns]
    return str(tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=ask))


@given(turns=TURNS)
def test_turns_are_written_unchanged(tokenizer: Any, turns: list[tuple[str, str]]) -> None:
    expected = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    assert written(tokenizer, turns) == expected
    assert written(tokenizer, turns, ask=True) == expected + "<|im_start|>assistant\n"


@settings(max_examples=300)
@given(turns=TURNS, answer=TEXTS | st.sampled_from(["\n", "\n\nyes", " \n\t", "\r\n", "<|im_end|>"]))
def test_the_prompt_is_a_prefix_of_the_sample(tokenizer: Any, turns: list[tuple[str, str]], answer: str) -> None:
    prompt = tokenizer.encode(written(tokenizer, turns, ask=True), add_special_tokens=False)
    whole = tokenizer.encode(written(tokenizer, [*turns, ("assistant", answer)]), add_special_tokens=False)
    assert whole[: len(prompt)] == prompt


@given(text=TEXTS)
def test_any_text_round_trips(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_tokenizer_takes_what_the_texts_offer(tokenizer: Any) -> None:
    assert 300 < len(tokenizer) <= 400
    assert len(train_tokenizer(CORPUS, vocabulary=100_000, context=512)) < 1000
    assert train_tokenizer(CORPUS, vocabulary=400, context=512).get_vocab() == tokenizer.get_vocab()
    assert set(tokenizer.all_special_tokens) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    assert tokenizer.decode(tokenizer.encode("<role_action>bows</role_action>"), skip_special_tokens=True).startswith(
        "<role_action>"
    )


def test_unknown_roles_are_refused(tokenizer: Any) -> None:
    from jinja2 import TemplateError

    with pytest.raises(TemplateError, match="not of 'tool'"):
        written(tokenizer, [("tool", "42")])


MOVED = "{% for m in messages %}{{ m['role'] ~ ': ' ~ m['content'] ~ AFTER }}{% endfor %}"


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        ("'\\n'", "moves the stop token"),
        ("''", "moves the stop token"),
        ("' <|im_end|>'", "moves the stop token"),
        ("'</s><|im_end|>'", "moves the stop token"),
        ("'<|im_end|>over'", "writes 'over' after the stop token"),
    ],
)
def test_a_template_that_moves_the_stop_token_is_refused(tmp_path: Path, after: str, sentence: str) -> None:
    small_tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    path = tmp_path / "moved.jinja"
    path.write_text(MOVED.replace("AFTER", after))
    set_template(small_tokenizer, str(path), "")
    with pytest.raises(InputError, match=sentence):
        set_stop_token(small_tokenizer, frozenset(), str(path))


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ raise_exception('no system') }}", "does not accept a chat of system, user and assistant: no system"),
        ("{% for m in messages %}{{ m['content'] | upper }}<|im_end|>{% endfor %}", "changes an assistant's text"),
        ("{% for m in messages %}", "does not accept a chat"),
    ],
)
def test_other_broken_templates_are_refused(template: str, sentence: str) -> None:
    small_tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    small_tokenizer.chat_template = template
    with pytest.raises(InputError, match=sentence):
        set_stop_token(small_tokenizer, frozenset(), "own")


def test_a_token_that_ends_replies_by_the_generation_config_will_do() -> None:
    """A base whose tokenizer ends texts otherwise: afterwards its own end token is the one that ends a turn."""
    small_tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    stop = small_tokenizer.eos_token_id
    small_tokenizer.eos_token, small_tokenizer.pad_token = "<|endoftext|>", None
    small_tokenizer.chat_template = MOVED.replace("AFTER", "'<|im_end|>\\n'")
    with pytest.raises(InputError, match="the base has <|endoftext|>"):
        set_stop_token(small_tokenizer, frozenset(), "own")
    set_stop_token(small_tokenizer, frozenset({stop}), "own")
    assert (small_tokenizer.eos_token_id, small_tokenizer.pad_token) == (stop, "<|endoftext|>")


def test_chatml_ends_turns_with_its_own_mark() -> None:
    small_tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    small_tokenizer.eos_token = "<|endoftext|>"
    set_template(small_tokenizer, "chatml", "")
    set_stop_token(small_tokenizer, frozenset(), "chatml")
    assert small_tokenizer.eos_token == "<|im_end|>"


def test_chatml_needs_its_marks() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE({symbol: at for at, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    small_tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="</s>")
    set_template(small_tokenizer, "chatml", "")
    with pytest.raises(InputError, match="no tokens <|im_start|> and <|im_end|>"):
        set_stop_token(small_tokenizer, frozenset(), "chatml")


def test_unknown_templates_are_named(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model.template is '.*none.jinja', which is not a file"):
        set_template(tokenizer, str(tmp_path / "none.jinja"), "")
    small_tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=512)
    with pytest.raises(InputError, match="the tokenizer of 'some/base' has no chat template"):
        set_template(small_tokenizer, "own", "some/base")


def test_without_text_there_is_no_tokenizer() -> None:
    with pytest.raises(InputError, match="without text"):
        train_tokenizer([], vocabulary=400, context=512)
