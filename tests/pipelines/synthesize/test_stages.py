"""Enhancement, plans and settings against a teacher over HTTP that answers well, badly, brokenly, or not at all.

Defects of her.md 8.2: D11 facts that were added reach the prompt, D13 no message is put in between, D16 every answer is
checked, and no question holds what its character cannot know.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from her.characters.coser import BookScene
from her.training_data.samples import samples
from her.types import Sample, Sampling
from her.view import messages
from pipelines.synthesize.checks.anchors import SearchedText
from pipelines.synthesize.checks.turns import whole
from pipelines.synthesize.options import PlanOptions, SettingOptions
from pipelines.synthesize.stages import role_thinking, settings, system_thinking
from pipelines.synthesize.stages.answers import Addition
from pipelines.synthesize.stages.role_thinking import label
from pipelines.synthesize.work import Asker, Notes
from tests.teaching import Spoil, TeachingServer, a_scene, ledger_of, models_of, teaching

COLD = Sampling(temperature=0.5, seed=1)
SCENE = a_scene()
TARGETS = [turn for turn in SCENE.turns if turn.speaker != "Environment"]
Step = Callable[[BookScene, Asker, Notes], Awaitable[BookScene]]


def enhance(scene: BookScene, asker: Asker, notes: Notes) -> Awaitable[BookScene]:
    return role_thinking.enhance(scene, asker, COLD, notes)


def plan(scene: BookScene, asker: Asker, notes: Notes) -> Awaitable[BookScene]:
    return system_thinking.add_plans(scene, asker, COLD, PlanOptions(), notes)


def complete(scene: BookScene, asker: Asker, notes: Notes) -> Awaitable[BookScene]:
    return settings.complete(scene, asker, COLD, SettingOptions(most=2), notes)


async def taken_through(
    step: Step, folder: Path, spoil: Spoil | None = None, **script: Any
) -> tuple[BookScene, Notes, TeachingServer]:
    notes = Notes()
    with teaching(spoil, **script) as server, ledger_of(folder) as ledger:
        async with models_of(server, ledger) as models:
            scene = await step(SCENE, models, notes)
    return scene, notes, server


def answering(task: str, change: Callable[[dict[str, Any], dict[str, Any], int], Any]) -> Spoil:
    """Spoil the answers to one task: change(asked, answer, how often it was asked before)."""
    count = 0

    def spoil(asked_task: str, asked: dict[str, Any], right: str) -> str:
        nonlocal count
        if asked_task != task:
            return right
        changed = change(asked, json.loads(right), count)
        count += 1
        return changed if isinstance(changed, str) else json.dumps(changed)

    return spoil


async def test_enhancement_deepens_thoughts_and_keeps_the_rest(tmp_path: Path) -> None:
    scene, notes, server = await taken_through(enhance, tmp_path)
    assert len(server.questions("enhance_thoughts")) == 1
    assert [(turn.id, turn.speaker) for turn in scene.turns] == [(turn.id, turn.speaker) for turn in SCENE.turns]
    assert scene.turns[0] == SCENE.turns[0]  # the environment's
    assert {record.turn for record in notes.turns} == {turn.id for turn in TARGETS}
    assert sum(record.fate == "changed" for record in notes.turns) >= 4
    for before, after in zip(SCENE.turns, scene.turns, strict=True):
        assert after.text("speech").split() == before.text("speech").split()


async def test_a_failing_turn_is_asked_again_with_the_reasons_then_kept_and_counted(tmp_path: Path) -> None:
    def mute_iago(asked: dict[str, Any], answer: dict[str, Any], count: int) -> Any:
        return {"turns": [{**each, "text": "Nothing."} if each["id"] in ("t2", "t4") else each for each in answer["turns"]]}

    scene, notes, server = await taken_through(enhance, tmp_path, answering("enhance_thoughts", mute_iago))
    first, second = server.questions("enhance_thoughts")
    assert set(second["ask"]) == {"t2", "t4"} and "words that the original says are gone" in second["reasons"]["t2"]
    assert second["tried"]["t2"] == "Nothing." and len(first["ask"]) == len(TARGETS)
    kept = [record for record in notes.turns if record.fate == "kept"]
    assert [record.turn for record in kept] == [SCENE.turns[1].id, SCENE.turns[3].id]
    assert all("speech_lost" in record.first and record.problems and record.asked == 2 for record in kept)
    assert scene.turns[1] == SCENE.turns[1] and scene.turns[3] == SCENE.turns[3]


async def test_a_turn_that_is_mended_at_the_second_try_is_taken(tmp_path: Path) -> None:
    def once(asked: dict[str, Any], answer: dict[str, Any], count: int) -> Any:
        return {"turns": [{**each, "text": "Nothing."} for each in answer["turns"]]} if not count else answer

    _, notes, server = await taken_through(enhance, tmp_path, answering("enhance_thoughts", once))
    assert len(server.questions("enhance_thoughts")) == 2
    assert not any(record.fate == "kept" for record in notes.turns)
    assert all("speech_lost" in record.first and not record.problems for record in notes.turns)


@pytest.mark.parametrize(
    "turns",
    [
        lambda answer: answer[::-1],
        lambda answer: [
            *answer,
            {"id": "t99", "text": "Who?"},
            {"id": "t1", "text": "The sea is mine."},
            {**answer[0], "text": "No."},
        ],
    ],
    ids=["another order", "strange, environment's and double ids"],
)
async def test_turns_are_joined_by_id_and_never_by_position(tmp_path: Path, turns: Callable[[Any], Any]) -> None:
    (tmp_path / "right").mkdir()
    (tmp_path / "spoiled").mkdir()
    right, _, _ = await taken_through(enhance, tmp_path / "right")
    spoil = answering("enhance_thoughts", lambda asked, answer, count: {"turns": turns(answer["turns"])})
    scene, _, _ = await taken_through(enhance, tmp_path / "spoiled", spoil)
    assert scene == right


async def test_a_turn_left_out_of_the_answer_is_missed_by_name(tmp_path: Path) -> None:
    spoil = answering("enhance_thoughts", lambda asked, answer, count: {"turns": [e for e in answer["turns"] if e["id"] != "t5"]})
    scene, notes, server = await taken_through(enhance, tmp_path, spoil)
    assert server.questions("enhance_thoughts")[1]["reasons"] == {"t5": "there is no text for this turn"}
    record = next(record for record in notes.turns if record.turn == SCENE.turns[4].id)
    assert (record.fate, record.first) == ("kept", ("missing",)) and scene.turns[4] == SCENE.turns[4]


BAD: dict[str, Any] = {
    "prose": {"spoil": lambda task, asked, right: "I would be glad to help with that."},
    "refusal": {"spoil": lambda task, asked, right: "I'm sorry, but I cannot help with copyrighted text."},
    "cut JSON": {"spoil": lambda task, asked, right: right[: len(right) // 3] if task != "play" else right},
    "500": {"status": 500},
    "html": {"fault": "html"},
    "truncated": {"fault": "truncated"},
    "endless": {"fault": "endless"},
    "empty": {"fault": "empty"},
    "another model": {"reply_model": "somebody-else"},
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("step", [enhance, plan, complete], ids=["role_thinking", "system_thinking", "settings"])
async def test_d16_no_failure_ever_becomes_content(tmp_path: Path, bad: str, step: Step) -> None:
    """Where there is no usable answer the scene stays as it was, and the reason is noted."""
    from her.errors import HerError

    try:
        scene, notes, _ = await taken_through(step, tmp_path, **BAD[bad])
    except HerError as stopped:
        assert str(stopped)  # the only endpoint is lost for good: the run stops with a sentence
        return
    if bad == "cut JSON" and step is enhance:
        assert {record.fate for record in notes.turns} >= {"kept"}  # what could be read of it was checked like any other
        return
    if bad == "cut JSON" and step is plan:
        assert {record.fate for record in notes.turns} <= {"kept", "missing"}  # kept: the whole draft, which is no part of it
        assert all(not turn.text("system_thinking") or whole(turn.text("system_thinking")) for turn in scene.turns)
        return
    assert scene == SCENE
    assert all(record.fate in ("kept", "missing") for record in notes.turns) and (notes.turns or notes.skipped)


async def test_a_refusal_for_the_moment_is_waited_out(tmp_path: Path) -> None:
    notes = Notes()
    with teaching(status=429, retry_after="0") as server, ledger_of(tmp_path) as ledger:
        async with models_of(server, ledger) as models:
            working = asyncio.ensure_future(enhance(SCENE, models, notes))
            while not server.chats:
                await asyncio.sleep(0.01)
            server.script.status = 200
            scene = await working
    assert scene != SCENE and not any(record.fate == "kept" for record in notes.turns)


async def test_thinking_in_the_text_is_no_part_of_a_json_answer(tmp_path: Path) -> None:
    def thinking(task: str, asked: dict[str, Any], right: str) -> str:
        return right if task == "play" else f"<think>They want {{JSON}}.</think>\n```json\n{right}\n```"

    scene, notes, _ = await taken_through(enhance, tmp_path, thinking)
    assert scene != SCENE and not any(record.fate == "kept" for record in notes.turns)


async def test_every_turn_of_every_character_gets_a_plan(tmp_path: Path) -> None:
    """Also those of characters who are not major, whose turns the published pipeline leaves bare."""
    scene, notes, server = await taken_through(plan, tmp_path)
    assert scene.major == ("Iago",)
    assert all(turn.text("system_thinking") for turn in scene.turns if turn.speaker != "Environment")
    assert not scene.turns[0].text("system_thinking")
    assert len(server.questions("play")) == len(server.questions("rewrite_plan")) == len(TARGETS) == len(notes.turns)
    rows = list(samples(scene.transcript()))
    assert len(rows) == len(TARGETS) and all(isinstance(row, Sample) for row in rows)


async def test_the_draft_is_made_on_the_live_prompt_byte_for_byte(tmp_path: Path) -> None:
    scene, _, server = await taken_through(plan, tmp_path)
    sent = {json.dumps(body["messages"]) for body in server.questions("play")}
    live = {
        json.dumps([each.model_dump() for each in messages(SCENE.transcript(), turn.speaker, SCENE.turns[:at])])
        for at, turn in enumerate(SCENE.turns)
        if turn.speaker != "Environment"
    }
    rows = {json.dumps([each.model_dump() for each in row.messages[:-1]]) for row in samples(scene.transcript())}  # type: ignore[union-attr]
    assert sent == live == rows


async def test_the_rewriter_is_shown_only_what_its_character_can_know(tmp_path: Path) -> None:
    """On the request as it was sent: no turn to come, nobody else's thought, nobody else's want, no earlier plan."""
    _, _, server = await taken_through(plan, tmp_path)
    asked = {payload["turn"]: json.dumps(payload, ensure_ascii=False) for payload in server.questions("rewrite_plan")}
    everything = [json.dumps(body, ensure_ascii=False) for body in server.chats]
    for at, turn in enumerate(SCENE.turns):
        if turn.speaker == "Environment":
            continue
        text = next(text for gold, text in asked.items() if turn.text("speech") in gold)
        for place, other in enumerate(SCENE.turns):
            if place > at:
                assert other.text("speech") not in text
            if other.speaker != turn.speaker or place > at:
                assert all(part.text not in text for part in other.parts if part.kind == "role_thinking")
        for member in SCENE.cast:
            assert (member.motivation in text) == (member.name == turn.speaker)
        assert "strangled" not in text
    assert not any("strangled" in sent for sent in everything)


async def test_own_earlier_thoughts_are_shown_to_the_rewriter(tmp_path: Path) -> None:
    _, _, server = await taken_through(plan, tmp_path)
    last = server.questions("rewrite_plan")
    othello = next(payload for payload in last if "first to last" in payload["turn"])
    assert any("I saw somebody slip away" in line for line in othello["history"])
    assert othello["draft"] and "portray Othello" in othello["draft"]


async def test_a_failing_plan_is_asked_again_with_the_reasons_then_the_turn_goes_without(tmp_path: Path) -> None:
    bad = {"plan": "The user wants me to answer."}
    spoil = answering("rewrite_plan", lambda asked, answer, count: bad if asked["name"] == "Othello" else answer)
    scene, notes, server = await taken_through(plan, tmp_path, spoil)
    again = [payload for payload in server.questions("rewrite_plan") if "reasons" in payload]
    assert again and all("the plan says 'user'" in payload["reasons"] and payload["tried"] == bad["plan"] for payload in again)
    records = {record.turn: record for record in notes.turns}
    for turn in scene.turns[1:]:
        record = records[turn.id]
        if turn.speaker == "Othello":
            assert record.fate in ("kept", "missing") and {"plan_user", "plan_short"} <= set(record.first)
            assert bool(turn.text("system_thinking")) == (record.fate == "kept") and "user" not in turn.text("system_thinking")
        else:
            assert record.fate == "changed" and turn.text("system_thinking")


async def test_a_model_without_thinking_has_an_empty_draft(tmp_path: Path) -> None:
    scene, _, server = await taken_through(plan, tmp_path, lambda task, asked, right: "Iago: No." if task == "play" else right)
    assert all(payload["draft"] == "" for payload in server.questions("rewrite_plan"))
    assert all(turn.text("system_thinking") for turn in scene.turns[1:])


async def test_d13_nothing_is_put_between_the_turns(tmp_path: Path) -> None:
    """D13: the same turns, in the same order, with the same speakers, through every stage; roles alternate in every sample."""
    scene = SCENE
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with models_of(server, ledger) as models:
            for step in (enhance, complete, plan):
                scene = await step(scene, models, Notes())
    assert [(turn.id, turn.speaker) for turn in scene.turns] == [(turn.id, turn.speaker) for turn in SCENE.turns]
    for row in samples(scene.transcript()):
        assert isinstance(row, Sample)
        roles = [message.role for message in row.messages]
        assert roles[0] == "system" and roles[1:] == (["user", "assistant"] * len(roles))[: len(roles) - 1]


ARRANGED = "Cassio had been put out of his place the night before, for a brawl that Iago had arranged in the castle of Cyprus."


def fact(**changes: str) -> dict[str, str]:
    right = {
        "character": "Iago",
        "field": "background",
        "fact": "Iago arranged the brawl for which Cassio was put out of his place.",
        "quote": ARRANGED,
        "shown_by": "t6",
    }
    return {**right, **changes}


@pytest.mark.parametrize(
    ("addition", "reason"),
    [
        (fact(), ""),
        (fact(quote="Cassio had been put out of his place the night before, for a brawl"), ""),
        (fact(character="Emilia"), "nobody"),
        (fact(character="", field="setting"), ""),
        (fact(character=""), "wrong_field"),
        (fact(field="setting"), "wrong_field"),
        (fact(quote="Cassio"), "short_quote"),
        (fact(quote="Cassio had once saved the life of the Duke in a storm off Rhodes."), "not_in_source"),
        (fact(quote="Afterwards Othello strangled Desdemona upon her bed"), "not_in_source"),
        (fact(shown_by="t77"), "not_shown"),
        (fact(shown_by="t1"), "not_shown"),
        (fact(fact="Othello was called to Aleppo by letters about Cassio."), "unsupported"),
        (fact(fact="Cassio asked: why dost thou ask", quote="He did, from first to last. Why dost thou ask?"), "spoiler"),
        (fact(fact="Othello and Iago walk in the garden of the castle with Cassio.", character="", field="setting"), "known"),
    ],
)
def test_a_fact_is_added_only_when_all_bears_it_out(addition: dict[str, str], reason: str) -> None:
    source = SearchedText(settings.source_until_end(SCENE))
    turns = dict(zip(label(SCENE.turns).values(), SCENE.turns, strict=True))
    assert settings.verdict(Addition.model_validate(addition), SCENE, source, turns) == reason


async def test_d11_added_facts_stand_in_the_prompt_that_is_trained(tmp_path: Path) -> None:
    """D11: what was added to a character or the setting is read by the prompt's maker, not by nobody."""
    public = fact(character="", field="setting", fact="Cassio had been put out of his place for a brawl the night before.")
    wrong = fact(quote="Nobody wrote this sentence anywhere.")
    spoil = answering("complete_setting", lambda asked, answer, count: {"additions": [fact(), wrong]})
    scene, notes, server = await taken_through(complete, tmp_path, spoil)
    system = messages(scene.transcript(), "Iago", ())[0].content
    assert fact()["fact"] in system and scene.cast[0].background == fact()["fact"]
    assert fact()["fact"] not in messages(scene.transcript(), "Othello", ())[0].content  # his alone
    assert scene.cast[0].profile == SCENE.cast[0].profile and scene.scenario == SCENE.scenario
    assert [entry.reason.split(":")[0] for entry in notes.skipped] == ["not_in_source"]
    source = server.questions("complete_setting")[0]["source"]
    assert "brawl" in source and source.rstrip().endswith("Why dost thou ask?") and "strangled" not in source
    spoil = answering("complete_setting", lambda asked, answer, count: {"additions": [public] * 3})
    (tmp_path / "two").mkdir()
    scene, notes, _ = await taken_through(complete, tmp_path / "two", spoil)
    assert scene.scenario.setting == f"{SCENE.scenario.setting}\n{public['fact']}"
    assert public["fact"] in messages(scene.transcript(), "Othello", ())[0].content
    assert [entry.reason.split(":")[0] for entry in notes.skipped] == ["known", "too_many"]


async def test_a_scene_that_is_not_found_in_its_source_gains_nothing(tmp_path: Path) -> None:
    notes = Notes()
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with models_of(server, ledger) as models:
            for passage in ("", "Call me Ishmael. Some years ago, never mind how long precisely."):
                scene = a_scene(passage=passage)
                assert await complete(scene, models, notes) == scene
    assert not server.questions("complete_setting") and len(notes.skipped) == 2


def test_d10_limits_that_are_told_are_kept() -> None:
    """D10: what a setting promises is in the code: source, facts and draft are cut where they say."""
    long = a_scene(passage="The garden lies under the wall. " * 2000 + SCENE.passage)
    assert len(settings.source_until_end(long)) > 60_000
    options = SettingOptions(source_characters=500)
    payload = settings._payload(long, settings.source_until_end(long)[-options.source_characters :], label(long.turns))
    assert len(payload["source"]) == 500 and payload["source"].endswith("Why dost thou ask?")
