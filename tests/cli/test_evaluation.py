"""her/cli/evaluation.py: report, compare, detectable and arena, over folders of evaluated runs."""

from pathlib import Path

import pytest

from tests.cli.commands import her
from tests.pipelines.evaluate.evaluated import rows, write_run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Two evaluated models over the same cases, the second six points better."""
    first = write_run(tmp_path / "first", rows(), scenes=False)
    second = write_run(tmp_path / "second", rows(shift=6, seed=2, model="m2"), scenes=False)
    return str(first), str(second)


@pytest.mark.whole
def test_two_runs_are_reported_and_compared(runs: tuple[str, str]) -> None:
    reported = her("eval", "report", runs[0])
    assert reported.exit_code == 0 and "report.html" in reported.stdout
    compared = her("eval", "compare", *runs)
    assert compared.exit_code == 0 and "second scores higher than first: +6." in compared.stdout
    assert (Path(runs[1]) / "comparison-first" / "comparison.html").is_file()


@pytest.mark.whole
def test_what_a_plan_could_show_is_printed(runs: tuple[str, str]) -> None:
    said = her("eval", "detectable", *runs, "--cases", "200", "--books", "101")
    assert said.exit_code == 0 and "average:" in said.stdout and "80% of such evaluations" in said.stdout


def test_what_cannot_be_compared_is_one_sentence(runs: tuple[str, str], tmp_path: Path) -> None:
    for words in (("compare", runs[0], str(tmp_path)), ("report", "no-such-run"), ("detectable", f"{runs[0]}#nobody")):
        failed = her("eval", *words)
        assert failed.exit_code == 2 and failed.output.startswith("her: ") and failed.output.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--family", "qwen"), "2 runs have 1 families"),
        (("--family", "qwen", "--family", "llama"), "needs a judge"),
        (("--family", "qwen", "--family", "llama", "--held-out", "openai:http://127.0.0.1:9/v1#m"), "is not declared"),
    ],
)
def test_an_arena_whose_judge_is_not_held_out_asks_nobody(runs: tuple[str, str], words: tuple[str, ...], said: str) -> None:
    failed = her("eval", "arena", *runs, *words)
    assert failed.exit_code == 2 and said in failed.output
