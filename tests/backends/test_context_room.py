"""her/backends/context_room.py: prompts and answers stay inside a context that is learned; chats in every script go on."""

from collections.abc import AsyncIterator, Sequence

import pytest

from her import view
from her.backends.base import Delta, Usage
from her.backends.context_room import ContextRoom
from her.errors import BackendError, TooLong
from her.types import CastMember, Message, Part, Sampling, Scenario, Transcript, Turn
from tests.test_tokens import PROSE


class CountingServer:
    """A server that counts bytes by a rule of its own and refuses what does not fit, as vLLM does."""

    def __init__(self, context: int, per_byte: float, says: bool = True) -> None:
        self.context, self.per_byte, self.says = context, per_byte, says
        self.asked: list[int] = []
        self.refused = 0

    def tokens(self, messages: Sequence[Message]) -> int:
        return sum(5 + round(len(message.content.encode()) * self.per_byte) for message in messages)

    async def send(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        tokens = self.tokens(messages)
        if tokens + sampling.max_tokens > self.context:
            self.refused += 1
            raise TooLong("it is too long", self.context, tokens if self.says else 0)
        self.asked.append(sampling.max_tokens)
        yield Delta(text="Aye.")
        yield Delta(finish="stop", usage=Usage(prompt_tokens=tokens, completion_tokens=3))


CHAT = [Message(role="system", content="You are Mara. " * 20), Message(role="user", content="Tom: Well? " * 20)]
WANTED = Sampling(max_tokens=512)


async def asked(room: ContextRoom, server: CountingServer, messages: Sequence[Message] = CHAT) -> str:
    return "".join([delta.text async for delta in room.stream(server.send, messages, WANTED)])


async def test_the_limit_of_the_answer_is_lowered_before_anything_is_refused() -> None:
    server = CountingServer(400, 0.25)
    room = ContextRoom(lambda: 400)
    assert await asked(room, server) == "Aye." and server.refused == 0
    assert 64 <= server.asked[0] < 400 - server.tokens(CHAT)


async def test_a_refusal_is_answered_by_a_shorter_answer_and_remembered() -> None:
    """The context is not known, and the tokenizer is a bad one."""
    server = CountingServer(700, 0.9)
    room = ContextRoom(lambda: 0)
    assert await asked(room, server) == "Aye." and server.refused == 1
    assert server.asked == [700 - server.tokens(CHAT) - 8]
    assert room.certainty(CHAT) == "counted" and room.count(CHAT) >= server.tokens(CHAT)


@pytest.mark.parametrize("says", [True, False])
async def test_a_chat_that_is_too_long_is_the_callers_and_counts_more_afterwards(says: bool) -> None:
    server = CountingServer(500, 1.0, says)
    room = ContextRoom(lambda: 500)
    before = room.count(CHAT)
    with pytest.raises(TooLong):
        await asked(room, server)
    assert room.count(CHAT) >= before and (not says or room.count(CHAT) >= server.tokens(CHAT))


async def test_another_failure_is_passed_on() -> None:
    async def broken(messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        raise BackendError("away", "unreachable")
        yield Delta()

    with pytest.raises(BackendError, match="away"):
        async for _ in ContextRoom(lambda: 0).stream(broken, CHAT, WANTED):
            pass


@pytest.mark.parametrize("language", PROSE)
@pytest.mark.parametrize("per_byte", [0.2, 0.5])
async def test_a_chat_of_thirty_turns_never_dies(language: str, per_byte: float) -> None:
    """At a context of 4,096 on a server that takes from a fifth to half of the bytes: Greek up to 1.0 tokens a letter.

    The prompt is cut as the playground does, with half of the context for the answer. A send that is refused for its length may
    be sent again once, shorter by what the refusal taught.
    """
    server = CountingServer(4096, per_byte)
    room = ContextRoom(lambda: 4096)
    cast = (CastMember(name="Mara", profile="A keeper of few words. " * 30), CastMember(name="Tom"))
    turns: list[Turn] = []
    retried = 0
    for number in range(30):
        for speaker in ("Tom", "Mara"):
            text = PROSE[language][0] * (2 + number % 4)
            turns.append(Turn(id=f"{len(turns)}", speaker=speaker, parts=(Part(kind="speech", text=text.strip()),), raw=text))
        transcript = Transcript(scenario=Scenario(setting="A lighthouse."), cast=cast, turns=tuple(turns[:-1]))
        for attempt in (1, 2):
            prompt = view.prompt(transcript, "Mara", 4096 - 2048, room.count)
            try:
                async for _ in room.stream(server.send, prompt.messages, Sampling(max_tokens=2048)):
                    pass
                break
            except TooLong:
                retried += 1
                assert attempt == 1
    assert retried <= 1
    assert server.tokens(prompt.messages) > 1400 or not prompt.dropped  # the history is not thrown away for nothing
