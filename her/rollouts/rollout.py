"""Play candidates for a prompt, and sessions: a policy against a simulated visitor, turn by turn.

    rollouts = await candidates(backend, prompt, "Mara", 8)      # k answers to one prompt, failures recorded
    sessions = play_sessions(starts, answer, visitor, turns=4)   # many sessions in step, so that a model answers them together

A session is a chat that goes on from its start. The policy's prompt at each turn is that of the playground (her/view.py): its
plans are in no history. So a session is one row a turn, each with a prompt of its own, and its advantage is divided by its turns
(`her.rewards.session_advantages`). A visitor that fails ends the session, which keeps the turns it has and says why.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from her import view
from her.backends.base import Backend
from her.errors import BackendError, InputError
from her.format import parse
from her.kinds import PLAN
from her.rewards import malformation
from her.rollouts.players import Player, PlayerRequest
from her.types import Message, Part, Rollout, Sampling, Transcript, Turn, Value


async def candidates(
    backend: Backend, prompt: Sequence[Message], speaker: str, count: int, sampling: Sampling | None = None
) -> tuple[Rollout, ...]:
    """Return `count` rollouts of one prompt; a call that failed has its error in the record and no turn.

    Args:
        sampling: each call gets its seed plus its number; without a seed the server chooses.
    """
    sampling = sampling or Sampling()
    model = backend.describe().model

    async def one(number: int) -> Rollout:
        seed = None if sampling.seed is None else sampling.seed + number
        own = sampling.model_copy(update={"seed": seed})
        record = Rollout(prompt=tuple(prompt), model=model, sampling=own)
        try:
            answer = await backend.complete(prompt, own)
        except BackendError as error:
            return record.model_copy(update={"error": str(error)})
        return record.model_copy(update={"turn": parse(answer.text, speaker, reasoning=answer.reasoning)})

    return tuple(await asyncio.gather(*(one(number) for number in range(count))))


class WrittenAnswer(NamedTuple):
    """Text of a policy without its stop token, and whether it ended the answer itself."""

    text: str
    finished: bool


class SessionStart(NamedTuple):
    """Start of a session: the chat so far, who is played by the policy and who by the visitor's player."""

    id: str
    chat: Transcript
    speaker: str
    visitor: str
    seed: int = 0


class SessionTurn(Value):
    """One turn of the policy with its prompt; `fault` says why it failed the format gate, empty when it passed."""

    prompt: tuple[Message, ...]
    turn: Turn
    fault: str = ""


class PlayedSession(Value):
    """A played session.

    Args:
        chat: the whole chat, start included.
        start: turns that were there before.
        turns: those of the policy.
        ended: why it has fewer turns than wanted; empty when it has all.
    """

    id: str
    speaker: str
    chat: Transcript
    start: int
    turns: tuple[SessionTurn, ...]
    ended: str = ""

    @property
    def interrupted(self) -> bool:
        """Return whether the visitor ended it, which says nothing about the policy."""
        return bool(self.ended) and not self.fault

    @property
    def fault(self) -> str:
        """The first fault of its turns: a session with one malformed turn is malformed."""
        return next((turn.fault for turn in self.turns if turn.fault), "")

    def text(self) -> str:
        """Return what happened since the start, as a judge reads it: thoughts of the speaker, no plan."""
        judge = view.Viewer(kind="reward_model")
        outsider = view.Viewer(kind="environment")
        lines = (view.line(turn, judge if turn.speaker == self.speaker else outsider) for turn in self.chat.turns[self.start :])
        return "\n\n".join(line for line in lines if line)


Answer = Callable[[Sequence[int], Sequence[tuple[Message, ...]]], Sequence[WrittenAnswer]]
"""Answers many prompts together, in order; the numbers say which sessions they are of."""


class PromptBudget(NamedTuple):
    """Most tokens of a prompt of the policy, and how they are counted; the oldest turns are dropped, as in the playground."""

    tokens: int
    count: Callable[[Sequence[Message]], int]


def play_sessions(
    starts: Sequence[SessionStart],
    answer: Answer,
    visitor: Player,
    *,
    turns: int,
    plans: bool = True,
    budget: PromptBudget | None = None,
) -> list[PlayedSession]:
    """Play sessions in step: all answers of one turn are sampled together, then all visitors speak.

    A malformed answer ends its session: nobody can go on from it.

    Args:
        answer: the policy.
        visitor: plays the visitor of every session; each call has a seed that follows from the session and the turn.
        turns: turns of the policy.
        plans: whether an answer without system_thinking is malformed.
        budget: of the policy's prompts; None for no limit.

    Raises:
        InputError: a start in which the visitor or speaker is not in the cast, or no turns are wanted.
    """
    if turns < 1:
        raise InputError(f"a session of {turns} turns has nothing to learn; give at least 1")
    sessions = [_opened(start) for start in starts]
    for number in range(turns):
        if number:
            sessions = asyncio.run(_visited(starts, sessions, visitor, number))
        live = [place for place, session in enumerate(sessions) if not session.ended]
        if not live:
            break
        prompts = [_prompt(sessions[place], budget) for place in live]
        for place, prompt, written in zip(live, prompts, answer(live, prompts), strict=True):
            sessions[place] = _answered(sessions[place], prompt, written, starts[place].visitor, number, plans)
    return sessions


def _prompt(session: PlayedSession, budget: PromptBudget | None) -> tuple[Message, ...]:
    if budget is None:
        return view.messages(session.chat, session.speaker)
    return view.prompt(session.chat, session.speaker, budget.tokens, budget.count).messages


def _opened(start: SessionStart) -> PlayedSession:
    names = {member.name for member in start.chat.cast}
    if missing := [name for name in (start.speaker, start.visitor) if name not in names]:
        raise InputError(f"session '{start.id}': '{missing[0]}' is not in the cast, which is {', '.join(sorted(names))}")
    return PlayedSession(id=start.id, speaker=start.speaker, chat=start.chat, start=len(start.chat.turns), turns=())


def _answered(
    session: PlayedSession, prompt: tuple[Message, ...], written: WrittenAnswer, visitor: str, number: int, plans: bool
) -> PlayedSession:
    others = tuple(member.name for member in session.chat.cast if member.name != session.speaker)
    turn = parse(written.text, session.speaker, others, turn_id=_turn_id(session, number, written.text))
    fault = malformation(written.text, session.speaker, others, finished=written.finished, plans=plans)
    return session.model_copy(
        update={
            "chat": session.chat.model_copy(update={"turns": (*session.chat.turns, turn)}),
            "turns": (*session.turns, SessionTurn(prompt=prompt, turn=turn, fault=fault)),
            "ended": f"turn {number} is malformed: {fault}" if fault else "",
        }
    )


async def _visited(
    starts: Sequence[SessionStart], sessions: Sequence[PlayedSession], visitor: Player, number: int
) -> list[PlayedSession]:
    return list(
        await asyncio.gather(*(_visit(start, each, visitor, number) for start, each in zip(starts, sessions, strict=True)))
    )


async def _visit(start: SessionStart, session: PlayedSession, visitor: Player, number: int) -> PlayedSession:
    """Let the visitor speak; a failure or an empty turn ends the session."""
    if session.ended:
        return session
    prompt = view.prompt(session.chat, start.visitor, visitor.budget or 2**31, visitor.count if visitor.budget else lambda _: 0)
    digest = hashlib.sha256(f"{start.seed} {start.id} {number}".encode()).digest()
    request = PlayerRequest("character", start.visitor, prompt.messages, number, 0, int.from_bytes(digest[:4], "big") >> 1)
    try:
        answer = await visitor.answer(request)
    except BackendError as error:
        return session.model_copy(update={"ended": f"the visitor failed before turn {number}: {error}"})
    said = parse(answer.text, start.visitor, (session.speaker,), turn_id=_turn_id(session, number, "visitor"))
    parts: tuple[Part, ...] = tuple(part for part in said.parts if part.kind != PLAN)
    if not said.spoken:
        return session.model_copy(update={"ended": f"the visitor said nothing before turn {number}"})
    turn = said.model_copy(update={"parts": parts})
    return session.model_copy(update={"chat": session.chat.model_copy(update={"turns": (*session.chat.turns, turn)})})


def _turn_id(session: PlayedSession, number: int, text: str) -> str:
    return hashlib.sha256(f"{session.id}\0{number}\0{text}".encode("utf-8", "replace")).hexdigest()[:32]
