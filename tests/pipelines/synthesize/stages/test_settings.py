"""Setting completion: a table of facts with the reason each is dropped, and scenes against a teacher over HTTP."""

from pathlib import Path

import pytest

from her.view import messages
from pipelines.synthesize.checks.anchors import SearchedText
from pipelines.synthesize.option_groups import SettingOptions
from pipelines.synthesize.stages.answers import SettingFact
from pipelines.synthesize.stages.settings import complete_setting, drop_reason, setting_payload, source_before
from pipelines.synthesize.stages.turn_text import turn_labels
from tests.pipelines.synthesize.planted import planted_scene
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


CHINESE = planted_scene(
    "zh",
    "秦大夫的药铺开了二十年，后院有一口老井。柳姑娘的父亲三年前被赵知县判了死罪。秦大夫早年受过柳姑娘父亲的恩惠，一直没有报答。"
    "县衙的差役近来查砒霜查得紧。秦大夫把逃兵师兄藏在后院的地窖里。“今日不看诊了，柳姑娘请回吧。”柳姑娘后来再也没有回到城南。",
)
"""The scene of planted.json with a source; t5 asks about arsenic, t8 tells of the father."""
SENTENCED, OWES = "柳姑娘的父亲三年前被赵知县判了死罪。", "秦大夫早年受过柳姑娘父亲的恩惠，一直没有报答。"
SEARCHED, HIDDEN = "县衙的差役近来查砒霜查得紧。", "秦大夫把逃兵师兄藏在后院的地窖里。"


@pytest.mark.parametrize(
    ("character", "text", "quote", "shown_by", "reason"),
    [
        ("", "柳姑娘的父亲三年前被判了死罪。", SENTENCED, "t8", ""),
        ("", "三年前，赵知县判了柳姑娘父亲死罪。", SENTENCED, "t8", ""),
        ("秦大夫", "秦大夫早年受过柳姑娘父亲的恩惠。", OWES, "t8", ""),
        ("秦大夫", "柳姑娘的父亲对秦大夫有恩，这份恩惠他一直没有报答。", OWES, "t8", ""),
        ("", "县衙的差役近来正在严查砒霜。", SEARCHED, "t5", ""),
        ("柳姑娘", "柳姑娘的父亲三年前死在赵知县手里。", SENTENCED, "t8", ""),
        ("", "柳姑娘的父亲五年前被判了死罪。", SENTENCED, "t8", "contradicted"),
        ("", "柳姑娘的父亲三月里被判了死罪。", SENTENCED, "t8", "contradicted"),  # the same number, another unit
        ("秦大夫", "秦大夫没有受过柳姑娘父亲的恩惠。", OWES, "t8", "contradicted"),  # both deny, but not the same
        ("秦大夫", "秦大夫早年受过柳姑娘父亲的恩惠，已经报答了。", OWES, "t8", "contradicted"),
        ("秦大夫", "秦大夫今晚将要报答柳姑娘父亲的恩惠。", OWES, "t8", "spoiler"),
        ("秦大夫", "这一轮显示，秦大夫早年受过柳姑娘父亲的恩惠。", OWES, "t8", "spoiler"),
        ("", "县衙的差役在巷口，问有没有人来抓过砒霜。", SEARCHED, "t5", "spoiler"),  # a line of the dialogue
        ("阿福", "阿福早年受过柳姑娘父亲的恩惠。", OWES, "t8", "of_another"),
        ("秦大夫", "秦大夫早年受过柳姑娘父亲的恩惠。", SENTENCED, "t8", "of_another"),
        ("", "秦大夫把逃兵师兄藏在后院的地窖里。", HIDDEN, "t3", "secret"),
        ("柳姑娘", "秦大夫的地窖里藏着逃兵师兄。", HIDDEN, "t3", "secret"),
        ("", "秦大夫的药铺后院有一口老井。", "秦大夫的药铺开了二十年，后院有一口老井。", "t9", "not_shown"),
        ("", "柳姑娘再也没有回到城南。", "柳姑娘后来再也没有回到城南。", "t10", "not_in_source"),
        ("秦大夫", "秦大夫早年受過柳姑娘父親的恩惠。", OWES, "t8", "garbled"),
        ("秦大夫", "秦大夫早年受过柳姑娘父亲的 kindness。", OWES, "t8", "garbled"),
    ],
)
def test_chinese_facts(character: str, text: str, quote: str, shown_by: str, reason: str) -> None:
    field = "background" if character else "setting"
    addition = SettingFact.model_validate(
        {"character": character, "field": field, "fact": text, "quote": quote, "shown_by": shown_by}
    )
    turns = dict(zip(turn_labels(CHINESE.turns).values(), CHINESE.turns, strict=True))
    assert drop_reason(addition, CHINESE, SearchedText(source_before(CHINESE)), turns) == reason


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
