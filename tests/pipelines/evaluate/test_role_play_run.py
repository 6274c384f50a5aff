"""Run the proxy of Role-Play Bench with scripted models: scores by column, chunks, missing sessions, languages, calibration."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from her.backends.base import Description
from her.backends.rules import RuleBackend
from her.errors import BackendError, InputError
from her.files import jsonl
from her.judging.statistics import Uncertainty
from her.types import Message, Transcript
from pipelines.evaluate.role_play_run import BenchOptions, run_bench
from pipelines.evaluate.scores import CaseScore
from tests.pipelines.evaluate.test_role_play_bench import SEED, ZH, published, write_bench

QUICK = Uncertainty(resamples=50, permutations=50)


class Player(RuleBackend):
    """A backend whose answers are made from the messages."""

    def __init__(self, name: str, rule: Callable[[Sequence[Message]], str]) -> None:
        super().__init__(Description(spec=f"test:{name}", model=name))
        self.rule = rule
        self.asked: list[Sequence[Message]] = []

    def answer(self, messages: Sequence[Message]) -> str:
        self.asked.append(messages)
        return self.rule(messages)


def actor(messages: Sequence[Message]) -> str:
    return f"<system_thinking>Plan.</system_thinking>Mara: <role_thinking>I wonder.</role_thinking>Answer {len(messages)}."


def user(messages: Sequence[Message]) -> str:
    assert "I wonder" not in str(messages) and "Plan." not in str(messages)
    return f"Tom: And then, {len(messages)}?\nMara: I speak for her!"


def judge(messages: Sequence[Message]) -> str:
    """Find one clear flaw in the first own turn of each chunk, and one in a turn of the user, which does not count."""
    numbers = [int(number) for number in re.findall(r"^\[(\d+)\]", messages[1].content, re.MULTILINE)]
    flaws = [{"column": "logic", "turn": numbers[0], "severity": "clear", "text": "Wrong person."}]
    flaws.append({"column": "basics", "turn": numbers[1], "severity": "severe", "text": "Of the user."})
    return json.dumps({"flaws": flaws})


def options(folder: Path, **changes: object) -> BenchOptions:
    values: dict[str, object] = {
        "source": folder,
        "actor": (Player("actor", actor),),
        "user": (Player("user", user),),
        "judge": (Player("judge", judge),),
        "runs": 2,
        "turns": 40,
    }
    return BenchOptions(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.whole
def test_sessions_are_played_judged_and_reported_as_a_proxy(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", [SEED, ZH], [published(model_name=f"m{n}") for n in range(4)])
    settings = options(data, published=4)
    files = run_bench(settings, tmp_path / "run", QUICK)
    rows = list(jsonl.read(tmp_path / "run" / "scores.jsonl", CaseScore))
    assert len(rows) == 2 * 2 * 6 and {row.language for row in rows} == {"en", "zh"}
    by_column = {row.dimension: row for row in rows if row.case == SEED["id"] and not row.run}
    assert by_column["logic"].score == 85 and by_column["basics"].score == 100 and by_column["logic"].rounds == 20
    assert len(by_column["logic"].flaws) == 2 and by_column["logic"].protocol == "role-play-bench-proxy with user"
    plays = {each.id: each for each in jsonl.read(tmp_path / "run" / "transcripts.jsonl", Transcript)}
    turns = next(iter(plays.values())).turns
    assert len(turns) == 42 and turns[2].speaker == "Mara" and turns[3].text("speech") == "And then, 4?"
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    assert [sheet["language"] for sheet in report["sheets"]] == ["en", "zh"] and "A proxy of MiniMax" in report["proxy"]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "CC BY-SA 4.0" in page and "MiniMax-M2-her" in page and "Calibration on published labels, en" in page
    found = json.loads((tmp_path / "run" / "calibration.json").read_text("utf-8"))
    assert {each["column"] for each in found} == {"basics", "logic"} and found[0]["models"] == 4
    asked = len(settings.actor[0].asked)  # type: ignore[union-attr]
    run_bench(settings, tmp_path / "run", QUICK)
    assert len(settings.actor[0].asked) == asked and {file.name for file in files} >= {"report.html"}  # type: ignore[union-attr]


@pytest.mark.whole
def test_a_session_or_judgement_that_fails_has_no_score(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", [SEED])

    def broken(messages: Sequence[Message]) -> str:
        if len(messages) > 8:
            raise BackendError("too long", "bad_request")
        return "Mara: Yes."

    run_bench(options(data, actor=(Player("actor", broken),), runs=1), tmp_path / "played", QUICK)
    run_bench(options(data, judge=(Player("judge", lambda messages: "I like it."),), runs=1, turns=4), tmp_path / "judged", QUICK)
    for folder, said in (("played", "not played to its end"), ("judged", "invalid_reply")):
        rows = list(jsonl.read(tmp_path / folder / "scores.jsonl", CaseScore))
        assert len(rows) == 6 and all(row.score is None and said in (row.missing or "") for row in rows)


def test_turns_come_in_pairs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="even number"):
        run_bench(options(write_bench(tmp_path, [SEED]), turns=5), tmp_path / "run", QUICK)
