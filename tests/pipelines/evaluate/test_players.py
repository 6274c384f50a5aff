"""Test the players: instructions by protocol, published readers of the next speaker, failures, silence, the context."""

import pytest

from her.backends.base import Completion
from her.rollouts.players import PlayerRequest
from her.types import Message
from pipelines.evaluate.players import ActingPlayer, ChoosingPlayer, TurnFailed, before_colon, last_marker
from tests.pipelines.evaluate.asking import FakeAsker, Reply, a_case, protocol

X = "Mira Vance"
NAMES = (X, "Doctor Hale", "Christopher Dollanganger Jr.", "Environment")
MESSAGES = (
    Message(role="system", content="You are Mira Vance. From the playground."),
    Message(role="user", content="===Conversation Start===\n\nDoctor Hale: <role_action>nods</role_action>Yes."),
    Message(role="assistant", content="Mira Vance: <role_thinking>So.</role_thinking>No."),
    Message(role="user", content="Doctor Hale: Why?"),
)
REQUEST = PlayerRequest("character", X, MESSAGES, turn=3, attempt=0, seed=7)
# Rows of benchmarks of CoSER's later reader: what it finds, and what it does not although anybody would.
LATER = [
    (f"Next Speaker: {X}", X), (f"2. Next Speaker: {X}.", X), (f"**Next Speaker**: {X}", X), (f"### Next Speaker\n{X}", X),
    (f"The next speaker is {X}", X), (f"Next Speaker: *{X}*", X), (X, X), (f"{X}: hello", X),
    ("Next Speaker: <END CHAT>", "END"), (f"Next Speaker: **{X}**", ""),
    (f"**Next Speaker:** {X}", ""), (f'Next Speaker: "{X}"', ""), (f"[{X}]", ""), (f"{X} (alias)", ""),
    (f"Next Speaker：{X}", ""),
    (f"<think>Next Speaker: Ron</think>\n{X}", ""), (f"next speaker is likely {X} because", ""),
    ("Next Speaker: Christopher Dollanganger Jr.", ""), ("", ""), ("random", "random"), ("Next Speaker: mira vance", ""),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "found"), LATER)
def test_the_reader_of_cosers_later_code(answer, found):
    reading = last_marker(answer, NAMES)
    assert (reading.name or {"end": "END", "random": "random"}.get(reading.kind, "")) == found


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(X, "name"), (f"{X}: she must answer", "name"), ("<END CHAT>", "end"), ("random", "random"), (f"It is {X}", "unreadable")],
)
def test_the_reader_of_the_paper(answer, kind):
    assert before_colon(answer, NAMES).kind == kind


async def answer(player, request=REQUEST) -> Completion:
    return await player.answer(request)


async def test_an_actor_is_sent_the_prompt_of_the_playground_byte_for_byte():
    asker = FakeAsker(lambda role, call: "Mira Vance: Yes.")
    await answer(ActingPlayer(asker, ("case", 1), a_case(), protocol()))
    call = asker.of("actor")[0]
    assert call.messages == MESSAGES and call.sampling.seed == 7 and call.number == 1 and call.meta == "case"


async def test_coser_instructions_come_with_cosers_notation():
    asker = FakeAsker(lambda role, call: "[So.] Yes.")
    await answer(ActingPlayer(asker, ("case", 0), a_case(), protocol("coser-paper")))
    system, first, own, last = asker.of("actor")[0].messages
    assert "You are Mira Vance, from The Lamp at Sorrow Point." in system.content and "60 words" in system.content
    assert "Mira Vance wants to know" in system.content and "Doctor Hale wants to know" not in system.content
    assert "burns the letter" not in system.content
    assert (first.content.split("\n\n")[1], own.content) == ("Doctor Hale: (nods) Yes.", "Mira Vance: [So.] No.")
    assert last == MESSAGES[-1]


async def test_a_bare_question_replaces_the_instructions_of_the_chooser():
    for name, bare in (("coser-paper", True), ("coser-head", False), ("corrected", False)):
        asker = FakeAsker(lambda role, call: X)
        await answer(ChoosingPlayer(asker, ("case", 0), a_case(), protocol(name)))
        assert ("bare name" in asker.of("next_speaker")[0].messages[0].content) == bare


async def test_silence_is_an_answer_and_a_failed_call_is_none():
    player = ActingPlayer(FakeAsker(lambda role, call: Reply(reason="empty")), ("case", 0), a_case(), protocol())
    assert (await answer(player)).text == ""
    player = ActingPlayer(FakeAsker(lambda role, call: Reply(reason="timeout")), ("case", 0), a_case(), protocol())
    with pytest.raises(TurnFailed, match="actor: the call failed: timeout"):
        await answer(player)


async def test_reasoning_and_the_limit_of_tokens_are_passed_on():
    reply = Reply("Mira Vance: Yes.", reasoning="I plan.", truncated=True)
    found = await answer(ActingPlayer(FakeAsker(lambda role, call: reply), ("case", 0), a_case(), protocol()))
    assert (found.reasoning, found.finish) == ("I plan.", "length")


@pytest.mark.parametrize(("context", "most", "budget"), [(512, 256, 256), (100_000, 2048, 97_952)])
async def test_prompt_and_answer_share_the_context(context, most, budget):
    asker = FakeAsker(lambda role, call: "x", context)
    player = ActingPlayer(asker, ("case", 0), a_case(), protocol())
    await answer(player)
    assert player.budget == budget and asker.of("actor")[0].sampling.max_tokens == most
