"""The report: numbers of the run folder before and after the stages, and the page that shows them."""

from pathlib import Path
from typing import Any

from her.files import jsonl
from her.types import Defect
from pipelines.synthesize.notes import Skipped, TurnRecord
from pipelines.synthesize.outputs.readable import readable_turns
from pipelines.synthesize.outputs.report import write_report
from pipelines.synthesize.stages.system_thinking import with_plan
from tests.teaching import a_scene

SCENE = a_scene()
PLAN = "I need to portray them as they are."


def report_of(folder: Path) -> dict[str, Any]:
    """Return the report of a run in which every turn but the last got a plan."""
    turns = [with_plan(turn, PLAN) if turn.speaker != "Environment" else turn for turn in SCENE.turns[:-1]]
    planned = SCENE.model_copy(update={"turns": (*turns, SCENE.turns[-1])})
    records = [
        TurnRecord(stage="system_thinking", scene=SCENE.id, turn=SCENE.turns[1].id, speaker="Iago", fate="changed"),
        TurnRecord(
            stage="system_thinking",
            scene=SCENE.id,
            turn=SCENE.turns[3].id,
            speaker="Iago",
            fate="missing",
            asked=2,
            first=("plan_user",),
            same=True,
            checked=True,
            problems=(Defect(name="plan_short"),),
            error="no <answer>",
            refused="<script>I must</script>",
        ),
    ]
    jsonl.write(folder / "scenes.jsonl", [SCENE])
    jsonl.write(folder / "system_thinking.jsonl", [planned])
    jsonl.write(folder / "system_thinking.turns.jsonl", records)
    reasons = ["a conversation of 4 lines, at least 6", "a conversation of 5 lines, at least 6"]
    jsonl.write(folder / "skipped.jsonl", [Skipped(stage="books", where="x", reason=reason) for reason in reasons])
    return write_report(folder, ["role_thinking", "system_thinking"], {"money": 0.5}, {"samples": {"sft": 7}}, "shown")


def test_turns_are_counted_before_and_after(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    assert (report["before"]["turns"], report["before"]["plan_coverage"]) == (8, 0)
    assert (report["after"]["turns"], report["after"]["plan_coverage"]) == (8, 0.875)
    assert report["after"]["mean_plan_characters"] == len(PLAN) and report["after"]["plan_lengths"][0] == 7


def test_outcomes_problems_and_reasons_are_counted(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    assert report["stages"] == {
        "system_thinking": {
            "turns": {"changed": 1, "missing": 1},
            "asked_again": 1,
            "same": 1,
            "checked": 1,
            "problems_first": {"plan_user": 1},
            "problems_last": {"plan_short": 1},
            "errors": {"no <answer>": 1},
        }
    }
    assert report["skipped"] == {"books": {"a conversation of … lines, at least …": 2}}


def test_the_page_escapes_texts_and_names_every_section(tmp_path: Path) -> None:
    report_of(tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "no &lt;answer&gt;" in page and "<answer>" not in page
    for text in ("Synthesis: shown", "Patterns", "Lengths", "System thinking", "Calls", "Skipped", "Written", "plan_user"):
        assert text in page
    assert "1 asked about twice, 1 of them answered the same (the check may be wrong); 1 read by the checker" in page
    assert "Put a plan in front of every turn." in page and "http" not in page


def test_turns_to_read_are_shown_before_and_after_with_every_mark_and_nothing_of_them_is_html(tmp_path: Path) -> None:
    shown = report_of(tmp_path)["readable"]
    assert [turn["speaker"] for turn in shown] == ["Iago", "Iago"]
    refused, passed = sorted(shown, key=lambda turn: turn["stages"][0]["fate"] == "changed")
    assert passed["after"][0] == {"kind": "system_thinking", "text": PLAN} and passed["before"] == passed["after"][1:]
    assert refused["stages"][0]["refused"] == "<script>I must</script>" and refused["heard"].startswith("Othello: ")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<script>") == 1 and "&lt;script&gt;I must" in page and "refused, nothing kept" in page
    assert page.count('data-good="true"') == page.count('data-good="false"') == 2
    assert "<b>mended</b> plan_user" in page and "<b>problem</b> plan_short" in page


def test_half_of_the_turns_to_read_have_a_mark_where_there_are_so_many(tmp_path: Path) -> None:
    def record(number: int) -> TurnRecord:
        return TurnRecord(
            stage="x", scene=SCENE.id, turn=f"{number}", speaker="Iago", fate="changed", first=("tags",) * (number % 3 == 0)
        )

    for count, marked in ((90, 10), (21, 7), (3, 1)):
        jsonl.write(tmp_path / "x.turns.jsonl", map(record, range(count)))
        turns = tuple(SCENE.turns[1].model_copy(update={"id": f"{number}"}) for number in range(count))
        jsonl.write(tmp_path / "scenes.jsonl", [SCENE.model_copy(update={"turns": turns})])
        shown = readable_turns(tmp_path, ["x"], "scenes", "scenes")
        assert len(shown) == min(20, count) and sum(bool(turn["stages"][0]["first"]) for turn in shown) == marked
