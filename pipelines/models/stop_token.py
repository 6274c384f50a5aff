"""Set a tokenizer's chat template, and find the token that ends a turn in it."""

from pathlib import Path
from typing import TYPE_CHECKING

from her import paths
from her.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTENT = "Come in, the kettle is on."
_PROBE = (("system", "You are Ann."), ("user", "Bell: May I?"), ("assistant", _CONTENT))
"""A chat that is rendered to see what the template writes after an assistant's content."""


def set_template(tokenizer: "PreTrainedTokenizerBase", template: str, base: str) -> None:
    """Set the tokenizer's chat template: `chatml`, `own`, or the path of a Jinja file.

    Raises:
        InputError: no such file, or `own` of a base that has no template.
    """
    if template == "own":
        if not tokenizer.chat_template:
            raise InputError(f"the tokenizer of '{base}' has no chat template; set model.template=chatml, or a Jinja file's path")
        return
    path = Path(__file__).with_name("chatml.jinja") if template == "chatml" else paths.expanded(template)
    if not path.is_file():
        raise InputError(f"model.template is '{template}', which is not a file; give chatml, own, or the path of a Jinja file")
    tokenizer.chat_template = path.read_text("utf-8")


def set_stop_token(tokenizer: "PreTrainedTokenizerBase", end_ids: frozenset[int], template: str) -> None:
    """Make the token that ends a turn the tokenizer's EOS token, and set a pad token when there is none.

    The template must write the content of a turn unchanged, then one token that ends a turn, then white space only.

    Args:
        end_ids: token ids that end a reply according to the model's generation config.
        template: name of the template; with `chatml`, `<|im_end|>` ends a turn when the tokenizer knows it as one token.

    Raises:
        InputError: the template writes something else after a turn.
    """
    suffix = _text_after_content(tokenizer, template)
    ids = tokenizer.encode(suffix, add_special_tokens=False)
    # A base model's EOS token often ends texts and another token ends turns; the generation config lists both.
    known = end_ids | ({tokenizer.eos_token_id} - {None}) | _chatml_end_id(tokenizer, template)
    if not ids or ids[0] not in known:
        names = ", ".join(tokenizer.convert_ids_to_tokens(sorted(known))) or "none"
        raise InputError(
            f"the template '{template}' moves the stop token: a turn is followed by {suffix[:40]!r}, which does not begin with a "
            f"token that ends a reply (the base has {names}); use a template that closes a turn with one of them"
        )
    if rest := tokenizer.decode(ids[1:]).strip():
        raise InputError(
            f"the template '{template}' writes {rest[:40]!r} after the stop token, where a model never generates; "
            "end an assistant's turn with its stop token and at most white space"
        )
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ids[0])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = "<|endoftext|>" if "<|endoftext|>" in tokenizer.get_vocab() else tokenizer.eos_token


def _chatml_end_id(tokenizer: "PreTrainedTokenizerBase", template: str) -> set[int]:
    """Return the id of `<|im_end|>` with our template: a base model may name another EOS token although it knows this one."""
    return set(tokenizer.encode("<|im_end|>", add_special_tokens=False)[:1]) if _knows_chatml(tokenizer, template) else set()


def _knows_chatml(tokenizer: "PreTrainedTokenizerBase", template: str) -> bool:
    marks = ("<|im_start|>", "<|im_end|>")
    return template == "chatml" and all(len(tokenizer.encode(mark, add_special_tokens=False)) == 1 for mark in marks)


def _text_after_content(tokenizer: "PreTrainedTokenizerBase", template: str) -> str:
    """Return what the template writes after the content of the last turn."""
    from jinja2 import TemplateError

    if template == "chatml" and not _knows_chatml(tokenizer, template):
        raise InputError(
            "the tokenizer has no tokens <|im_start|> and <|im_end|>, so model.template=chatml does not fit; "
            "set model.template=own, or a Jinja file's path"
        )
    rows = [{"role": role, "content": content} for role, content in _PROBE]
    try:
        text = str(tokenizer.apply_chat_template(rows, tokenize=False))
    except (TemplateError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"the template '{template}' does not accept a chat of system, user and assistant: {error}") from error
    _, content, after = text.rpartition(_CONTENT)
    if not content:
        raise InputError(f"the template '{template}' changes an assistant's text; use one that writes a turn unchanged")
    return after
