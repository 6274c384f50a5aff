"""Setting completion: a table of facts with the reason each is dropped, and scenes against a teacher over HTTP."""

from pathlib import Path

import pytest

from her.view import messages
from pipelines.synthesize.checks.anchors import SearchedText
from pipelines.synthesize.option_groups import SettingOptions
from pipelines.synthesize.stages.answers import SettingFact
from pipelines.synthesize.stages.settings import complete_setting, drop_reason, setting_payload, source_before
from pipelines.synthesize.stages.turn_text import turn_labels
from tests.teaching import a_scene, answering, callers_of, context_of, improved, ledger_of, teaching

SCENE = a_scene()
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
        (fact(fact="Othello was called to Aleppo by letters about Cassio."), "of_another"),
        (fact(fact="Iago was called to Aleppo by letters about Cassio's brother."), "unsupported"),
        (fact(fact="Cassio asked: why dost thou ask", quote="He did, from first to last. Why dost thou ask?"), "not_in_source"),
        (fact(fact="Othello and Iago walk in the garden of the castle with Cassio.", character="", field="setting"), "known"),
    ],
)
def test_a_fact_is_added_only_when_everything_supports_it(addition: dict[str, str], reason: str) -> None:
    source = SearchedText(source_before(SCENE))
    turns = dict(zip(turn_labels(SCENE.turns).values(), SCENE.turns, strict=True))
    assert drop_reason(SettingFact.model_validate(addition), SCENE, source, turns) == reason


async def test_added_facts_are_in_the_prompt_that_is_trained(tmp_path: Path) -> None:
    """The published HER code writes enriched settings where its prompt builder does not read them (docs/protocols.md)."""
    public = fact(character="", field="setting", fact="Cassio had been put out of his place for a brawl the night before.")
    wrong = fact(quote="Nobody wrote this sentence anywhere.")
    spoil = answering("complete_setting", lambda payload, answer, count: {"additions": [fact(), wrong]})
    scene, notes, server = await improved(complete_setting, tmp_path, spoil)
    system = messages(scene.transcript(), "Iago", ())[0].content
    assert fact()["fact"] in system and scene.cast[0].background == fact()["fact"]
    assert fact()["fact"] not in messages(scene.transcript(), "Othello", ())[0].content  # background is private
    assert scene.cast[0].profile == SCENE.cast[0].profile and scene.scenario == SCENE.scenario
    assert [entry.reason.split(":")[0] for entry in notes.skipped] == ["not_in_source"]
    source = server.questions("complete_setting")[0]["source"]
    assert "brawl" in source and source.endswith("with Iago at his side.") and "strangled" not in source
    spoil = answering("complete_setting", lambda payload, answer, count: {"additions": [public] * 3})
    (tmp_path / "two").mkdir()
    scene, notes, _ = await improved(complete_setting, tmp_path / "two", spoil)
    assert scene.scenario.setting == f"{SCENE.scenario.setting}\n{public['fact']}"
    assert public["fact"] in messages(scene.transcript(), "Othello", ())[0].content
    assert [entry.reason.split(":")[0] for entry in notes.skipped] == ["known", "too_many"]


async def test_a_scene_that_is_not_found_in_its_source_stays_the_same(tmp_path: Path) -> None:
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with callers_of(server, ledger) as callers:
            context = context_of(callers)
            for passage in ("", "Call me Ishmael. Some years ago, never mind how long precisely."):
                scene = a_scene(passage=passage)
                assert await complete_setting(scene, context) == scene
    assert not server.questions("complete_setting") and len(context.notes.skipped) == 2


def test_the_source_is_cut_at_its_limit() -> None:
    """The published HER README states limits that its code does not apply (docs/protocols.md)."""
    long = a_scene(passage="The garden lies under the wall. " * 2000 + SCENE.passage)
    assert len(source_before(long)) > 60_000
    options = SettingOptions(source_characters=500)
    payload = setting_payload(long, source_before(long)[-options.source_characters :], turn_labels(long.turns))
    assert len(payload["source"]) == 500 and payload["source"].endswith("with Iago at his side.")
