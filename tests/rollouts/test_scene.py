"""her/rollouts/scene.py: who plays when, from which prompt, what becomes of bad answers, stop and resume, and no leak."""

import re
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her import view
from her.backends.base import Completion
from her.errors import BackendError, InputError
from her.format import parse
from her.rollouts.players import BackendPlayer, PlayerRequest, Players
from her.rollouts.scene import NextSpeakerMode, SceneCounters, SceneEngine, SceneMove, SceneRecord, SceneSettings
from her.types import ENVIRONMENT, CastMember, Part, Scenario, Transcript, Turn
from tests.players import Actor
from tests.rollouts.scenes import CAST, SCENARIO, RecordingPlayer, engine, speakers, talker

# -- who is next -------------------------------------------------------------------------------------------------------


async def test_round_robin_keeps_the_order_of_the_cast() -> None:
    scene = engine(narrator=talker(), narrator_every=3, rounds=8, first="Tom")
    await scene.run()
    assert speakers(scene) == ["Tom", "Ann", "Mara", ENVIRONMENT, "Tom", "Ann", "Mara", ENVIRONMENT]
    assert scene.record.ended == "rounds" and scene.record.counters == SceneCounters(turns=8)


async def test_mention_gives_the_turn_to_whom_was_addressed() -> None:
    scene = engine("Mara: Ann, is it you?", "Ann: Who else.", "Mara: [I fear Ann.] So, Tom?", "Tom: Yes.", rounds=4)
    scene.settings = scene.settings.model_copy(update={"next_speaker": "mention"})
    await scene.run()
    assert speakers(scene) == ["Mara", "Ann", "Mara", "Tom"]


async def test_the_model_chooses_and_may_end_the_scene() -> None:
    chooser = RecordingPlayer("**Next Speaker:** Ann", "Ann: hello", "Narrator", "<END CHAT>", "Tom.", "END CHAT")
    scene = engine(chooser=chooser, narrator=talker(), shortest=4, seed=3)
    played = [each async for each in scene.play()]
    # Ann may not follow herself, so the second answer is no use and she is asked about again: the third names the narrator.
    assert [each.chosen for each in played[:3]] == ["first", "named", "named"]
    assert speakers(scene) == ["Mara", "Ann", ENVIRONMENT, "Tom"] and scene.record.ended == "end"
    assert (scene.record.counters.asked_again, scene.record.counters.early_ends) == (2, 1)
    assert "Who is next? Choose one of: Tom, Ann, Environment" in chooser.asked[0]


async def test_an_unreadable_choice_is_asked_again_then_drawn_by_the_seed() -> None:
    async def order(seed: int) -> tuple[list[str], SceneCounters]:
        scene = engine(chooser=RecordingPlayer("It is hard to say."), rounds=12, seed=seed)
        record = await scene.run()
        return speakers(scene), record.counters

    first, counters = await order(1)
    assert await order(1) == (first, counters) and (await order(2))[0] != first
    assert (counters.fallbacks, counters.asked_again, counters.random) == (11, 11, 0)
    assert all(earlier != later for earlier, later in zip(first, first[1:], strict=False))


async def test_random_is_drawn_at_once_and_from_the_pool() -> None:
    chooser = RecordingPlayer("random")
    scene = engine(chooser=chooser, narrator=talker(), rounds=9, pool=("Ann", ENVIRONMENT))
    record = await scene.run()
    assert set(speakers(scene)[1:]) == {"Ann", ENVIRONMENT} and (record.counters.random, record.counters.fallbacks) == (8, 0)
    assert len(chooser.requests) == 8


async def test_the_second_question_holds_the_first_answer_and_the_list() -> None:
    chooser = RecordingPlayer("Voldemort", "Tom", "", "Ann")
    scene = engine(chooser=chooser, rounds=3)
    await scene.run()
    again, after_nothing = chooser.requests[1].messages, chooser.requests[3].messages
    assert [message.role for message in again] == ["system", "user", "assistant", "user"]
    assert again[2].content == "Voldemort" and again[3].content.endswith("Tom, Ann")
    assert [message.role for message in after_nothing] == ["system", "user"] and "exactly one name" in after_nothing[1].content


async def test_a_person_may_direct_and_a_wrong_name_is_an_error() -> None:
    director = RecordingPlayer("Ann", "Bob")
    players = Players(actor=talker(), next_speaker=director)
    scene = SceneEngine(SCENARIO, CAST, players, SceneSettings(next_speaker="manual", asks=1))
    with pytest.raises(InputError, match="choose one of Mara, Tom"):
        await scene.run()
    assert speakers(scene) == ["Mara", "Ann"] and scene.record.ended == ""


async def test_names_inside_each_other_and_with_a_full_stop() -> None:
    cast = tuple(CastMember(name=name) for name in ("Jane", "Jane Bennet", "Christopher Dollanganger Jr."))
    chooser = RecordingPlayer("Jane Bennet", "Christopher Dollanganger Jr.", "Next Speaker: Jane.")
    scene = engine(chooser=chooser, cast=cast, rounds=4)
    record = await scene.run()
    assert speakers(scene) == ["Jane", "Jane Bennet", "Christopher Dollanganger Jr.", "Jane"]
    assert record.counters == SceneCounters(turns=4)
    assert all(turn.text() == f"Line {number}." for number, turn in enumerate(scene.transcript.turns))


async def test_one_character_alone_plays_on() -> None:
    scene = engine(cast=CAST[:1], rounds=3)
    await scene.run()
    assert speakers(scene) == ["Mara"] * 3


# -- bad answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "  \n", "<system_thinking>I must play Mara.</system_thinking>", "<think>cut", "Tom: I am Tom."]
)
async def test_an_actor_that_says_nothing_is_asked_again(text: str) -> None:
    scene = engine(text, "Mara: Here.", rounds=1)
    (played,) = [each async for each in scene.play()]
    assert (played.turn.text("speech"), played.marks) == ("Here.", ("retried",)) and scene.record.counters.empty == 0
    requests = scene.players.actor.requests  # type: ignore[union-attr]
    assert [request.attempt for request in requests] == [0, 1] and requests[0].seed != requests[1].seed
    assert requests[0].messages == requests[1].messages


async def test_nothing_at_all_is_counted_and_ends_the_scene() -> None:
    scene = engine("", rounds=20)
    record = await scene.run()
    assert (len(record.transcript.turns), record.counters.empty, record.ended) == (4, 4, "stalled")
    assert all(turn.parts == () and turn.raw == "" for turn in record.transcript.turns)


async def test_silent_thought_is_a_turn_but_nobody_hears_it() -> None:
    scene = engine("<role_thinking>Hush.</role_thinking>", "Tom: Well?", rounds=2)
    record = await scene.run()
    assert (record.counters.silent, record.counters.empty) == (1, 0)
    assert "Hush" not in scene.players.actor.asked[1]  # type: ignore[union-attr]


async def test_lines_for_others_are_cut_and_counted() -> None:
    scene = engine("Mara: Go.\nTom: I go.\nAnn: And I.", "Tom: Aye.", rounds=2)
    record = await scene.run()
    assert [turn.text() for turn in record.transcript.turns] == ["Go.", "Aye."]
    assert record.counters.spoke_for_others == 1 and "I go" not in scene.players.actor.asked[1]  # type: ignore[union-attr]


async def test_loops_are_cut_from_the_parts_and_stay_in_the_raw_text() -> None:
    raw = "Mara: <role_thinking>" + "a" * 3000 + "</role_thinking>Aye."
    scene = engine(raw, rounds=1)
    (played,) = [each async for each in scene.play()]
    assert played.turn.raw == raw and played.turn.parts[0].text == "a" * 20 and played.marks == ("looped",)
    assert scene.record.counters.looped == 1


async def test_truncation_and_refusals_are_counted() -> None:
    players = Players(actor=RecordingPlayer("Mara: As an AI language model I cannot do this.", finish="length"))
    record = await SceneEngine(SCENARIO, CAST, players, SceneSettings(next_speaker="round_robin", rounds=1)).run()
    assert (record.counters.truncated, record.counters.refused) == (1, 1)
    for honest in ("I am sorry, I cannot help you, Tom.", "I can't do that.", "我不能去。"):
        assert (await engine(f"Mara: {honest}", rounds=1).run()).counters.refused == 0


async def test_nobody_sees_thoughts_or_lines_that_the_narrator_writes() -> None:
    narrator = RecordingPlayer("Environment: [Mara is afraid.] A bell rings.\nTom: I hear it.")
    scene = engine(narrator=narrator, narrator_every=1, rounds=3)
    record = await scene.run()
    assert record.transcript.turns[1].parts[1:] == (Part(kind="speech", text="A bell rings."),)
    assert "afraid" not in scene.players.actor.asked[-1] and "A bell rings." in scene.players.actor.asked[-1]  # type: ignore[union-attr]
    assert narrator.requests[0].messages[-1].content.endswith("Mara: Line 0.")


async def test_what_a_person_writes_is_speech() -> None:
    person = RecordingPlayer("<role_thinking>no tags</role_thinking> Tom: hello")
    players = Players(actor=talker(), people={"Mara": person})
    record = await SceneEngine(SCENARIO, CAST, players, SceneSettings(next_speaker="round_robin", rounds=2)).run()
    assert [part.kind for part in record.transcript.turns[0].parts] == ["speech"] and record.transcript.turns[1].speaker == "Tom"


async def test_a_failed_call_is_no_turn_and_counts_nothing() -> None:
    def fail_at(request: PlayerRequest) -> str:
        if request.turn == 2:
            raise BackendError("the server does not answer; start it", "unreachable")
        return f"Line {request.turn}."

    scene = SceneEngine(SCENARIO, CAST, Players(actor=RecordingPlayer(say=fail_at), next_speaker=RecordingPlayer("?")))
    with pytest.raises(BackendError):
        await scene.run()
    assert len(scene.transcript.turns) == 2 and scene.record.ended == ""
    assert scene.record.counters == SceneCounters(turns=2, asked_again=1, fallbacks=1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cast": ()}, "the cast is empty"),
        ({"cast": (*CAST, CAST[0])}, "name each character once"),
        ({"cast": (*CAST, CastMember(name=ENVIRONMENT))}, "and nobody Environment"),
        ({"players": Players(actors={"Mara": talker()})}, "nobody plays Tom, Ann"),
        ({"players": Players(actor=talker(), people={"Bob": talker()})}, "Bob: not in the cast; the cast is Mara, Tom, Ann"),
        ({"settings": SceneSettings()}, "next_speaker=model needs a player"),
        ({"settings": SceneSettings(next_speaker="mention", first="Bob")}, "Bob: not in the cast"),
        (
            {"settings": SceneSettings(next_speaker="mention", moves=(SceneMove(turn=1, leaves=(ENVIRONMENT,)),))},
            "not in the cast",
        ),
        ({"resume": Transcript(scenario=SCENARIO, cast=CAST[:1])}, "of another scene or cast"),
    ],
)
def test_scenes_that_cannot_be_played_are_refused(changes: dict[str, object], sentence: str) -> None:
    given_ = {"cast": CAST, "players": Players(actor=talker()), "settings": SceneSettings(next_speaker="mention"), **changes}
    with pytest.raises(InputError, match=re.escape(sentence)):
        SceneEngine(SCENARIO, **given_)  # type: ignore[arg-type]


# -- a budget of tokens ------------------------------------------------------------------------------------------------


async def test_prompts_fit_the_players_context() -> None:
    small = RecordingPlayer(say=lambda request: f"{request.speaker}: {' '.join(map(str, range(70)))}")
    small.budget = 2400
    small.count = lambda messages: sum(len(message.content) for message in messages)  # type: ignore[method-assign]
    players = Players(actor=small, environment=small, next_speaker=small)
    scene = SceneEngine(SCENARIO, CAST, players, SceneSettings(next_speaker="round_robin", rounds=12, narrator_every=3))
    record = await scene.run()
    assert record.counters.dropped > 0 and all(small.count(request.messages) <= 2400 for request in small.requests)


async def test_a_backend_is_a_player() -> None:
    backend = Actor(["Mara: Hello."])
    player = BackendPlayer(backend)
    assert player.budget + player.sampling.max_tokens == backend.describe().context
    record = await SceneEngine(SCENARIO, CAST, Players(actor=player), SceneSettings(next_speaker="round_robin", rounds=1)).run()
    assert record.transcript.turns[0].text() == "Hello." and backend.samplings[0].seed is not None


# -- stop and resume ---------------------------------------------------------------------------------------------------


def mixed(stop_at: int | None = None, resume: SceneRecord | None = None) -> SceneEngine:
    """A scene with readable and unreadable choices, empty turns, loops, and a character who comes and goes."""

    def act(request: PlayerRequest) -> str:
        texts = ("Aye [so].", "", "b" * 300, "<think>Play.</think><role_thinking>Hm.</role_thinking>Well, Ann?")
        return texts[(request.turn * 7 + request.attempt) % 4]

    def choose(request: PlayerRequest) -> str:
        return ("Next Speaker: Ann", "who knows", "random", "Tom", "Environment")[(request.turn * 3 + request.attempt) % 5]

    cast = (*CAST[:2], CAST[2].model_copy(update={"waits": True}))
    players = Players(
        actor=RecordingPlayer(say=act), environment=RecordingPlayer("A wave."), next_speaker=RecordingPlayer(say=choose)
    )
    moves = (SceneMove(turn=4, enters=("Ann",)), SceneMove(turn=9, leaves=("Tom",)))
    return SceneEngine(SCENARIO, cast, players, SceneSettings(rounds=14, seed=5, moves=moves), resume=resume)


async def test_a_scene_may_be_stopped_and_resumed_after_any_turn() -> None:
    whole = await mixed().run()
    assert len(whole.transcript.turns) == 14 and len({turn.id for turn in whole.transcript.turns}) == 14
    for stop_at in range(14):
        first = mixed()
        if stop_at == 0:
            first.stop()  # before the first turn: `play` begins anew, so this stop is forgotten
            assert first.record.transcript.turns == ()
        else:
            async for _ in first.play():
                if len(first.transcript.turns) == stop_at:
                    first.stop()
            assert first.record.ended == "stopped" and len(first.transcript.turns) == stop_at
        again = SceneRecord.model_validate_json(first.record.model_dump_json())
        assert await mixed(resume=again).run() == whole


async def test_the_first_turns_of_a_book_may_be_given() -> None:
    book = Transcript(id="b", scenario=SCENARIO, cast=CAST, turns=(Turn(id="1", speaker="Tom"), Turn(id="2", speaker="Tom")))
    players = Players(actor=talker())
    scene = SceneEngine(SCENARIO, CAST, players, SceneSettings(next_speaker="round_robin", rounds=4), resume=book)
    await scene.run()
    assert speakers(scene) == ["Tom", "Tom", "Ann", "Mara"] and scene.transcript.id == "b"


# -- presence ----------------------------------------------------------------------------------------------------------


async def test_who_is_away_is_not_chosen_and_learns_nothing() -> None:
    moves = (SceneMove(turn=2, leaves=("Tom",)), SceneMove(turn=6, enters=("Tom",)))
    scene = engine(rounds=9, moves=moves)
    await scene.run()
    order = speakers(scene)
    assert order[:2] == ["Mara", "Tom"] and "Tom" not in order[2:7] and "Tom" in order[7:]
    turns = scene.transcript.turns
    assert (turns[2].text(), turns[6].text()) == ("Tom leaves.", "Tom comes in.")
    back = next(text for text in reversed(scene.players.actor.asked) if text.startswith("You are Tom"))  # type: ignore[union-attr]
    assert "Tom leaves." in back and "Tom comes in." in back and not re.search(r"Line [345]\.", back)


async def test_a_scene_that_everybody_has_left_ends() -> None:
    scene = engine(rounds=9, moves=(SceneMove(turn=1, leaves=("Mara", "Tom", "Ann")),))
    assert (await scene.run()).ended == "nobody"


# -- the law: no prompt of a scene leaks -------------------------------------------------------------------------------

PEOPLE = ("Ada", "Ben", "Cyr", "Dot", "Eve", "Fay")
SHAPES = (
    "<system_thinking>PLAN-{n}</system_thinking>{s}: <role_thinking>THINK-{n}-{s}</role_thinking>SAY-{n} {s}",
    "<think>PLAN-{n}</think>[THINK-{n}-{s}] (DO-{n}) SAY-{n}",
    "SAY-{n} <role_thinking>THINK-{n}-{s} unclosed",
    "<system_thinking>PLAN-{n} unclosed",
    "THINK-{n}-{s} is only a plan</system_thinking>{s}: SAY-{n}",
    "<role_thinking>THINK-{n}-{s}</role_thinking>",
    "SAY-{n}\n{o}: SAY-{n} for another",
    "",
)


@pytest.mark.whole
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_law_no_prompt_holds_what_its_reader_may_not_know(data: st.DataObject) -> None:
    """Walk every prompt of a scene: no thought of another, no plan, no turn that was spoken while the reader was away."""
    count = data.draw(st.integers(2, 6))
    cast = tuple(
        CastMember(name=name, profile="p", waits=place > 0 and data.draw(st.booleans()))
        for place, name in enumerate(PEOPLE[:count])
    )
    names = [member.name for member in cast]
    moves = tuple(
        SceneMove(
            turn=turn,
            enters=tuple(data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))),
            leaves=tuple(data.draw(st.lists(st.sampled_from(names), max_size=1))),
            text=f"SAY-{turn}",
        )
        for turn in data.draw(st.lists(st.integers(1, 13), max_size=4, unique=True))
    )
    shapes = data.draw(st.lists(st.sampled_from(SHAPES), min_size=14, max_size=14))
    answers = data.draw(st.lists(st.sampled_from([*names, ENVIRONMENT, "nobody", "random"]), min_size=14, max_size=14))

    def play(request: PlayerRequest) -> str:
        other = next(name for name in names if name != request.speaker)
        return shapes[request.turn].format(n=request.turn, s=request.speaker, o=other)

    player, chooser = RecordingPlayer(say=play), RecordingPlayer(say=lambda request: answers[request.turn])
    mode = data.draw(st.sampled_from(get_args(NextSpeakerMode)[1:]))
    scene = SceneEngine(
        Scenario(id="law", language=data.draw(st.sampled_from(["en", "zh"]))),
        cast,
        Players(actor=player, environment=player, next_speaker=chooser),
        SceneSettings(rounds=14, next_speaker=mode, narrator_every=4, moves=moves, seed=1),
    )
    run(scene)
    turns = scene.transcript.turns
    away = view.absences(scene.transcript)
    witnessed = {name: {number for number in range(len(turns)) if name not in away[number]} for name in names}
    for request in [*player.requests, *chooser.requests]:
        text = "\n".join(message.content for message in request.messages)
        assert "PLAN-" not in text
        for number, owner in re.findall(r"THINK-(\d+)-(\w+)", text):
            assert owner == request.speaker and turns[int(number)].speaker == owner
        if request.purpose == "character":
            heard = {int(number) for number in re.findall(r"(?:SAY|DO)-(\d+)", text)}
            assert heard <= witnessed[request.speaker] & set(range(request.turn))
            # The prompt is that of the training sample: one function builds both.
            before = scene.transcript.model_copy(update={"turns": turns[: request.turn]})
            assert request.messages == view.messages(before, request.speaker)
            assert view.absent(before).isdisjoint({request.speaker})
    samples = {turn.id: messages for turn, messages in view.prompts(scene.transcript)}
    for request in player.requests:
        if request.purpose == "character" and request.turn < len(turns):
            assert samples[turns[request.turn].id] == request.messages


def run(scene: SceneEngine) -> None:
    """Play without an event loop of its own: no player waits for anything."""
    coroutine = scene.run()
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_the_law_finds_a_planted_leak() -> None:
    """The markers of the law are found where they are allowed, so it could fail."""
    turn = parse(SHAPES[0].format(n=1, s="Ada"), "Ada")
    own = view.line(turn, view.Viewer(kind="character", name="Ada"))
    assert "THINK-1-Ada" in own and "SAY-1" in view.line(turn, view.Viewer(kind="environment"))
    assert Completion(text="x", finish="stop").text == "x"
