"""Answer the questions of a judge without a model, about planted pairs only: to try a whole check on a new machine.

It reads what a model would read, knows the written lines of the personas, and has the biases that `ScriptedOptions` name. General
principles let it see half as much of quality, and an answer without reasoning has twice the noise. That is an assumption, so its
figures say nothing about models; they show that the report finds what was planted.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

from her.backends.base import Description
from her.backends.rules import RuleBackend
from her.characters.personas import fill_slots, load_personas
from her.errors import BackendError
from her.format import parse
from her.types import Message, Turn
from pipelines.judge_check.options import ScriptedOptions
from pipelines.judge_check.planted import FILLERS, VISITOR

THOUGHT, PLAIN, FITTING = 2.0, 2.0, 3.0
"""Log odds of an inner thought, of no empty words, and of the line that was written for this question."""
MIDDLE, POINTS = 4.0, 0.9
"""Quality that gets the middle score, and score points for each unit of it."""
_SECTION = re.compile(r"^===(.+?)===$", re.MULTILINE)
_WORDS = re.compile(r"\w[\w ]{1,30}")
_CANDIDATES = {"Candidate A": "a", "候选 A": "a", "Candidate B": "b", "候选 B": "b", "Candidate": "a", "候选": "a"}
_HISTORY = ("The Conversation So Far", "此前的对话")
_GENERAL = ("===Criteria===", "===标准===")
_BARE = ("===How to Answer===", "===怎样作答===")


class ScriptedJudge(RuleBackend):
    """A judge without a model, with the biases that it is given."""

    def __init__(self, biases: ScriptedOptions) -> None:
        name = "scripted-judge"
        super().__init__(Description(spec="scripted judge", model=name, revision="1", context=1_000_000, scripted=True))
        self._biases = biases

    def answer(self, messages: Sequence[Message]) -> str:
        """Return a verdict or score.

        Raises:
            BackendError: `bad_request` for messages that are no question of her/judging.
        """
        system, user = messages[0].content, messages[1].content
        shown, cue = _candidates(user), _cue(user)
        if not shown:
            raise BackendError("the scripted judge knows the questions of her/judging only; name a model", "bad_request")
        if _chance(system, user, "unreadable") < self._biases.unreadable:
            return "I would rather not say."
        seen = 0.5 if any(heading in system for heading in _GENERAL) else 1.0
        noise = self._biases.noise * (2.0 if any(heading in system for heading in _BARE) else 1.0)
        found = [seen * _quality(turn, cue) + noise * _normal(system, user, str(place)) for place, turn in enumerate(shown)]
        found = [value + self._biases.length * math.log(1 + len(turn.raw)) for value, turn in zip(found, shown, strict=True)]
        if len(shown) == 1:
            usual = self._biases.length * math.log(200)
            score = 5.5 + POINTS * (found[0] - usual - seen * MIDDLE)
            return f"Score: {min(10, max(1, round(score)))}"
        winner = "A" if found[0] - found[1] + self._biases.slot > 0 else "B"
        return self._reasoned(system, shown, winner) + f"Verdict: {winner}"

    def _reasoned(self, system: str, shown: Sequence[Turn], winner: str) -> str:
        """Return one line of analysis; nothing where none is asked for, or the winner has no words to quote."""
        words = _WORDS.search(shown["AB".index(winner)].text("speech"))
        if any(heading in system for heading in _BARE) or words is None:
            return ""
        return f'- [own-voice] {winner}: "{words[0]}" -> {winner} (clear): it fits this moment better\n'


def _quality(turn: Turn, cue: str) -> float:
    """Return the quality that the planted rule gives a turn, in log odds."""
    speech = turn.text("speech")
    plain = not any(speech.startswith(filler) for fillers in FILLERS.values() for filler in fillers)
    fits = any(written in speech for written in _written(turn.speaker, cue))
    return THOUGHT * bool(turn.text("role_thinking")) + PLAIN * plain + FITTING * fits


@cache
def _written(speaker: str, cue: str) -> tuple[str, ...]:
    """Return the speech of the replies that were written for these words."""
    return tuple(
        parse(fill_slots(exchange.reply, *VISITOR[persona.language]), persona.name, notation="coser").text("speech")
        for persona in load_personas().values()
        if persona.name == speaker
        for exchange in persona.exchanges
        if exchange.cues and exchange.cues[0] == cue
    )


def _candidates(user: str) -> list[Turn]:
    """Return the candidates of a question in the order in which they are shown."""
    sections = _SECTION.split(user)
    return [_turn(text) for heading, text in zip(sections[1::2], sections[2::2], strict=True) if heading.strip() in _CANDIDATES]


def _turn(quoted: str) -> Turn:
    text = "\n".join(row.removeprefix("> ") for row in quoted.strip().splitlines())
    return parse(text, text.partition(":")[0].strip() or "?")


def _cue(user: str) -> str:
    """Return the last words that were said to the character."""
    sections = _SECTION.split(user)
    told = dict(zip(sections[1::2], sections[2::2], strict=True))
    history = next((told[heading] for heading in _HISTORY if heading in told), "").strip()
    return history.splitlines()[-1].partition(": ")[2] if history else ""


def _chance(*texts: str) -> float:
    """Return a number between 0 and 1 that follows from the texts."""
    return (int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:6], "big") + 0.5) / 2**48


def _normal(*texts: str) -> float:
    return NormalDist().inv_cdf(_chance(*texts))
