"""Test the log for inspect-ai: none without the package; with it, its own reader reads it back, and the bytes are the same."""

from pathlib import Path

import pytest

from pipelines.evaluate import inspect_log
from pipelines.evaluate.report import read_run
from tests.pipelines.evaluate.evaluated import JUDGE, MODEL, rows, write_run


def test_nothing_is_written_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_log, "find_spec", lambda name: None)
    assert inspect_log.write_inspect_log(tmp_path, "coser", rows(cases=1), {}) == [] and not list(tmp_path.iterdir())


def test_its_own_reader_reads_it_back(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log")
    run = read_run(str(write_run(tmp_path / "run", rows(cases=9))))
    (path,) = inspect_log.write_inspect_log(run.folder, "coser", run.scores, run.transcripts)
    written = path.read_bytes()
    read = log.read_eval_log(str(path))
    assert read.eval.model == MODEL and len(read.samples) == 18 and len(read.samples[0].messages) == 12
    assert read.eval.task_args == {"protocol": "corrected", "judges": [JUDGE]}
    inspect_log.write_inspect_log(run.folder, "coser", run.scores, run.transcripts)
    assert path.read_bytes() == written
