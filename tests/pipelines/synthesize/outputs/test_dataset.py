"""The dataset of a run: splits, samples in every form, what is dropped, and the audit."""

from collections import Counter
from pathlib import Path

from her.files import jsonl
from her.runs.folder import RunStatus
from her.training_data.audit import Audit, AuditReport, EstimatedEncoder, to_markdown
from her.training_data.samples import Dropped
from pipelines.synthesize.option_groups import DatasetOptions
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.outputs.dataset import open_encoder, write_dataset
from pipelines.synthesize.stages.system_thinking import with_plan
from tests.pipelines.synthesize.outputs.test_exports import ROWS
from tests.teaching import a_scene

SCENE = a_scene()
STATUS = RunStatus(pipeline="synthesize", state="running", hashes={"Othello.txt": "12ab", "prompts": "34cd"})


def written(folder: Path, most_tokens: int = 8192) -> tuple[dict[str, int], list[AuditReport], Counter[str]]:
    """Return counts of samples, audits and dropped turns of a scene in which the last turn has no plan."""
    planned = [with_plan(turn, "I need to portray them.") if turn.speaker != "Environment" else turn for turn in SCENE.turns[:-1]]
    scene = SCENE.model_copy(update={"turns": (*planned, SCENE.turns[-1])})
    jsonl.write(folder / "system_thinking.jsonl", [scene])
    samples = DatasetOptions(shares={"rl": 1}, most_tokens=most_tokens)
    options = SynthesisOptions(books=(Path("Othello.txt"),), samples=samples)
    dataset = write_dataset(folder, "system_thinking", options, STATUS, {"system_thinking": "teacher"})
    dropped = Counter(entry.reason for entry in jsonl.read(folder / "dropped.jsonl", Dropped))
    return dataset.counts["samples"], list(dataset.audit), dropped


def test_every_form_of_a_split_holds_the_same_samples(tmp_path: Path) -> None:
    from pyarrow import parquet

    counts, (audit,), dropped = written(tmp_path)
    assert counts == {"rl": 7} and dropped == {"no_plan": 1} == audit.dropped
    folder = tmp_path / "dataset" / "rl"
    for name in ("trl.parquet", "verl.parquet"):
        assert parquet.read_table(folder / name).num_rows == 7
    assert len((folder / "sharegpt.jsonl").read_text("utf-8").splitlines()) == 7
    assert "| system_thinking | `teacher` |" in (tmp_path / "dataset" / "README.md").read_text("utf-8")
    assert list(jsonl.read(tmp_path / "audit.jsonl", AuditReport)) == [audit]


def test_a_sample_over_the_limit_is_dropped_whole(tmp_path: Path) -> None:
    counts, (audit,), dropped = written(tmp_path, most_tokens=420)
    assert 0 < counts["rl"] < 7 and dropped["too_long"] == audit.dropped["too_long"] == 7 - counts["rl"]


def test_the_audit_is_a_page() -> None:
    audit = Audit("sft", EstimatedEncoder())
    assert "## sft: problems" in to_markdown([audit.report()])
    audit.add(ROWS[0])
    assert "## sft: no problems" in to_markdown([audit.report()])


def test_without_a_tokenizer_tokens_are_estimated() -> None:
    assert not open_encoder("").exact
