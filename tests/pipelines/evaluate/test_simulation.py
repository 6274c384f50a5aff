"""Test simulations: who knows what, who begins, how scenes end, bad actors, the same bytes in every process."""

import os
import subprocess
import sys

import pytest

from her import paths
from her.types import ENVIRONMENT
from pipelines.evaluate.simulation import scene_seed
from tests.pipelines.evaluate.asking import FakeAsker, Reply, a_case, acting, options, play, scripted


async def test_a_case_is_played_to_its_end_from_the_books_first_speaker():
    asker = FakeAsker(scripted)
    played = await play(asker, a_case(), options(rounds=6))
    turns = played.transcript.turns
    assert len(turns) == 6 and turns[0].speaker == "Mira Vance" and played.simulation.ended == "rounds"
    assert played.transcript.id == played.simulation.transcript == "The Lamp at Sorrow Point-0-0 | run 0 | actor-model"
    assert not played.simulation.failed and len(asker.of("next_speaker")) == 5


async def test_no_prompt_holds_the_book_the_plot_or_what_others_think():
    asker = FakeAsker(acting("[Secret of Mira.] (sits) Well.", "[Secret of Hale.] Yes.", "[Third secret.] No."))
    played = await play(asker, a_case(), options("coser-paper", rounds=8))
    assert [turn.text("role_thinking") for turn in played.transcript.turns if turn.speaker != ENVIRONMENT][0] == "Secret of Mira."
    for role, call in asker.asked:
        text = "\n".join(message.content for message in call.messages)
        assert "burns the letter" not in text and "Then you have read it" not in text
        first = played.transcript.turns[0].speaker
        if role != "actor" or f"You are {first}" not in text:
            assert "Secret of Mira" not in text


@pytest.mark.parametrize("protocol", ["corrected", "coser-paper", "coser-head", "her"])
async def test_every_protocol_plays_every_kind_of_answer(protocol):
    lines = (
        "<system_thinking>p</system_thinking>Mira Vance: <role_thinking>t</role_thinking>Hello.", "[t] (a) Hello.",
        "*nods* Hello.",
        "Mira Vance: Hello.\nDoctor Hale: I say this for you.", "a" * 400, "<think>unclosed", "",
    )  # fmt: skip
    played = await play(FakeAsker(acting(*lines)), a_case(), options(protocol, rounds=12))
    assert not played.simulation.failed and len(played.transcript.turns) <= 12
    said = [turn.text("speech") for turn in played.transcript.turns]
    assert not any("I say this for you" in text or "a" * 100 in text or "unclosed" in text for text in said)
    assert played.simulation.counters.looped == 1 or len(played.transcript.turns) < 7


async def test_an_actor_that_says_nothing_is_counted_and_ends_the_scene():
    def silent(role, call):
        if role == "next_speaker":  # the narrator would break the silence
            return "Doctor Hale" if "Mira" in call.id else "Mira Vance"
        return Reply(reason="empty") if role == "actor" else scripted(role, call)

    case = a_case(dialogues=[{"character": name, "message": "x"} for name in ("Mira Vance", "Doctor Hale")])
    played = await play(FakeAsker(silent), case, options(rounds=20))
    assert played.simulation.counters.empty >= 4 and not played.simulation.failed
    assert played.simulation.ended in ("stalled", "rounds")


async def test_a_failed_call_fails_the_case_and_keeps_the_turns_before_it():
    def failing(role, call):
        return Reply(reason="timeout") if role == "next_speaker" else scripted(role, call)

    played = await play(FakeAsker(failing), a_case())
    assert played.simulation.failed == "next_speaker: the call failed: timeout" and len(played.transcript.turns) == 1


async def test_a_character_who_does_not_fit_into_the_context_fails_the_case():
    played = await play(FakeAsker(scripted, context=120), a_case())
    assert "tokens" in played.simulation.failed and not played.transcript.turns


async def test_given_turns_are_those_of_the_book_with_its_speakers():
    case = a_case()
    played = await play(FakeAsker(scripted), case, options(given=5, rounds=8))
    assert played.transcript.turns[:5] == case.scene.turns[:5] and len(played.transcript.turns) == 8
    assert played.simulation.given == 5 and played.simulation.counters.turns == 3


async def test_a_given_beginning_may_be_the_whole_scene():
    played = await play(FakeAsker(scripted), a_case(), options(given=99, rounds=6))
    assert len(played.transcript.turns) == 6 and played.simulation.counters.turns == 0


async def test_runs_differ_and_are_the_same_in_every_start():
    case = a_case()
    seeds = {run: [call.sampling.seed for _, call in asker.asked] for run in (0, 1) if (asker := FakeAsker(scripted)) and
             await play(asker, case, run=run)}  # fmt: skip
    assert seeds[0] != seeds[1] and scene_seed(42, 0) != scene_seed(42, 1)
    assert await play(FakeAsker(scripted), case) == await play(FakeAsker(scripted), case)


PROCESS = """
import asyncio
from tests.pipelines.evaluate.asking import *
unclear = lambda role, call: "nobody" if role == "next_speaker" else scripted(role, call)
print(asyncio.run(play(FakeAsker(unclear), a_case(), options(rounds=8))).transcript.model_dump_json())
"""


@pytest.mark.whole
def test_two_processes_draw_the_same_speakers_whatever_their_hash_seed():
    command = [sys.executable, "-c", PROCESS]
    environments = [{"PYTHONHASHSEED": seed, "PATH": os.environ["PATH"]} for seed in ("1", "77")]
    runs = [subprocess.run(command, cwd=paths.ROOT, env=each, capture_output=True, check=True) for each in environments]
    outputs = {each.stdout for each in runs}
    assert len(outputs) == 1 and b"Environment" in outputs.pop()


@pytest.mark.parametrize("name", ["Christopher Dollanganger Jr.", "Mira Vance"])
async def test_a_name_that_ends_in_a_full_stop_can_be_chosen_but_not_by_cosers_later_reader(name):
    spoken = [("Ann", "Here."), (name, "There."), ("Ann", "So."), (name, "Yes.")]
    for protocol, chosen in (("corrected", True), ("coser-head", not name.endswith("."))):
        case = a_case(spoken=spoken)
        asker = FakeAsker(lambda role, call: f"Next Speaker: {name}" if role == "next_speaker" else scripted(role, call))
        played = await play(asker, case, options(protocol, rounds=2))
        counters = played.simulation.counters
        if played.transcript.turns[0].speaker == "Ann":
            assert (not counters.fallbacks) == chosen, protocol
