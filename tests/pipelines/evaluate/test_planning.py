"""Test what is said about a planned evaluation before it is paid for."""

from pathlib import Path

import pytest

from her.errors import InputError
from pipelines.evaluate.planning import detectable_lines
from tests.pipelines.evaluate.evaluated import rows, write_run


def test_a_pilot_says_what_a_plan_would_find(tmp_path: Path) -> None:
    first, second = (
        write_run(tmp_path / "a", rows(cases=8), scenes=False),
        write_run(tmp_path / "b", rows(seed=2, cases=8), False),
    )
    lines = list(detectable_lines(str(first), str(second), 200, 101, 2, 0.8))
    assert lines[0].startswith("corrected, judged by judge@1") and lines[-1].startswith("200 cases of 101 books or seeds, 2 runs")
    average = float(next(line for line in lines if "average" in line).split(":")[1].split()[0])
    assert 0 < average < 3
    alone = [line for line in detectable_lines(str(first), "", 200, 101, 2, 0.8) if "average" in line]
    assert "at the least" in alone[0]


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    first, once = write_run(tmp_path / "a", rows(cases=4), False), write_run(tmp_path / "b", rows(cases=4, runs=1), False)
    with pytest.raises(InputError, match="cannot be of 30 books"):
        list(detectable_lines(str(first), "", 20, 30, 2, 0.8))
    with pytest.raises(InputError, match="two runs"):
        list(detectable_lines(str(once), "", 200, 101, 2, 0.8))
    with pytest.raises(InputError, match="take at least 10 books"):
        list(detectable_lines(str(first), "", 20, 5, 2, 0.8))
    other = write_run(tmp_path / "c", rows(cases=4, judge="other"), False)
    with pytest.raises(InputError, match="share no protocol and judge"):
        list(detectable_lines(str(first), str(other), 200, 101, 2, 0.8))
