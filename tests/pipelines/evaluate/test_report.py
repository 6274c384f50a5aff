"""Test the report of a run and the page of two: files, escaping, anchors of flaws, published scores apart, same bytes."""

import json
import re
from pathlib import Path

import pytest
import yaml

from her.errors import InputError
from her.judging.statistics import Uncertainty
from pipelines.evaluate.report import read_run, write_comparison, write_report
from pipelines.evaluate.scores import Flaw
from tests.pipelines.evaluate.evaluated import MODEL, rows, write_run

pytestmark = pytest.mark.whole  # draws with matplotlib
QUICK = Uncertainty(resamples=100, permutations=100)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("runs") / "first", rows(cases=20))
    write_report(folder, "First | <run>", settings=QUICK)
    return folder


def test_every_flaw_points_at_its_turn(written: Path) -> None:
    page = (written / "report.html").read_text("utf-8")
    ids = re.findall(r' id="(p\d+-t\d+)"', page)
    assert len(ids) == len(set(ids)) == 20 * 2 * 12
    links = re.findall(r'<a class="flaw" href="#([^"]+)"', page)
    assert links and set(links) <= set(ids)
    assert page.count("no turn named") == page.count("It drags.") > 0


def test_texts_of_models_are_escaped_and_nothing_is_loaded(written: Path) -> None:
    page = (written / "report.html").read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x" in page and page.count("</script>") == 1
    assert not re.search(r"(?:src|href)=[\"']?https?:", page) and "First | &lt;run&gt;" in page
    assert "<img" not in (written / "report.md").read_text("utf-8")


def test_published_scores_stand_apart_with_judge_and_protocol(written: Path) -> None:
    text = (written / "report.md").read_text("utf-8")
    own, _, published = text.partition("## Published by others")
    assert "CoSER-70B" not in own and "| GPT-4o | 59.95 | gpt-4o-2024-08-06 | CoSER's" in published
    assert "| GPT-4o-240806 | 27.69 | Qwen3-235B-A22B" in published and "not comparable" in published


def test_json_and_hub_results_carry_judge_protocol_and_interval(written: Path) -> None:
    report = json.loads((written / "report.json").read_text("utf-8"))
    assert report["sheets"][0]["figures"]["average"]["used"] == 20 and report["free"][MODEL]["en"]["turns"] == 20 * 2 * 8
    entries = yaml.safe_load((written / ".eval_results" / "coser.yaml").read_text("utf-8"))
    assert entries[0]["dataset"] == {"id": "Neph0s/CoSER", "task_id": "en_average"} and isinstance(entries[0]["value"], float)
    assert all(word in entries[0]["notes"] for word in ("judge judge@1", "protocol corrected", "95 % interval", "2 runs"))


def test_the_same_scores_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = write_run(tmp_path / "first", rows(cases=20))
    _, files = write_report(again, "First | <run>", settings=QUICK)
    for file in files:
        assert file.read_bytes() == (written / file.relative_to(again)).read_bytes(), file.name


def test_a_run_without_transcripts_or_with_one_case_is_reported(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "bare", rows(cases=1, runs=1), scenes=False)
    report, _ = write_report(folder, "Bare", proxy="A proxy of a benchmark.", settings=QUICK)
    assert report.sheets[0].figures["average"].low is None and not report.free
    page = (folder / "report.html").read_text("utf-8")
    assert "The transcript is not in this run" in page and '<p class="proxy">A proxy of a benchmark.' in page
    assert "A proxy of a benchmark." in (folder / "report.md").read_text("utf-8")
    assert "proxy: A proxy" in (folder / ".eval_results" / "coser.yaml").read_text("utf-8")


def test_scores_and_transcripts_of_two_runs_are_refused(tmp_path: Path) -> None:
    lost = [row.model_copy(update={"flaws": (Flaw(turn="gone", severity=1),)}) for row in rows(cases=2)]
    with pytest.raises(InputError, match="not of one run"):
        write_report(write_run(tmp_path / "mixed", lost), "Mixed", settings=QUICK)


def test_a_place_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no evaluation"):
        read_run(str(tmp_path))
    folder = write_run(tmp_path / "run", rows(cases=1, runs=1))
    with pytest.raises(InputError, match="no scores of model 'other'"):
        read_run(f"{folder}#other")
    assert len(read_run(f"{folder}#{MODEL}").scores) == 6
    assert len(read_run(f"{folder}").transcripts) == 1


def test_two_runs_are_compared_on_one_page(written: Path, tmp_path: Path) -> None:
    second = write_run(tmp_path / "second", rows(shift=5, seed=2, cases=20, model="m2"))
    found, files = write_comparison(read_run(str(written)), read_run(str(second)), tmp_path / "page", QUICK)
    assert found[0].verdict.startswith("second scores higher than first") and {file.suffix for file in files} == {
        ".json",
        ".md",
        ".html",
    }
    page = (tmp_path / "page" / "comparison.html").read_text("utf-8")
    ids = re.findall(r' id="([ab]\d+-t\d+)"', page)
    links = re.findall(r'<a class="flaw" href="#([^"]+)"', page)
    assert len(ids) == len(set(ids)) and set(links) <= set(ids) and {each[0] for each in ids} == {"a", "b"}
    assert "<img src=x" not in page and page.count("</script>") == 1
