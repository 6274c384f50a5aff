"""Find out whether prompts share a conversation with what a reward model was trained on.

Ids alone miss a conversation that was exported twice, and exact prompts miss turn 6 of a conversation whose turn 5 was trained
on. So three things are compared: ids, hashes of whole prompts, and fingerprints of the longer lines in the history.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from her.format import parse
from her.training_data.splits import LINE_LETTERS, SHARED_LINES, line_fingerprint, title_key
from her.types import Message, Value

_SPEAKER = re.compile(r"^([^\n:：<>=]{1,80})[:：]")


class TrainedOn(Value):
    """Summary of what a model was trained on.

    Args:
        conversations: ids.
        prompts: `prompt_hash` of every prompt.
        lines: `message_lines` of all prompts and answers.
    """

    conversations: frozenset[str] = frozenset()
    prompts: frozenset[str] = frozenset()
    lines: frozenset[int] = frozenset()

    def why(self, conversation: str, prompt: Sequence[Message], stock: Collection[int] = ()) -> str:
        """Return why a prompt may not be used with the model; an empty string when it may.

        Args:
            stock: fingerprints of lines that many conversations have, such as written greetings; they say nothing.
        """
        if conversation and conversation in self.conversations:
            return f"conversation '{conversation}' was trained on"
        if prompt_hash(prompt) in self.prompts:
            return "the very prompt was trained on"
        own = message_lines(prompt) - set(stock)
        shared = len(own & self.lines)
        return f"{shared} of its lines were trained on" if own and shared >= min(SHARED_LINES, len(own)) else ""


def trained_on(rows: Iterable[tuple[str, Sequence[Message], Sequence[str]]]) -> TrainedOn:
    """Return the summary of rows: conversation, prompt and the answers' texts."""
    conversations: set[str] = set()
    prompts: set[str] = set()
    lines: set[int] = set()
    seen: set[Message] = set()  # a history of 40 turns comes 40 times
    for conversation, prompt, answers in rows:
        conversations.add(conversation)
        prompts.add(prompt_hash(prompt))
        fresh = [message for message in prompt if message not in seen]
        seen.update(fresh)
        lines |= message_lines((*fresh, *(Message(role="assistant", content=text) for text in answers)))
    return TrainedOn(conversations=frozenset(conversations), prompts=frozenset(prompts), lines=frozenset(lines))


def prompt_hash(prompt: Sequence[Message]) -> str:
    """Return a hash of the roles and texts of a prompt."""
    digest = hashlib.sha256()
    for message in prompt:
        for text in (message.role, message.content):
            digest.update(f"{len(text)}:".encode() + text.encode("utf-8", "replace"))
    return digest.hexdigest()[:32]


def message_lines(messages: Iterable[Message]) -> frozenset[int]:
    """Return the fingerprints of what is said in a history, as `her.training_data.splits.fingerprints` has them of turns.

    The system message is left out: all chats of a persona share it.
    """
    spoken = (
        _speech(text)
        for message in messages
        if message.role != "system"
        for text in message.content.split("\n\n")
        if text.strip()
    )
    keys = (title_key(text) for text in spoken)
    return frozenset(line_fingerprint(key) for key in keys if len(key) >= LINE_LETTERS)


def stock_lines(prompts: Iterable[tuple[str, Sequence[Message]]], most: int = 3) -> frozenset[int]:
    """Return fingerprints of lines that more than `most` conversations of these prompts have: greetings, scene openings."""
    owners: Counter[int] = Counter()
    seen: set[tuple[str, int]] = set()
    for conversation, prompt in prompts:
        fresh = {(conversation, line) for line in message_lines(prompt)} - seen
        seen |= fresh
        owners.update(line for _, line in fresh)
    return frozenset(line for line, count in owners.items() if count > most)


def _speech(text: str) -> str:
    """Return the speech of one line of a history; the whole text without a speaker's name before it."""
    named = _SPEAKER.match(text)
    return parse(text, named[1].strip()).text("speech") if named else text
