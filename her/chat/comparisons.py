"""Choose the turns of a playtest that are answered twice, by which arms, and in which order the two are shown.

All draws of one turn follow from the seed, the chat and the place in it. A share of the comparisons are checks of the rater: in a
catch pair one side is made bad on purpose, and a repeat shows an earlier pair again, with sides swapped, after an ordinary reply.
"""

import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from her.backends.base import Backend, Completion, Delta, Description, join_deltas
from her.chat.jobs import ReplyJob, ReplyJobBuilder
from her.chat.pages import Page
from her.chat.running_pair import PairJob
from her.store import Conversation, ShownArm
from her.types import Language, Message, Sampling, Thinking

Choose = Callable[[ReplyJobBuilder], ReplyJob]


class PlantedReply(NamedTuple):
    """A reply that is bad on purpose: the text as a model would have written it, and the kind of its fault."""

    kind: str
    text: str


Planter = Callable[[str, str, Language, random.Random], PlantedReply]
"""Makes a bad reply of a speaker to somebody, in a language; `her.judging.catches` has one."""


@dataclass(frozen=True)
class ComparedArm:
    """One of the things that are compared.

    Args:
        name: of the arm.
        backend: its model; None for that of the playground.
        sampling: parameters of its calls; fields that were not set are as everywhere.
        thinking: layers of thinking that it is asked for.
    """

    name: str
    backend: Backend | None = None
    sampling: Sampling = Sampling()
    thinking: Thinking = "full"

    @property
    def shown(self) -> ShownArm:
        """Return the record of it in a ballot."""
        return ShownArm(name=self.name, thinking=self.thinking)

    def builder(self, jobs: ReplyJobBuilder, backend: Backend) -> ReplyJobBuilder:
        """Return the builder of this arm's replies; `backend` is the playground's."""
        own = {name: getattr(self.sampling, name) for name in self.sampling.model_fields_set}
        sampling = jobs.sampling.model_copy(update=own)
        return replace(jobs, backend=self.backend or backend, sampling=sampling, thinking=self.thinking)


class Draw(NamedTuple):
    """Kind of a turn: a comparison of two arms, a catch pair of one arm, or a repeat after an ordinary reply."""

    kind: Literal["pair", "catch", "repeat"]
    arms: tuple[ComparedArm, ComparedArm]
    chance: random.Random


class Comparing:
    """Comparisons of one playtest.

    Args:
        arms: two or more.
        every: returns at each how many replies of a chat a comparison comes; 0 for never.
        catch: share of comparisons with a planted side.
        repeat: share of comparisons that are a repeat.
        plant: makes planted replies; None makes no catch pairs.
        seed: of all draws; None draws one that nobody knows.
    """

    def __init__(
        self,
        arms: Sequence[ComparedArm],
        every: Callable[[Conversation], int],
        *,
        catch: float = 0.125,
        repeat: float = 0.125,
        plant: Planter | None = None,
        seed: int | None = None,
    ) -> None:
        self.arms = tuple(arms)
        self._every, self._catch, self._repeat, self._plant = every, catch if plant else 0.0, repeat, plant
        self._seed = secrets.randbits(64) if seed is None else seed

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Return the backends of the arms that have one of their own."""
        return tuple(arm.backend for arm in self.arms if arm.backend is not None)

    def draw(self, page: Page) -> Draw | None:
        """Return the kind and the arms of the next reply of a chat; None for an ordinary one.

        Scenes of several characters have none: their turns follow each other without waiting for anybody.
        """
        chat = page.conversation
        every = self._every(chat) if chat.ensemble is None else 0
        replies = sum(page.played(node) and node.origin != "greeting" for node in page.path)
        if not every or (replies + 1) % every:
            return None
        chance = random.Random(f"{self._seed} {chat.id} {chat.head_id}")
        first, second = chance.sample(self.arms, 2)
        drawn = chance.random()
        kind: Literal["pair", "catch", "repeat"] = "catch" if drawn < self._catch else "pair"
        if self._catch <= drawn < self._catch + self._repeat:
            kind = "repeat"
        return Draw(kind, (first, second), chance)

    def pair_job(self, draw: Draw, jobs: ReplyJobBuilder, backend: Backend, choose: Choose) -> PairJob:
        """Return the two replies of a drawn turn, which answer the same question.

        Args:
            draw: a comparison or a catch pair.
            jobs: builder of the chat's replies.
            backend: of the playground.
            choose: asks a builder for the reply.
        """
        first = choose(draw.arms[0].builder(jobs, backend))
        if draw.kind == "catch":
            other, arm = self._planted(draw, first)
        else:
            other, arm = choose(draw.arms[1].builder(jobs, backend)), draw.arms[1].shown
        # Each builder made the question anew, under another id.
        second = replace(other, question=first.question, parent_id=first.parent_id)
        sides, arms = (first, second), (draw.arms[0].shown, arm)
        swapped = draw.kind == "catch" and draw.chance.random() < 0.5  # arms are in a drawn order already
        return PairJob(sides[::-1], arms[::-1]) if swapped else PairJob(sides, arms)

    def _planted(self, draw: Draw, honest: ReplyJob) -> tuple[ReplyJob, ShownArm]:
        assert self._plant is not None, "without a planter no catch pair is drawn"
        chat = honest.page.conversation
        planted = self._plant(honest.speaker, chat.visitor_name, chat.language, draw.chance)
        backend = _Written(planted.text, honest.backend)
        # The layers that the arm is not asked for are shown of neither, so both sides have the same.
        arm = ShownArm(name=f"planted:{planted.kind}", thinking=draw.arms[0].thinking)
        return replace(honest, backend=backend, planted=True, again=None), arm


class _Written:
    """A backend that says one written text at once."""

    def __init__(self, text: str, like: Backend) -> None:
        self._text, self._like = text, like

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        yield Delta(text=self._text)
        yield Delta(finish="stop")

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await join_deltas(self.stream(messages, sampling))

    def describe(self) -> Description:
        return self._like.describe()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return self._like.count_tokens(messages)

    async def check(self) -> str:
        return "ready"

    async def close(self) -> None:
        """Do nothing: there is nothing to free."""
