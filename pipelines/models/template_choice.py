"""Choose the chat template of a base (`model.template=auto`): its own where training and play agree on it, else a shipped one.

A template is tried with a few samples, encoded exactly as training does. It passes when the prompt is the beginning of the
whole sample, the decoded target is the message followed by the stop token, and no day's date is in it.
"""

import logging
from typing import Any, Literal

from her.backends.chat_template import PromptEncoder
from her.errors import InputError
from her.format.tags import WRITTEN
from her.training_data.audit import Encoding
from her.types import Message, Sample
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.stop_token import SHIPPED, knows_marks, set_stop_token, set_template

log = logging.getLogger(__name__)
AUTO = "auto"
_SYSTEM = "You are Ann, a baker in the old mill."
_QUESTIONS = ("Bell: May I come in?", "Bell: <smiles> 你好。")
_REPLIES = (
    "".join(f"{opening}Ann is calm.{closing}" for opening, closing in WRITTEN.values()) + "Come in.",
    " Ann:  two blanks before and behind \n",
    "(opens the door) 请进。",
)
"""Replies that begin with a tag, with blanks, and with a bracket: what a template trims or joins to its own text shows."""
_CHANGES = {
    "": "",
    "think_block": "it writes an empty block of reasoning into every reply",
    "trimmed": "it trims the blanks around a reply",
    "nfc": "it changes the Unicode form of a reply",
    "text": "it changes the text of a reply",
}


def choose_template(tokenizer: Any, end_ids: frozenset[int], base: str) -> str:
    """Set the first template that passes, with its stop token, and return its name: `own` or one of SHIPPED.

    Raises:
        InputError: none passes; the sentence says why each did not.
    """
    own, eos, pad = tokenizer.chat_template, tokenizer.eos_token, tokenizer.pad_token
    fitting = [name for name in SHIPPED if knows_marks(tokenizer, name)]
    refused: list[str] = []
    for name in ["own"] * bool(own) + fitting:
        tokenizer.chat_template = own
        try:
            set_template(tokenizer, name, base)
            set_stop_token(tokenizer, end_ids, name)
            problem = template_problem(tokenizer)
        except InputError as error:
            problem = str(error)
        if not problem:
            log.info("the chat template is %s%s", name, f" ({'; '.join(refused)})" if refused else "")
            return name
        refused.append(f"{name}: {problem}")
        tokenizer.eos_token, tokenizer.pad_token = eos, pad
    raise InputError(
        f"no chat template fits the tokenizer of '{base}' ({'; '.join(refused)}); set model.template to a Jinja file's path"
    )


def template_problem(tokenizer: Any) -> str:
    """Return what is wrong with training on the tokenizer's template; empty when training and play agree on it."""
    encoder = PromptEncoder(tokenizer)
    if encoder.changed_by_date():
        return "it writes the date of today into every prompt"
    if encoder.folds:  # here they are folded, but a server that renders the saved template would lose them
        return "it refuses or drops the system message"
    template = ChatTemplate(tokenizer)
    for encoding in template.encodings([_sample(*turns) for turns in _probes()]):
        if problem := _problem(encoding):
            return problem
    return ""


def _problem(encoding: Encoding) -> str:
    if not encoding.prefix:
        return "what comes before a reply is another text in training than in play"
    if encoding.stop != "end":
        return "the stop token does not end a reply"
    return _CHANGES[encoding.changed]


def _probes() -> list[tuple[str, ...]]:
    """Return conversations of one and of two exchanges, the last message of each a reply."""
    first, second = _QUESTIONS
    return [*((first, reply) for reply in _REPLIES), (first, _REPLIES[2], second, _REPLIES[0])]


def _sample(*turns: str) -> Sample:
    roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant") * len(turns)
    history = [Message(role=role, content=text) for role, text in zip(roles, turns, strict=False)]
    messages = (Message(role="system", content=_SYSTEM), *history)
    return Sample(messages=messages, trained=(len(messages) - 1,), turn="probe", transcript="probe", speaker="Ann")
