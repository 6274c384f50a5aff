"""The players of a scene: they answer requests for a turn or for the next speaker. A backend is one, a person may be.

A player raises `BackendError` for a failure. The scene passes it on: a failure never becomes a turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from her.backends.base import Backend, Completion
from her.types import Message, Sampling

Purpose = Literal["character", "environment", "next_speaker"]


@dataclass(frozen=True, slots=True)
class PlayerRequest:
    """One request to a player; it holds nothing that the viewer may not see.

    Args:
        purpose: what is asked for.
        speaker: whose turn it is; empty for the next speaker.
        messages: the prompt.
        turn: number of the turn in the scene, from 0.
        attempt: 0, and 1 when it is asked again.
        seed: follows from the scene's seed, the turn, the purpose and the attempt.
    """

    purpose: Purpose
    speaker: str
    messages: tuple[Message, ...]
    turn: int
    attempt: int
    seed: int


class Player(Protocol):
    """Answers requests. A class that inherits from this one has no limit of its prompts unless it says so."""

    budget: int = 0
    """Most tokens of a prompt; 0 for no limit."""

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages; asked only when `budget` is set."""
        return 0

    async def answer(self, request: PlayerRequest) -> Completion:
        """Return the answer as the model wrote it.

        Raises:
            BackendError: there is none.
        """
        ...


class BackendPlayer(Player):
    """A backend with one sampling. The reply gets at most half of the context, the prompt the rest.

    Args:
        backend: the model.
        sampling: of each call; each has a seed of its own.
    """

    def __init__(self, backend: Backend, sampling: Sampling | None = None) -> None:
        sampling, context = sampling or Sampling(), backend.describe().context
        most = max(1, min(sampling.max_tokens, context // 2))
        self.backend, self.sampling = backend, sampling.model_copy(update={"max_tokens": most})
        self.budget = context - most

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages as the backend counts them."""
        return self.backend.count_tokens(messages)

    async def answer(self, request: PlayerRequest) -> Completion:
        """Ask the backend."""
        return await self.backend.complete(request.messages, self.sampling.model_copy(update={"seed": request.seed}))


@dataclass(frozen=True)
class Players:
    """The players of one scene.

    Args:
        actor: of every character without a player of their own.
        actors: players of single characters, by name.
        people: characters whose player is a person: what they write is speech, tags in it are text.
        environment: the narrator; None for a scene without one.
        next_speaker: who is asked in the modes `model` and `manual`.
    """

    actor: Player | None = None
    actors: Mapping[str, Player] = field(default_factory=dict)
    people: Mapping[str, Player] = field(default_factory=dict)
    environment: Player | None = None
    next_speaker: Player | None = None

    def of(self, name: str) -> Player | None:
        """Return who plays the character `name`."""
        return self.people.get(name) or self.actors.get(name) or self.actor
