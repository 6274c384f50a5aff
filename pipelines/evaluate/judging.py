"""Judge simulations: one question for each dimension, with the names before the lines and without what the judge may not see.

The judge reads the book's scene, the plot and the simulation, in one notation whatever the actor's was. Judging needs a
transcript and nothing else, so transcripts are judged again without being played. A judgement that cannot be read is asked for
again, alone; one that stays unreadable, or a failed call, is missing.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from her.format import coser_notation
from her.inference.caller import Call
from her.judging.judge import TRUNCATED
from her.prompts import fill
from her.types import ENVIRONMENT, Message, Transcript, Turn
from her.view import Viewer, line
from pipelines.evaluate.cases import ActingCase
from pipelines.evaluate.judgements import TITLES, ReadJudgement, SaidFlaw, read_judgement
from pipelines.evaluate.protocols import ActingProtocol
from pipelines.evaluate.role_callers import RoleAsker
from pipelines.evaluate.scores import Flaw, Thoughts

ResultT = TypeVar("ResultT")
_QUOTED = re.compile(r"[\"“”«»「」『』]([^\"“”«»「」『』\n]{4,400})[\"“”«»「」『』]")
_WORD = re.compile(r"[a-z0-9']+|[\u4e00-\u9fff]")
_SHARED = 4
"""Words in a row that a flaw has to share with a turn to point at it, where it quotes nothing and names no number."""


class SeenTurn(NamedTuple):
    """One turn as the judge reads it."""

    turn: Turn
    text: str


class DimensionJudgement(NamedTuple):
    """DimensionJudgement of one dimension: flaws, or the problem why it is missing; `reasked` counts further attempts."""

    flaws: tuple[Flaw, ...] | None
    problem: str = ""
    reasked: int = 0

    @property
    def severity(self) -> float:
        """The sum of the severities that count."""
        return sum(flaw.severity or 0 for flaw in self.flaws or ())


class SceneQuestion(NamedTuple):
    """One question to the judge: a case, a transcript, a view.

    Args:
        given: turns at the beginning that are those of the book.
    """

    case: ActingCase
    transcript: Transcript
    thoughts: Thoughts
    given: int = 0

    def shown(self, protocol: ActingProtocol) -> list[SeenTurn]:
        """Return the turns in which the judge sees anything."""
        return shown_turns(self.transcript.turns, self.thoughts, labels=protocol.labels)


def shown_turns(turns: Sequence[Turn], thoughts: Thoughts, *, labels: bool = True) -> list[SeenTurn]:
    """Return the turns as a judge reads them, in CoSER's notation; turns in which there is nothing to see are left out."""
    viewer = Viewer(kind="judge", thoughts=thoughts == "visible")
    seen = [(turn, coser_notation(line(turn, viewer))) for turn in turns]
    return [SeenTurn(turn, text if labels else text.removeprefix(f"{turn.speaker}: ")) for turn, text in seen if text]


def credited_rounds(question: SceneQuestion, protocol: ActingProtocol) -> int:
    """Return the turns of characters that earn the credit for length, those that were given left out."""
    played = question.transcript.turns[question.given :]
    if protocol.credit == "seen":
        played = tuple(shown.turn for shown in shown_turns(played, question.thoughts))
    return sum(turn.speaker != ENVIRONMENT for turn in played)


class JudgedTexts(NamedTuple):
    """Texts that the judge reads of a question, whatever the dimension: the turns that were played, and the book's scene."""

    shown: tuple[SeenTurn, ...]
    reference: str

    @classmethod
    def of(cls, question: SceneQuestion, protocol: ActingProtocol) -> "JudgedTexts":
        """Return the texts of a question."""
        thoughts = question.thoughts if protocol.reference_thoughts == "same" else "visible"
        book = shown_turns(question.case.scene.turns, thoughts)
        return cls(tuple(question.shown(protocol)), "\n\n".join(each.text for each in book))


class SceneJudge:
    """Judges scenes by one protocol.

    Args:
        asker: asks the judge.
        protocol: what it sees, how its answers are read, how often it is asked.
    """

    def __init__(self, asker: RoleAsker, protocol: ActingProtocol) -> None:
        self._asker, self._protocol = asker, protocol

    async def judge(self, question: SceneQuestion) -> dict[str, DimensionJudgement]:
        """Return the judgement of every dimension; they are asked side by side.

        Raises:
            BudgetSpent, BackendError: the run ends.
        """
        texts = JudgedTexts.of(question, self._protocol)  # once: all dimensions read the same
        judgements = await all_of(self._dimension(question, dimension, texts) for dimension in TITLES)
        return dict(zip(TITLES, judgements, strict=True))

    async def _dimension(self, question: SceneQuestion, dimension: str, texts: "JudgedTexts") -> DimensionJudgement:
        protocol, problem = self._protocol, ""
        messages: tuple[Message, ...] = judge_messages(question, dimension, protocol, texts)
        asked = messages
        for attempt in range(protocol.judge_asks):
            # A second question at temperature 0 would get the first answer again.
            sampling = protocol.judge if not attempt else protocol.judge.model_copy(update={"temperature": 1.0, "seed": attempt})
            name = f"{question.transcript.id} | {dimension} | {question.thoughts} | {attempt}"
            call = Call(name, "judge", asked, sampling, number=attempt, patient=True, meta=question.case.key)
            answer = await self._asker.ask("judge", call)
            if answer.error:
                return DimensionJudgement(None, f"{answer.reason}: {answer.error}", attempt)
            reading = ReadJudgement(None, TRUNCATED) if answer.truncated else self._read(answer.text, dimension)
            if reading.flaws is not None:
                return DimensionJudgement(self._flaws(reading.flaws, texts.shown), "", attempt)
            problem = reading.problem
            asked = messages if answer.truncated else _again(messages, answer.text, problem, dimension, question, protocol)
        return DimensionJudgement(None, f"unreadable: {problem}", protocol.judge_asks - 1)

    def _read(self, text: str, dimension: str) -> ReadJudgement:
        return read_judgement(text, dimension, self._protocol.severities)

    def _flaws(self, said: Sequence[SaidFlaw], shown: Sequence[SeenTurn]) -> tuple[Flaw, ...]:
        numbered = shown if self._protocol.numbered else []
        return tuple(
            Flaw(turn=_turn_of(flaw, shown, numbered), kind=flaw.kind, severity=flaw.severity, text=flaw.text) for flaw in said
        )


async def all_of(awaitables: Iterable[Awaitable[ResultT]]) -> list[ResultT]:
    """Return all outcomes; raise the first error when every one has ended, so that calls in flight are still recorded."""
    outcomes = await asyncio.gather(*awaitables, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes  # type: ignore[return-value]


def judge_messages(
    question: SceneQuestion, dimension: str, protocol: ActingProtocol, texts: JudgedTexts | None = None
) -> tuple[Message, Message]:
    """Return the system message (book, criteria, form of the answer) and the simulation as the user message."""
    scene, language = question.case.scene, question.case.scene.scenario.language
    shown, reference = texts or JudgedTexts.of(question, protocol)
    comma = "、" if language == "zh" else ", "
    major = comma.join(question.case.major)
    fields = {
        "dimension": TITLES[dimension],
        "book": question.case.title,
        "plot": scene.plot_summary,
        "scenario": scene.scenario.setting,
        "profiles": "\n\n".join(f"### {member.name}\n{member.profile}" for member in scene.cast if member.profile),
        "major": major,
        "reference": reference,
        # The names of the main characters are filled in here as well: published code leaves their place holder in the criteria.
        "criteria": fill(f"judge_{dimension}", language, {"major": major} if dimension == "character_fidelity" else {}),
        "given": _given(question),
        "form": _form(dimension, protocol),
    }
    lines = [f"[{number}] {each.text}" if protocol.numbered else each.text for number, each in enumerate(shown, 1)]
    return (
        Message(role="system", content=fill("judge_scene", language, fields)),
        Message(role="user", content=fill("judge_scene_question", language, {"played": "\n\n".join(lines)})),
    )


def _given(question: SceneQuestion) -> str:
    if not question.given:
        return ""
    if question.case.scene.scenario.language == "zh":
        return f"前 {question.given} 轮是书中原文，不评；只评其后。"
    return f"The first {question.given} turns are those of the book. Judge only what follows them."


def _form(dimension: str, protocol: ActingProtocol) -> str:
    flaw: dict[str, object] = {"turn": 3} if protocol.numbered else {}
    flaw |= {"instance": "what is wrong, with a short quote", "type": "one of the kinds above", "severity": 2}
    return json.dumps({TITLES[dimension]: {"flaws": [flaw]}})


def _again(
    messages: tuple[Message, ...], answer: str, problem: str, dimension: str, question: SceneQuestion, protocol: ActingProtocol
) -> tuple[Message, ...]:
    """Return the question with the answer that cannot be used and why."""
    fields = {"problem": problem, "form": _form(dimension, protocol)}
    again = fill("judge_scene_again", question.case.scene.scenario.language, fields)
    return (*messages, Message(role="assistant", content=answer.strip() or "-"), Message(role="user", content=again))


def _turn_of(flaw: SaidFlaw, shown: Sequence[SeenTurn], numbered: Sequence[SeenTurn]) -> str:
    """Return the id of the turn that a flaw points at: by its number, by a quote, by words in a row; empty when by none."""
    if 1 <= flaw.turn <= len(numbered):
        return numbered[flaw.turn - 1].turn.id
    quotes = [" ".join(_words(quote)) for quote in _QUOTED.findall(flaw.text)]
    texts = [(each.turn.id, f" {' '.join(_words(each.text))} ") for each in shown]
    for quote in filter(None, quotes):
        if found := [identity for identity, text in texts if f" {quote} " in text]:
            return found[0]
    words = _words(flaw.text)
    runs = [f" {' '.join(words[at : at + _SHARED])} " for at in range(len(words) - _SHARED + 1)]
    shared = [(sum(run in text for run in runs), identity) for identity, text in texts]
    most = max(shared, key=lambda each: each[0], default=(0, ""))
    return most[1] if most[0] else ""


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("\u2019", "'"))
