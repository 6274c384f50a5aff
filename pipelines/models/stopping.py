"""Which template turns messages into text, and which token ends a turn in it."""

from pathlib import Path
from typing import TYPE_CHECKING

from her import paths
from her.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTENT = "Come in, the kettle is on."
_PROBE = (("system", "You are Ann."), ("user", "Bell: May I?"), ("assistant", _CONTENT))


def set_template(tokenizer: "PreTrainedTokenizerBase", template: str, base: str) -> None:
    """Give the tokenizer its template: `chatml`, `own`, or the path of a Jinja file.

    Raises:
        InputError: no such file, or `own` of a base that has none.
    """
    if template == "own":
        if not tokenizer.chat_template:
            raise InputError(f"the tokenizer of '{base}' has no chat template; set model.template=chatml, or a Jinja file's path")
        return
    path = Path(__file__).with_name("chatml.jinja") if template == "chatml" else paths.expanded(template)
    if not path.is_file():
        raise InputError(f"model.template is '{template}', which is no file; give chatml, own, or the path of a Jinja file")
    tokenizer.chat_template = path.read_text("utf-8")


def set_stop(tokenizer: "PreTrainedTokenizerBase", ends: frozenset[int], template: str) -> None:
    """Make the token that ends a turn the tokenizer's end-of-sequence token, and see to it that there is a token to pad with.

    The template has to write a turn's content as it is, right after it one token that ends a turn, and then white space only.

    Args:
        ends: ids that end a reply by the model's generation config.
        template: its name, `chatml` for ours; its `<|im_end|>` ends a turn wherever the tokenizer knows it as one token.

    Raises:
        InputError: the template writes something else there.
    """
    after = _after_content(tokenizer, template)
    ids = tokenizer.encode(after, add_special_tokens=False)
    known = ends | ({tokenizer.eos_token_id} - {None}) | _chatml_stop(tokenizer, template)
    if not ids or ids[0] not in known:
        names = ", ".join(tokenizer.convert_ids_to_tokens(sorted(known))) or "none"
        raise InputError(
            f"the template '{template}' moves the stop token: a turn is followed by {after[:40]!r}, which does not begin with a "
            f"token that ends a reply (the base has {names}); use a template that closes a turn with one of them"
        )
    if rest := tokenizer.decode(ids[1:]).strip():
        raise InputError(
            f"the template '{template}' writes {rest[:40]!r} after the stop token, where the model is never asked to; "
            "end an assistant's turn with its stop token and at most white space"
        )
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ids[0])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = "<|endoftext|>" if "<|endoftext|>" in tokenizer.get_vocab() else tokenizer.eos_token


def _chatml_stop(tokenizer: "PreTrainedTokenizerBase", template: str) -> set[int]:
    """The id of `<|im_end|>` when the template is ours and the tokenizer has it, though its base may end replies otherwise."""
    return set(tokenizer.encode("<|im_end|>", add_special_tokens=False)[:1]) if _speaks_chatml(tokenizer, template) else set()


def _speaks_chatml(tokenizer: "PreTrainedTokenizerBase", template: str) -> bool:
    marks = ("<|im_start|>", "<|im_end|>")
    return template == "chatml" and all(len(tokenizer.encode(mark, add_special_tokens=False)) == 1 for mark in marks)


def _after_content(tokenizer: "PreTrainedTokenizerBase", template: str) -> str:
    """What the template writes after the content of the last turn."""
    from jinja2 import TemplateError

    if template == "chatml" and not _speaks_chatml(tokenizer, template):
        raise InputError(
            "the tokenizer has no tokens <|im_start|> and <|im_end|>, so model.template=chatml does not fit; "
            "set model.template=own, or a Jinja file's path"
        )
    try:
        text = tokenizer.apply_chat_template([{"role": role, "content": content} for role, content in _PROBE], tokenize=False)
    except (TemplateError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"the template '{template}' does not take a chat of system, user and assistant: {error}") from error
    _, found, after = text.rpartition(_CONTENT)
    if not found:
        raise InputError(f"the template '{template}' changes what an assistant says; use one that writes a turn as it is")
    return after
