"""Test the arena: who may judge, what meets, both orders over a ledger, and people's votes in the same table."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from her.backends.base import Description
from her.backends.rules import RuleBackend
from her.errors import InputError
from her.judging.statistics import Uncertainty
from her.types import Message
from pipelines.evaluate.arena import ArenaJudge, Contestant, check_judges, meetings, run_arena
from pipelines.evaluate.report import read_run
from tests.judging.test_arena_table import game
from tests.pipelines.evaluate.evaluated import rows, write_run

QUICK = Uncertainty(resamples=40)
PLAYS = re.compile(r"===Play A===\n(.*)\n\n===Play B===\n(.*)", re.DOTALL)


class Reader(RuleBackend):
    """A judge without a model that prefers the play of the tallest harbour; `rule` is what a judge with principles adores."""

    def __init__(self, name: str, taste: str) -> None:
        super().__init__(Description(spec=f"test:{name}", model=name))
        self.taste = taste
        self.asked: list[Sequence[Message]] = []

    def answer(self, messages: Sequence[Message]) -> str:
        self.asked.append(messages)
        found = PLAYS.search(messages[1].content)
        assert found is not None
        counts = [side.count(self.taste) for side in found.groups()]
        word = "tie" if counts[0] == counts[1] else "A" if counts[0] > counts[1] else "B"
        return f"It has more of it.\nVerdict: {word}"


def contestants(folder: Path, cases: int = 12, runs: int = 1) -> list[Contestant]:
    """Two models; the second says "roar" in every scene."""
    found = []
    for name, family in (("plain", "qwen"), ("loud", "llama")):
        place = write_run(folder / name, rows(cases=cases, runs=runs, model=name))
        path = place / "transcripts.jsonl"
        if name == "loud":
            path.write_text(path.read_text("utf-8").replace("The wind rises", "A roar: the wind rises"), "utf-8")
        found.append(Contestant(name, family, read_run(str(place))))
    return found


@pytest.mark.whole
def test_both_orders_are_judged_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    sides = contestants(tmp_path)
    reader, ruled = Reader("reader", "roar"), Reader("ruled", "never said")
    judges = [ArenaJudge("held_out", (reader,), "gpt"), ArenaJudge("by_case", (ruled,), "qwen")]
    votes = [game(case, "b", "plain", "loud", source="people", judge="rater:1", forth=None, back=None) for case in range(3)]
    report, files = run_arena(sides, judges, tmp_path / "arena", people=votes, settings=QUICK)
    held_out, by_case, people = report.tables
    assert [one.contestant for one in held_out.standings] == ["loud", "plain"] and held_out.standings[0].wins == 12
    assert held_out.standings[0].low is None and "fewer than ten" in (tmp_path / "arena" / "arena.md").read_text(
        "utf-8"
    )  # 6 books
    assert by_case.standings[0].ties == 12 and people.standings[0].contestant == "loud" and people.games == 3
    assert len(reader.asked) == 24 and "===Principles===" not in reader.asked[0][0].content
    assert "===Principles===" in ruled.asked[0][0].content and "no-mind-reading" in ruled.asked[0][0].content
    shown = reader.asked[0][1].content
    assert "I must not show it" not in shown and "Keep Mara cold" not in shown and "> Mara: " in shown
    again, _ = run_arena(sides, judges, tmp_path / "arena", people=votes, settings=QUICK)
    assert len(reader.asked) == 24 and again == report and {file.name for file in files} >= {"games.jsonl", "arena.html"}


@pytest.mark.parametrize(
    ("families", "judge", "said"),
    [
        (("qwen", "llama"), "Qwen ", "as plain is"),
        (("qwen", "llama"), "", "is not declared"),
        (("qwen", "llama"), "unknown", "is not declared"),
        (("qwen", ""), "gpt", "of loud is not declared"),
    ],
)
def test_a_judge_that_is_not_held_out_is_refused(tmp_path: Path, families: tuple[str, str], judge: str, said: str) -> None:
    run = read_run(str(write_run(tmp_path / "run", rows(cases=1, runs=1))))
    sides = [Contestant(name, family, run) for name, family in zip(("plain", "loud"), families, strict=True)]
    with pytest.raises(InputError, match=said):
        check_judges(sides, [ArenaJudge("held_out", ("test:x",), judge)])


def test_an_arena_without_contestants_cases_or_judges_is_refused(tmp_path: Path) -> None:
    run = read_run(str(write_run(tmp_path / "run", rows(cases=1, runs=1))))
    side = Contestant("plain", "qwen", run)
    judge = ArenaJudge("held_out", ("test:x",), "gpt")
    with pytest.raises(InputError, match="two contestants"):
        check_judges([side, side], [judge])
    with pytest.raises(InputError, match="needs a judge"):
        check_judges([side, side._replace(name="loud", family="llama")], [])
    other = [row.model_copy(update={"case": "elsewhere"}) for row in rows(cases=1, runs=1)]
    with pytest.raises(InputError, match="no play of one case"):
        meetings([side, side._replace(name="loud", run=read_run(str(write_run(tmp_path / "other", other))))])
