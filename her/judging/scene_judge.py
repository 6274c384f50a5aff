"""Ask a model which of two plays of one scene is better, in both orders, with principles or without any.

The judge that stands for readers is of another family than the models it judges and sees no principles: judges with a rubric
prefer models that learnt to please the rubric, judges without one do not (arXiv:2605.12474). What models wrote is quoted line by
line; the judge never sees a plan, and thoughts only when asked.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from her.inference.call import Call
from her.judging.judge import Ask, ask_readable, principle_lines, quoted
from her.judging.verdicts import Slot, join_orders, read_verdict
from her.prompts import fill
from her.types import Language, Message, Outcome, Principle, Sampling, Transcript, Verdict
from her.view import Viewer, line

STAGE = "judge_scenes"
LONGEST_PLAY = 60_000
"""Characters of a play that are shown; three times a scene of 20 turns of 200 words."""


class ScenePair(NamedTuple):
    """Two plays of one scene; `id` names the question in the ledger."""

    id: str
    a: Transcript
    b: Transcript

    @property
    def language(self) -> Language:
        """Return the language of the scene."""
        return self.a.scenario.language


class JudgedScenes(NamedTuple):
    """Verdicts of both orders and the one they make together, or why it is missing."""

    forth: Verdict | None
    back: Verdict | None
    joined: Verdict | None
    problem: str = ""


class ScenePairJudge:
    """A judge of plays.

    Args:
        ask: sends a call, such as `Caller.ask`.
        name: of the judge in verdicts; `model` with its revision.
        principles: by language; none for a judge without a rubric. `library` is their hash.
        thoughts: whether it sees the characters' thoughts.
    """

    def __init__(
        self,
        ask: Ask,
        name: str,
        principles: Mapping[Language, Iterable[Principle]] | None = None,
        library: str = "",
        thoughts: bool = False,
    ) -> None:
        self._ask, self._name, self._library = ask, name, library
        self._principles = {language: principle_lines(rules) for language, rules in (principles or {}).items()}
        self._viewer = Viewer(kind="judge", thoughts=thoughts)
        self._sampling = Sampling(temperature=0, max_tokens=2048)

    async def judge(self, pair: ScenePair) -> JudgedScenes:
        """Return the verdict of both orders: a disagreement is a tie, and one missing order makes the verdict missing."""
        if (settled := self._settled(pair)) is not None:
            verdict = self._verdict(settled, None, "decided without the model")
            return JudgedScenes(verdict, verdict, verdict)
        (forth, first), (back, second) = await asyncio.gather(self._one(pair, "a"), self._one(pair, "b"))
        return JudgedScenes(forth, back, join_orders(forth, back), first or second)

    def _settled(self, pair: ScenePair) -> Outcome | None:
        """Return the outcome that needs no judge: equal plays, and plays in which nothing is said or done."""
        a, b = (self._lines(play) for play in (pair.a, pair.b))
        if a == b:
            return "tie" if a else "both_bad"
        return None if a and b else "a" if a else "b"

    async def _one(self, pair: ScenePair, first: Slot) -> tuple[Verdict | None, str]:
        plays = (pair.a, pair.b) if first == "a" else (pair.b, pair.a)
        shown = [self._lines(play) for play in plays]
        call = Call(f"{pair.id}:{first}", STAGE, self._messages(pair, shown), self._sampling, version=self._library)
        reading, _ = await ask_readable(self._ask, call, lambda text: read_verdict(text, *shown), pair.language)
        if isinstance(reading, str):
            return None, reading
        if reading.outcome is None:
            return None, reading.problem
        turned: dict[Outcome, Outcome] = {"a": "b", "b": "a"}
        outcome = reading.outcome if first == "a" else turned.get(reading.outcome, reading.outcome)
        return self._verdict(outcome, first), ""

    def _messages(self, pair: ScenePair, shown: list[str]) -> tuple[Message, ...]:
        scenario, language = pair.a.scenario, pair.language
        people = "\n".join(f"{member.name}: {member.profile}" for member in pair.a.cast)
        fields = {
            "situation": quoted("\n".join(filter(None, (scenario.place, scenario.setting, scenario.opening)))),
            "characters": quoted(people),
            "first": quoted(_cut(shown[0])),
            "second": quoted(_cut(shown[1])),
        }
        rules = {"principles": self._principles.get(language, "")}
        return (
            Message(role="system", content=fill("judge_scenes", language, rules)),
            Message(role="user", content=fill("judge_scenes_question", language, fields)),
        )

    def _lines(self, play: Transcript) -> str:
        return "\n".join(filter(None, (line(turn, self._viewer) for turn in play.turns)))

    def _verdict(self, outcome: Outcome, first: Slot | None, reason: str = "") -> Verdict:
        return Verdict(winner=outcome, reason=reason, judge=self._name, first=first, model=self._name, principles=self._library)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_PLAY else f"{text[:LONGEST_PLAY]} [... {len(text) - LONGEST_PLAY}]"
