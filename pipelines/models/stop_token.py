"""Set a tokenizer's chat template, and find the token that ends a turn in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from her import paths
from her.backends.chat_template import PromptEncoder
from her.backends.folding import fold_system
from her.errors import InputError
from her.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTENT = "Come in, the kettle is on."
_PROBE: tuple[tuple[Literal["system", "user", "assistant"], str], ...] = (
    ("system", "You are Ann."),
    ("user", "Bell: May I?"),
    ("assistant", _CONTENT),
)
"""A chat that is rendered to see what the template writes after an assistant's content."""


class ShippedTemplate(NamedTuple):
    """A chat template of this folder, `NAME.jinja`, which writes turns unchanged.

    Args:
        marks: tokens that the tokenizer must know, each as one.
        stop: token that ends a turn; empty for the tokenizer's own EOS token.
    """

    marks: tuple[str, ...]
    stop: str = ""


SHIPPED = {
    "chatml": ShippedTemplate(("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
    "llama3": ShippedTemplate(("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"),
    "gemma": ShippedTemplate(("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
    "mistral": ShippedTemplate(("[INST]", "[/INST]")),
    "llama2": ShippedTemplate(()),
}
"""By name, in the order in which `model.template=auto` tries them; the last one fits any tokenizer."""


def set_template(tokenizer: "PreTrainedTokenizerBase", template: str, base: str) -> None:
    """Set the tokenizer's chat template: one of SHIPPED, `own`, or the path of a Jinja file.

    Raises:
        InputError: no such file, or `own` of a base that has no template.
    """
    if template == "own":
        if not tokenizer.chat_template:
            raise InputError(f"the tokenizer of '{base}' has no chat template; set model.template=auto, or a Jinja file's path")
        return
    path = Path(__file__).with_name(f"{template}.jinja") if template in SHIPPED else paths.expanded(template)
    if not path.is_file():
        raise InputError(
            f"model.template is '{template}', which is not a file; give auto, own, {', '.join(SHIPPED)}, or the path of a Jinja "
            "file"
        )
    tokenizer.chat_template = path.read_text("utf-8")


def set_stop_token(tokenizer: "PreTrainedTokenizerBase", end_ids: frozenset[int], template: str) -> None:
    """Make the token that ends a turn the tokenizer's EOS token, and set a pad token when there is none.

    The template must write the content of a turn unchanged, then one token that ends a turn, then white space only.

    Args:
        end_ids: token ids that end a reply according to the model's generation config.
        template: name of the template; one of SHIPPED ends a turn with its own mark.

    Raises:
        InputError: the template writes something else after a turn.
    """
    suffix = _text_after_content(tokenizer, template)
    ids = tokenizer.encode(suffix, add_special_tokens=False)
    # A base model's EOS token often ends texts and another token ends turns; the generation config lists both.
    known = end_ids | ({tokenizer.eos_token_id} - {None}) | _shipped_end_id(tokenizer, template)
    if not ids or ids[0] not in known:
        names = ", ".join(tokenizer.convert_ids_to_tokens(sorted(known))) or "none"
        raise InputError(
            f"the template '{template}' moves the stop token: a turn is followed by {suffix[:40]!r}, which does not begin with a "
            f"token that ends a reply (the base has {names}); set model.template=auto, or close a turn with one of them"
        )
    if rest := tokenizer.decode(ids[1:]).strip():
        raise InputError(
            f"the template '{template}' writes {rest[:40]!r} after the stop token, where a model never generates; "
            "end an assistant's turn with its stop token and at most white space"
        )
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ids[0])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = "<|endoftext|>" if "<|endoftext|>" in tokenizer.get_vocab() else tokenizer.eos_token


def knows_marks(tokenizer: "PreTrainedTokenizerBase", template: str) -> bool:
    """Return whether the tokenizer knows every mark of a shipped template as one token."""
    return all(len(tokenizer.encode(mark, add_special_tokens=False)) == 1 for mark in SHIPPED[template].marks)


def _shipped_end_id(tokenizer: "PreTrainedTokenizerBase", template: str) -> set[int]:
    """Return the id of the mark that ends a turn in a shipped template: a base model may name another EOS token."""
    stop = SHIPPED[template].stop if template in SHIPPED else ""
    return set(tokenizer.encode(stop, add_special_tokens=False)[:1]) if stop and knows_marks(tokenizer, template) else set()


def _text_after_content(tokenizer: "PreTrainedTokenizerBase", template: str) -> str:
    """Return what the template writes after the content of the last turn."""
    from jinja2 import TemplateError

    if template in SHIPPED and not knows_marks(tokenizer, template):
        raise InputError(
            f"the tokenizer has no tokens {' and '.join(SHIPPED[template].marks)}, so model.template={template} does not fit; "
            "set model.template=auto, or a Jinja file's path"
        )
    probe: Sequence[Message] = [Message(role=role, content=content) for role, content in _PROBE]
    rows = [message.model_dump() for message in (fold_system(probe) if PromptEncoder(tokenizer).folds else probe)]
    try:
        text = str(tokenizer.apply_chat_template(rows, tokenize=False))
    except (TemplateError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"the template '{template}' does not accept a chat of system, user and assistant: {error}") from error
    _, content, after = text.rpartition(_CONTENT)
    if not content:
        raise InputError(f"the template '{template}' changes an assistant's text; set model.template=auto")
    return after
