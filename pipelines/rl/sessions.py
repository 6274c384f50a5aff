"""Train on whole sessions with TRL: `unit = session`.

Each prompt is where a chat begins; the policy plays it on against a simulated visitor for some turns, and the session is judged
as a whole. TRL then sees one row a turn, each with its own prompt, in groups of one turn number:

    sessions of a group:  s0 s1 s2 s3          rows:  s0.0 s1.0 s2.0 s3.0   s0.1 s1.1 s2.1 s3.1   ...
    reward of a row:      that of its session  so every turn has the session's advantage
    advantage of a row:   divided by the turns that its session has

A session that ended early keeps its rows in the groups, so that every baseline is that of all sessions; those rows are masked.
One that its visitor ended has no reward: that says nothing about the policy.
TRL's own multi-turn rollouts join the turns into one sequence, in which plans would stay in the history.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from her.errors import InputError
from her.rewards import session_advantages
from her.rollouts.players import Player
from her.rollouts.rollout import PlayedSession, PromptBudget, SessionStart, WrittenAnswer, play_sessions
from her.types import Message, Transcript
from pipelines.rl.prompts import RolloutPrompt

Draw = Callable[[Sequence[tuple[Message, ...]]], list[list[int]]]
"""Answers prompts: token ids with the stop token, where the model ended by itself."""
Reward = Callable[..., "list[float | None]"]
"""A reward function with TRL's signature."""
STARTS = "start"
"""Column of the data set that holds a session's start as JSON."""


class PlayedBatch(NamedTuple):
    """The sessions of a batch as TRL's rows.

    Args:
        inputs: rows of the data set, one a turn.
        answers: token ids of each row.
        rewards: of each row, its session's.
        shares: factor of each row's advantage; 0 for a masked one.
    """

    inputs: list[dict[str, Any]]
    answers: list[list[int]]
    rewards: list[float | None]
    shares: list[float]

    def rows(self, first: int, end: int) -> "PlayedBatch":
        """Return some of the rows."""
        return PlayedBatch(self.inputs[first:end], self.answers[first:end], self.rewards[first:end], self.shares[first:end])


def joined(batches: Sequence[PlayedBatch]) -> PlayedBatch:
    """Return the rows of several batches, one after the other."""
    found = PlayedBatch([], [], [], [])
    for batch in batches:
        found.inputs.extend(batch.inputs)
        found.answers.extend(batch.answers)
        found.rewards.extend(batch.rewards)
        found.shares.extend(batch.shares)
    return found


def session_rows(prompts: Sequence[RolloutPrompt]) -> list[dict[str, Any]]:
    """Return rows of the data set for prompts at which a session can begin.

    Raises:
        InputError: none of them has the chat before it: books and exports hold single turns.
    """
    rows = [{**prompt.row(), STARTS: prompt.start.model_dump_json()} for prompt in prompts if prompt.start is not None]
    if not rows:
        raise InputError(
            "no prompt can begin a session: sessions are played in scenes of personas; give prompts.personas, or unit='turn'"
        )
    return rows


class SessionPlayer:
    """Plays and judges the sessions of a batch.

    Args:
        visitor: plays every visitor.
        turns: turns of the policy in a session.
        plans: whether an answer needs system_thinking.
        stop: token that ends an answer.
        read: returns the text of an answer's token ids, without the stop token.
        budget: of a prompt; the oldest turns are dropped from a longer one.
    """

    def __init__(
        self,
        visitor: Player,
        turns: int,
        plans: bool,
        stop: int,
        read: Callable[[Sequence[int]], str],
        budget: PromptBudget | None = None,
    ) -> None:
        self._visitor, self._turns, self._plans, self._stop, self._read = visitor, turns, plans, stop, read
        self._budget = budget

    def play(
        self, inputs: Sequence[dict[str, Any]], size: int, seed: int, draw: Draw, reward: Reward, **more: Any
    ) -> PlayedBatch:
        """Return the batch as rows of TRL.

        Args:
            inputs: rows of `session_rows`, those of a group as neighbours.
            size: sessions of a group.
            seed: of the visitors, such as the step.
            draw: the policy.
            reward: the one reward function; it gets each session as one answer.
            more: passed to the reward, such as `log_metric`.
        """
        drawn: dict[int, list[list[int]]] = {place: [] for place in range(len(inputs))}
        sessions = self._sessions(inputs, seed, draw, drawn)
        texts = [session.text() for session in sessions]
        rewards = reward(
            prompts=[row["prompt"] for row in inputs],
            completions=[[{"role": "assistant", "content": text}] for text in texts],
            completion_ids=[[self._stop]] * len(inputs),
            fault=[session.fault for session in sessions],
            **{name: [row[name] for row in inputs] for name in inputs[0] if name not in ("prompt", STARTS)},
            **more,
        )
        known = [None if session.interrupted else value for session, value in zip(sessions, rewards, strict=True)]
        return self._rows(inputs, sessions, drawn, known, size)

    def _sessions(
        self, inputs: Sequence[dict[str, Any]], seed: int, draw: Draw, drawn: dict[int, list[list[int]]]
    ) -> list[PlayedSession]:
        starts = [self._start(row, place, seed) for place, row in enumerate(inputs)]

        def answer(places: Sequence[int], prompts: Sequence[tuple[Message, ...]]) -> list[WrittenAnswer]:
            answers = draw(prompts)
            for place, ids in zip(places, answers, strict=True):
                drawn[place].append(ids)
            return [WrittenAnswer(self._read(ids), self._stop in ids) for ids in answers]

        return play_sessions(starts, answer, self._visitor, turns=self._turns, plans=self._plans, budget=self._budget)

    def _start(self, row: dict[str, Any], place: int, seed: int) -> SessionStart:
        chat = Transcript.model_validate_json(row[STARTS])
        visitor = next(member.name for member in chat.cast if member.name != row["speaker"])
        # The visitors of a group have one seed: its sessions differ by what the policy says, not by luck with the visitor.
        return SessionStart(row["id"], chat, row["speaker"], visitor, seed)

    def _rows(
        self,
        inputs: Sequence[dict[str, Any]],
        sessions: Sequence[PlayedSession],
        drawn: dict[int, list[list[int]]],
        rewards: Sequence[float | None],
        size: int,
    ) -> PlayedBatch:
        batch = PlayedBatch([], [], [], [])
        for first in range(0, len(inputs), size):
            for number in range(self._turns):
                for place in range(first, first + size):
                    self._add(batch, inputs[place], sessions[place], drawn[place], rewards[place], number)
        return batch

    def _add(
        self,
        batch: PlayedBatch,
        row: dict[str, Any],
        session: PlayedSession,
        answers: Sequence[list[int]],
        reward: float | None,
        number: int,
    ) -> None:
        played = number < len(session.turns)
        turn = session.turns[number if played else 0]
        batch.inputs.append({**row, "prompt": [message.model_dump() for message in turn.prompt]})
        batch.answers.append(list(answers[number]) if played else [self._stop])
        batch.rewards.append(reward)
        batch.shares.append(session_advantages(1.0, len(session.turns))[0] if played else 0.0)
