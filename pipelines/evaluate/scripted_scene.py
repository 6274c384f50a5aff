"""Play and judge scenes by rules, without a model: to try a whole evaluation on a new machine, and in tests over HTTP.

Answers follow from the messages alone. The actors speak written lines that fit anywhere, and the judge counts what can be
counted: repeated lines and turns without an act. Its scores say nothing about a model.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache

from her.backends.base import Description
from her.backends.rules import RuleBackend
from her.errors import BackendError
from her.format import render, render_coser
from her.format.tags import WRITTEN
from her.prompts import template
from her.rollouts.next_speaker import END
from her.types import Language, Message, Part
from pipelines.evaluate.judgements import TITLES

MODEL = "scripted-scene"
_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_PROMPTS = ("judge_scene", "choose_speaker", "choose_speaker_bare", "narrate_scene", "roleplay")
_CHOICES = re.compile(r"(?:Choose one of:|从中选一个：)\s*(.+)\s*\Z")
_NUMBERED = re.compile(r"^\[(\d+)\] ", re.MULTILINE)
_CHARACTER = re.compile(r"(?:You are|你是)\s*(.+?)(?:,| from |\. Play|（|，|。|$)")
_SAID = (
    ("I have waited for this.", "sets the cup down", "Say what you came to say."),
    ("Not yet.", "looks to the door", "You ask more than you know."),
    ("Let them wonder.", "smiles a little", "That is one way to tell it."),
    ("It still hurts.", "turns a ring", "I was there. I remember it otherwise."),
    ("Careful now.", "steps nearer", "Then we are agreed on nothing but the weather."),
    ("So that is it.", "folds the paper", "You might have told me a year ago."),
    ("I will not beg.", "stands up", "Leave the lamp. I can see well enough."),
)
_SEEN = (
    "The wind finds the gap under the door.",
    "A clock strikes in another room.",
    "Somebody passes outside and does not stop.",
)


class ScriptedScene(RuleBackend):
    """A backend without a model."""

    def __init__(self) -> None:
        super().__init__(Description(spec=MODEL, model=MODEL, revision="1", context=1_000_000, scripted=True))

    def answer(self, messages: Sequence[Message]) -> str:
        """Return `scripted_answer`."""
        return scripted_answer(messages)


def scripted_answer(messages: Sequence[Message]) -> str:
    """Return the answer of whoever these messages ask.

    Raises:
        BackendError: `bad_request` for messages that are not of an evaluation.
    """
    system, last = messages[0].content, messages[-1].content
    asked = next((name for name, starts in _starts().items() if system.startswith(starts)), "")
    number = int.from_bytes(hashlib.sha256(f"{system}\0{last}".encode("utf-8", "replace")).digest()[:6])
    if asked == "judge_scene":
        return _judgement(system, next(each.content for each in messages if each.role == "user"))
    if asked in ("choose_speaker", "choose_speaker_bare"):
        return _choice(messages, number, bare=asked == "choose_speaker_bare")
    if asked == "narrate_scene":
        return _SEEN[number % len(_SEEN)]
    if asked == "roleplay":  # act_coser begins with the same words
        return _line(system, number)
    raise BackendError("the scripted scene knows the prompts of an evaluation only; name a model", "bad_request")


@cache
def _starts() -> dict[str, tuple[str, ...]]:
    """Return how the system message of each prompt begins: its text before the first field. The order counts."""
    return {name: tuple(template(name, language).partition("$")[0] for language in _LANGUAGES) for name in _PROMPTS}


def _choice(messages: Sequence[Message], number: int, *, bare: bool) -> str:
    found = _CHOICES.search(messages[-1].content)
    names = re.split(r", |、", found[1].strip()) if found else ["random"]
    spoken = sum(each.content.count("\n\n") for each in messages[1:])
    name = END if spoken > 8 and number % 6 == 0 else names[number % len(names)]
    return name if bare else f"Reasoning: it is their turn.\nNext Speaker: {name}"


def _line(system: str, number: int) -> str:
    """Return a turn in the notation that the instructions ask for."""
    found = _CHARACTER.match(system)
    name = found[1] if found else "Somebody"
    thought, act, said = _SAID[number % len(_SAID)]
    parts = [Part(kind="role_thinking", text=thought), Part(kind="role_action", text=act), Part(kind="speech", text=said)]
    if WRITTEN["role_thinking"][0] not in system:
        return render_coser(parts)
    return render([Part(kind="system_thinking", text=f"I need to portray {name} as guarded."), *parts], name)


def _judgement(system: str, played: str) -> str:
    title = next(each for each in TITLES.values() if each in system.split("\n")[0])
    _, *pieces = _NUMBERED.split(played)
    turns = list(zip(map(int, pieces[::2]), pieces[1::2], strict=True)) or list(enumerate(played.split("\n\n"), 1))
    flaws, seen = [], set[str]()
    for number, text in turns:
        said = text.strip()
        words = said.partition(": ")[2] or said
        if words in seen:
            flaws.append({"turn": number, "instance": f'repeats "{words[:80]}"', "type": "Repetition", "severity": 2})
        elif title == TITLES["anthropomorphism"] and "(" not in said:
            flaws.append({"turn": number, "instance": f'only talks: "{words[:80]}"', "type": "Emotional Depth", "severity": 1})
        seen.add(words)
    return json.dumps({title: {"flaws": flaws}}, ensure_ascii=False)
