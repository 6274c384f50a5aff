"""Let models play the roles of a case through the calls of the run: ledger, budget and retries are those of her/inference.

The prompts are those of her/view.py. A protocol with other instructions changes the system message, and the notation of the
history with it; who sees what stays as her/view.py decided.
"""

import re
from collections.abc import Callable, Sequence

from her.backends.base import Completion
from her.errors import HerError
from her.format import coser_notation
from her.inference.caller import Call
from her.prompts import fill
from her.rollouts.next_speaker import END, SpeakerReading, read_next_speaker
from her.rollouts.players import Player, PlayerRequest
from her.types import ENVIRONMENT, Message, Sampling
from pipelines.evaluate.cases import ActingCase
from pipelines.evaluate.options import Role
from pipelines.evaluate.protocols import ActingProtocol
from pipelines.evaluate.retrieval import BookMemory
from pipelines.evaluate.role_callers import RoleAsker

_MARKER = re.compile(r"next speaker\s*[*#]*\s*(?::|-|is\b)?\s*\*?", re.IGNORECASE)


class TurnFailed(HerError):
    """A player got no answer; the case ends here, without a score, and is played on when the run is started again."""


class RolePlayer(Player):
    """Plays one role of one simulation.

    Args:
        asker: asks the model.
        role: whose model is asked; it also names the stage of the calls in the ledger.
        simulation: `CASE | run N`, for messages and for what a case costs.
        sampling: of the calls; each has a seed of its own.
        context: longest prompt and answer together, in tokens.
    """

    def __init__(self, asker: RoleAsker, role: Role, simulation: tuple[str, int], sampling: Sampling) -> None:
        self._asker, self._role, (self._case, self._run) = asker, role, simulation
        context = asker.context(role)
        most = max(1, min(sampling.max_tokens, context // 2))
        self._sampling = sampling.model_copy(update={"max_tokens": most})
        self.budget = context - most

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages as they are sent."""
        return self._asker.count(self._role, self.shown(tuple(messages), ""))

    def shown(self, messages: tuple[Message, ...], speaker: str) -> tuple[Message, ...]:
        """Return the messages as the model is sent them."""
        return messages

    async def answer(self, request: PlayerRequest) -> Completion:
        """Ask the model.

        Raises:
            TurnFailed: there is no answer. A model that says nothing has answered.
            BudgetSpent, BackendError: the run ends.
        """
        name = f"{self._case} | run {self._run} | {request.turn} {request.speaker or 'next speaker'} {request.attempt}"
        sampling = self._sampling.model_copy(update={"seed": request.seed})
        messages = self.shown(request.messages, request.speaker)
        answer = await self._asker.ask(self._role, Call(name, self._role, messages, sampling, number=self._run, meta=self._case))
        if answer.error and answer.reason != "empty":
            raise TurnFailed(f"{self._role}: {answer.error}")
        return Completion(text=answer.text, reasoning=answer.reasoning, finish="length" if answer.truncated else "stop")


class ActingPlayer(RolePlayer):
    """Plays the characters of a case."""

    def __init__(
        self,
        asker: RoleAsker,
        simulation: tuple[str, int],
        case: ActingCase,
        protocol: ActingProtocol,
        memory: BookMemory | None = None,
    ) -> None:
        super().__init__(asker, "actor", simulation, protocol.actor)
        self._scene, self._cast, self._memory = case.scene, case.cast(protocol), memory
        self._coser = protocol.prompt == "coser"

    def shown(self, messages: tuple[Message, ...], speaker: str) -> tuple[Message, ...]:
        """Return the messages with the protocol's instructions, and with what the character remembers of the book."""
        system, *history = messages
        if self._coser:
            system = Message(role="system", content=self._instructions(speaker))
            history = [each.model_copy(update={"content": coser_notation(each.content)}) for each in history]
        if self._memory is not None and (knowledge := self._memory.recall(speaker, history)):
            remembered = fill("remember", self._scene.scenario.language, {"name": speaker, "knowledge": knowledge})
            system = Message(role="system", content=f"{system.content}\n\n{remembered}")
        return (system, *history)

    def _instructions(self, speaker: str) -> str:
        member = next((each for each in self._cast if each.name == speaker), self._cast[0])
        zh = self._scene.scenario.language == "zh"
        others = [each for each in self._cast if each.name != member.name and each.profile]
        values = {
            "name": member.name,
            "of_source": (f"（{member.source}）" if zh else f", from {member.source}") if member.source else "",
            "profile": member.profile,
            "scenario": self._scene.scenario.setting,
            "company": "\n\n".join(f"{each.name}{'：' if zh else ': '}{each.profile}" for each in others),
            "motivation": member.motivation,
        }
        return fill("act_coser", self._scene.scenario.language, values)


class ChoosingPlayer(RolePlayer):
    """Chooses the next speaker of a case."""

    def __init__(self, asker: RoleAsker, simulation: tuple[str, int], case: ActingCase, protocol: ActingProtocol) -> None:
        super().__init__(asker, "next_speaker", simulation, protocol.next_speaker)
        self._case_played, self._bare = case, protocol.question == "bare"

    def shown(self, messages: tuple[Message, ...], speaker: str) -> tuple[Message, ...]:
        """Return the messages with the protocol's instructions."""
        if not self._bare:
            return messages
        scenario = self._case_played.scene.scenario
        names = [member.name for member in self._case_played.scene.cast]
        values = {
            "characters": ("、" if scenario.language == "zh" else ", ").join(names),
            "narrator": ENVIRONMENT,
            "setting": scenario.setting,
        }
        return (Message(role="system", content=fill("choose_speaker_bare", scenario.language, values)), *messages[1:])


def reader_of(protocol: ActingProtocol) -> Callable[[str, Sequence[str]], SpeakerReading]:
    """Return the reader of the next speaker's answers."""
    return {"tolerant": read_next_speaker, "before_colon": before_colon, "last_marker": last_marker}[protocol.reader]


def before_colon(answer: str, names: Sequence[str]) -> SpeakerReading:
    """Read an answer as the code of CoSER's paper does: the text before the first colon, else all of it."""
    return _exactly(answer.split(":")[0].strip(), names)


def last_marker(answer: str, names: Sequence[str]) -> SpeakerReading:
    """Read an answer as CoSER's later code does: what follows the last `Next Speaker`, less some marks at its end.

    Like that code it does not find a name in bold or in quotes, and never one that ends in a full stop.
    """
    marks = list(_MARKER.finditer(answer))
    if not marks:
        return before_colon(answer, names)
    lines = answer[marks[-1].end() :].strip().splitlines()
    return _exactly((lines[0] if lines else "").rstrip(" .,!\"'*"), names)


def _exactly(said: str, names: Sequence[str]) -> SpeakerReading:
    if said == END:
        return SpeakerReading(kind="end")
    if said in names:
        return SpeakerReading(kind="name", name=said)
    return SpeakerReading(kind="random" if said.casefold() == "random" else "unreadable")
