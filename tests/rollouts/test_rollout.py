"""her/rollouts/rollout.py: k candidates with their failures, and sessions whose turns have prompts of their own."""

from collections.abc import Sequence

import pytest

from her import view
from her.backends.base import Completion
from her.errors import BackendError, InputError
from her.format import plain_turn
from her.rollouts.players import Player, PlayerRequest
from her.rollouts.rollout import SessionStart, WrittenAnswer, candidates, play_sessions
from her.types import CastMember, Message, Sampling, Scenario, Transcript
from tests.players import Actor

PLANNED = "<system_thinking>A secret plan.</system_thinking>Mara: <role_thinking>He lies.</role_thinking>"
CAST = (CastMember(name="Mara", profile="Keeps a lighthouse."), CastMember(name="Tom", profile="A sailor."))


def start(name: str, seed: int = 1) -> SessionStart:
    chat = Transcript(id=name, scenario=Scenario(id="s"), cast=CAST, turns=(plain_turn("Tom", f"Hello from {name}."),))
    return SessionStart(name, chat, "Mara", "Tom", seed)


class Visitor(Player):
    """Says which turn it is, fails where it should, and keeps what it was asked."""

    def __init__(self, fails: str = "", silent: str = "") -> None:
        self.fails, self.silent = fails, silent
        self.asked: list[PlayerRequest] = []

    async def answer(self, request: PlayerRequest) -> Completion:
        self.asked.append(request)
        text = "\n".join(message.content for message in request.messages)
        if self.fails and self.fails in text:
            raise BackendError("the visitor's server is away", "unreachable")
        return Completion(text="" if self.silent and self.silent in text else f"Tom: And then {request.turn}?", finish="stop")


def policy(places: Sequence[int], prompts: Sequence[tuple[Message, ...]]) -> list[WrittenAnswer]:
    return [WrittenAnswer(f"{PLANNED}Answer {len(prompt)}.", True) for prompt in prompts]


def test_every_turn_has_the_playgrounds_prompt_and_no_plan_in_it() -> None:
    visitor = Visitor()
    first, second = play_sessions([start("a"), start("b")], policy, visitor, turns=3)
    assert len(first.turns) == len(second.turns) == 3 and not first.ended
    for number, turn in enumerate(first.turns):
        so_far = first.chat.model_copy(update={"turns": first.chat.turns[: first.start + 2 * number]})
        assert turn.prompt == view.messages(so_far, "Mara")
        assert "secret plan" not in str(turn.prompt) and ("He lies" in str(turn.prompt)) == (number > 0)
    seen = [message.content for request in visitor.asked for message in request.messages]
    assert "He lies" not in str(seen) and "secret plan" not in str(seen)
    assert "He lies" in first.text() and "secret plan" not in first.text() and "Hello from" not in first.text()


def test_sessions_repeat_with_their_seed_and_differ_with_another() -> None:
    def seeds(seed: int) -> list[int]:
        visitor = Visitor()
        play_sessions([start("a", seed), start("b", seed)], policy, visitor, turns=3)
        return [request.seed for request in visitor.asked]

    assert seeds(1) == seeds(1) and len(set(seeds(1) + seeds(2))) == 8


def test_a_visitor_that_fails_ends_its_session_alone() -> None:
    lost, silent, fine = play_sessions(
        [start("lost"), start("silent"), start("c")], policy, Visitor("from lost", "from silent"), turns=2
    )
    assert len(lost.turns) == 1 and "server is away" in lost.ended and "said nothing" in silent.ended
    assert len(fine.turns) == 2 and not fine.ended and [lost.interrupted, fine.interrupted] == [True, False]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (WrittenAnswer("Mara: No plan.", True), "plan_missing"),
        (WrittenAnswer(PLANNED + "Cut", False), "truncated"),
        (WrittenAnswer(PLANNED + "Well.\nTom: I go.", True), "other_speaker"),
    ],
)
def test_a_malformed_turn_ends_the_session_and_is_its_fault(answer: WrittenAnswer, fault: str) -> None:
    (session,) = play_sessions([start("a")], lambda places, prompts: [answer], Visitor(), turns=3)
    assert session.fault == fault and len(session.turns) == 1 and not session.interrupted


def test_a_start_without_its_people_is_refused() -> None:
    with pytest.raises(InputError, match="'Ned' is not in the cast"):
        play_sessions([start("a")._replace(visitor="Ned")], policy, Visitor(), turns=1)
    with pytest.raises(InputError, match="at least 1"):
        play_sessions([start("a")], policy, Visitor(), turns=0)


async def test_candidates_record_their_failures_and_their_seeds() -> None:
    actor = Actor([PLANNED + "One."], [BackendError("no answer", "timeout")], [PLANNED + "Three."])
    prompt = (Message(role="user", content="Tom: Hello."),)
    found = await candidates(actor, prompt, "Mara", 3, Sampling(seed=7))
    assert [rollout.sampling.seed for rollout in found] == [7, 8, 9]
    assert sorted(bool(rollout.turn) for rollout in found) == [False, True, True]
    assert [rollout.error for rollout in found if not rollout.turn] == ["no answer"]
