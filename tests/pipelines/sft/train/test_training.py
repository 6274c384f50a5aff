"""Fine-tuning runs, whole, on the project's own personas: both layouts, adapters, kills, two processes, bad input."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from her import paths
from her.errors import InputError
from her.files import atomic as files
from her.runs.folder import read_curve, read_metrics, read_status
from her.runs.open_run import open_run
from pipelines.models.checkpoints import complete_checkpoints, delete_incomplete, delete_old, last_checkpoint
from pipelines.models.shared_rows import smallest_shared
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.rows import RowFacts
from pipelines.sft.train.arguments import step_size

pytestmark = pytest.mark.whole
ROOT = Path(__file__).resolve().parents[4]
SMALL = [
    "device=cpu",
    "samples.chats=3",
    "samples.exchanges=3",
    "samples.held_out_share=0.1",
    "samples.most_tokens=6000",
    "model.shape.hidden=16",
    "model.shape.intermediate=16",
    "model.shape.layers=1",
    "model.shape.heads=1",
    "model.shape.kv_heads=1",
    "model.shape.head=16",
    "model.shape.vocabulary=600",
    "model.shape.context=8192",
    "evaluation.turns=2",
    "evaluation.tokens=8",
    "batch=8",
    "steps=4",
    "save_every=2",
    "learning_rate=0.01",
    "checkpointing=none",
]


def small(home: Path) -> list[str]:
    """A tiny model that learns from two of the house's personas."""
    folder = home / "two personas"
    if not folder.is_dir():
        folder.mkdir()
        for name in ("sherlock-holmes", "lin-daiyu"):
            (folder / f"{name}.yaml").symlink_to(paths.personas_folder() / f"{name}.yaml")
    return [*SMALL, f"samples.personas={json.dumps([str(folder)])}"]


def run(*words: str, launch: Sequence[str] = ("-m",), home: Path) -> "subprocess.CompletedProcess[str]":
    """A run in a process of its own."""
    command = [sys.executable, *launch, "pipelines.sft", *small(home), *words]
    return subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, timeout=300)


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "HER_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def losses(name: str) -> dict[int, float]:
    """By step; what a kill made twice counts once."""
    return {line["step"]: line["loss"] for line in read_curve(name) if "loss" in line}


def evaluated(name: str) -> float:
    """The loss on what is held out, at the end."""
    return [line["eval_loss"] for line in read_metrics(name) if "eval_loss" in line][-1]


def test_a_run_leaves_a_model_that_opens_and_a_record_of_itself(home: Path) -> None:
    done = run("name=first", "model.shape.pretraining_steps=4", home=home)
    assert done.returncode == 0, done.stderr
    folder = home / "runs" / "first"
    assert read_status("first").state == "done"
    assert {"config.json", "model.safetensors", "chat_template.jinja", "generation_config.json"} <= {
        path.name for path in (folder / "model").iterdir()
    }
    assert sorted(losses("first")) == [1, 2, 3, 4]
    read = [line["text_pretraining"]["loss"] for line in read_metrics("first") if "loss" in line.get("text_pretraining", {})]
    assert len(read) == 4
    assert read[-1] < read[0]
    assert losses("first")[1] < read[0]  # what was read is where the training begins
    assert any("eval_loss" in line for line in read_metrics("first"))
    assert any(line.get("sampled") == 2 for line in read_metrics("first"))
    assert "shared prefixes agree with expanded rows" in (folder / "log.txt").read_text("utf-8")
    again = run("name=first", "model.shape.pretraining_steps=4", "steps=5", home=home)
    assert (again.returncode, "other settings" in again.stderr) == (2, True)


def test_both_layouts_learn_the_same(home: Path) -> None:
    """All targets in one step: the first loss is over the same tokens, the second shows the same weights, evaluation as well."""
    words = ["steps=2", "batch=100000", "samples.held_out_share=0.4", "evaluation.turns=0", "log_every=1"]
    for layout in ("shared_prefix", "plain"):
        done = run(f"name={layout}", f"layout={layout}", "rows=1", *words, *_whole_batch(layout), home=home)
        assert done.returncode == 0, done.stderr
    shared, plain = losses("shared_prefix"), losses("plain")
    assert shared[1] == pytest.approx(plain[1], rel=1e-5)
    assert shared[2] == pytest.approx(plain[2], rel=1e-4)
    assert evaluated("shared_prefix") == pytest.approx(evaluated("plain"), rel=1e-4)


def _whole_batch(layout: str) -> list[str]:
    """Packed rows come as near to `batch` as they can, which here is all of them."""
    return ["packing=true"] if layout == "plain" else []


def test_adapters_are_trained_merged_and_kept_beside(home: Path) -> None:
    assert run("name=base", home=home).returncode == 0
    model = home / "runs" / "base" / "model"
    done = run("name=lora", f"model.base={model}", "lora.rank=4", "checkpointing=light", "track=trackio", home=home)
    assert done.returncode == 0, done.stderr
    assert (home / "runs" / "lora" / "adapter" / "adapter_model.safetensors").is_file()
    saved = next(line for line in read_metrics("lora") if line.get("saved"))
    assert saved["difference"] < 1e-4
    (model / "config.json").write_text((model / "config.json").read_text("utf-8") + "\n", "utf-8")
    again = run("name=lora", f"model.base={model}", "lora.rank=4", "checkpointing=light", home=home)
    assert (again.returncode, "was started with another 'config.json'" in again.stderr) == (2, True)


def test_killed_runs_go_on_with_the_same_losses(home: Path) -> None:
    apart = ("log_every=3", "save_every=2")  # means over steps that a checkpoint stands between
    assert run("name=whole", "steps=6", *apart, home=home).returncode == 0
    command = [sys.executable, "-m", "pipelines.sft", *small(home), "name=killed", "steps=6", *apart]
    with subprocess.Popen(command, cwd=ROOT, env=_environment(home), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 4 of 6"):
                process.send_signal(signal.SIGKILL)
                break
    assert read_status("killed").state == "killed"
    again = run("name=killed", "steps=6", *apart, home=home)
    assert again.returncode == 0, again.stderr
    assert "goes on from checkpoint-" in again.stderr
    assert losses("killed") == pytest.approx(losses("whole"), abs=1e-4)


def test_a_run_that_has_all_its_steps_makes_none_more(home: Path) -> None:
    """Killed while it saved the model, in the middle of an epoch."""
    words = ("name=late", "steps=3", "evaluation.turns=0", "schedule=constant")
    assert run(*words, home=home).returncode == 0
    model = home / "runs" / "late" / "model" / "model.safetensors"
    first = files.file_hash(model)
    model.unlink()
    again = run(*words, home=home)
    assert again.returncode == 0, again.stderr
    assert sorted(losses("late")) == [1, 2, 3]
    assert files.file_hash(model) == first


def test_a_training_that_goes_astray_ends_before_it_is_saved(home: Path) -> None:
    done = run("name=astray", "learning_rate=1e36", "steps=40", "save_every=40", home=home)
    assert done.returncode == 2, done.stderr
    assert "the training went astray" in done.stderr
    assert not [*(home / "runs" / "astray").glob("checkpoints/*")]


def test_two_processes_train_together(home: Path) -> None:
    config = ROOT / "pipelines" / "configs" / "accelerate" / "cpu2.yaml"
    launch = ("-m", "accelerate.commands.launch", "--config_file", str(config), "-m")
    done = run("name=two", home=home, launch=launch)
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_status("two").state == "done"
    assert sorted(losses("two")) == [1, 2, 3, 4]
    assert (home / "runs" / "two" / "model" / "model.safetensors").is_file()
    words = ("layout=plain", "evaluation.turns=0", "steps=2")
    assert run("name=plain-two", *words, home=home, launch=launch).returncode == 0
    assert run("name=plain-one", *words, home=home).returncode == 0
    assert losses("plain-two") == pytest.approx(losses("plain-one"), rel=1e-5), "a step is over the same targets"
    alone = run("name=two", home=home)
    assert (alone.returncode, "launched as MULTI_CPU 2 and these are NO 1" in alone.stderr) == (2, True), alone.stderr


def test_a_second_process_in_one_run_is_refused(home: Path) -> None:
    options = TrainingOptions.model_validate({"name": "held", "samples": {"personas": ("bundled",)}})
    with open_run("sft", "held", options):
        done = run("name=held", home=home)
    assert done.returncode == 2
    assert "another process works on run 'held'" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["learning_rat=1"], "learning_rate"),
        (["device=cuda"], "GPU"),
        (["samples.most_tokens=400", "row_tokens=400"], "400 are the most"),
        (["model.base=nowhere/there"], "nowhere/there"),
        (['samples.files=["/nowhere.parquet"]'], "/nowhere.parquet"),
    ],
    ids=["no such key", "no GPU", "samples too long", "no such model", "no such file"],
)
def test_what_cannot_be_trained_is_said_before_the_first_step(home: Path, words: list[str], said: str) -> None:
    done = run("name=bad", *words, home=home)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# -- pieces --------------------------------------------------------------------------------------------------------------------


def options_of(**settings: Any) -> TrainingOptions:
    return TrainingOptions.model_validate({"samples": {"personas": ("bundled",)}, **settings})


@pytest.mark.parametrize(
    ("batch", "rows", "processes", "facts", "accumulation", "targets"),
    [
        (32, 1, 1, (320, 320), 32, 32),
        (32, 4, 2, (320, 320), 4, 32),
        (32, 1, 1, (400, 100), 8, 32),
        (32, 1, 8, (400, 100), 1, 32),
        (8, 1, 8, (400, 100), 1, 32),
    ],
)
def test_steps_come_near_to_the_batch(
    batch: int, rows: int, processes: int, facts: tuple[int, int], accumulation: int, targets: float
) -> None:
    made = RowFacts(targets=facts[0], held_out=0, rows=facts[1], expanded_tokens=1, laid_tokens=1, longest=1)
    assert step_size(options_of(batch=batch, rows=rows), made, processes) == (accumulation, targets)


def test_a_batch_that_cannot_be_met_names_one_that_can() -> None:
    made = RowFacts(targets=320, held_out=0, rows=320, expanded_tokens=1, laid_tokens=1, longest=1)
    with pytest.raises(InputError, match="batch=30 is no multiple of 8.*take 32"):
        step_size(options_of(batch=30, rows=4), made, 2)


def test_a_checkpoint_that_was_cut_short_is_not_gone_on_from(tmp_path: Path) -> None:
    for number, whole in ((2, True), (10, True), (12, False)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{number}"
        folder.mkdir(parents=True)
        if whole:
            (folder / "complete").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "checkpoint-10"
    delete_incomplete(tmp_path)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["checkpoint-10", "checkpoint-2"]
    delete_old(tmp_path, 1)
    assert complete_checkpoints(tmp_path) == [tmp_path / "checkpoints" / "checkpoint-10"]


def test_the_smallest_shared_tree_is_cut_from_its_row() -> None:
    spans = [[0, 5, 0, 0], [5, 8, 0, 3], [8, 12, 8, 8], [12, 13, 8, 10]]
    columns = {name: [*range(13)] for name in ("input_ids", "labels", "position_ids")}
    assert smallest_shared([{**columns, "spans": spans}]) == {
        **dict.fromkeys(columns, [8, 9, 10, 11, 12]),
        "spans": [[0, 4, 0, 0], [4, 5, 0, 2]],
    }
    assert smallest_shared([{**columns, "spans": spans[:1]}]) is None


def test_a_full_disk_leaves_the_last_good_checkpoint_and_names_it(home: Path) -> None:
    """The second checkpoint finds the disk full: at the seam, torch.save of the optimiser fails as it would."""
    script = (
        "import sys, torch\n"
        "from pipelines.sft.__main__ import main\n"
        "kept, count = torch.save, []\n"
        "def save(value, path, *words, **named):\n"
        "    count.append('optimizer' in str(path))\n"
        "    if sum(count) == 2: raise OSError(28, 'No space left on device')\n"
        "    return kept(value, path, *words, **named)\n"
        "torch.save = save\n"
        f"sys.exit(main({json.dumps([*small(home), 'name=full'])}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=_environment(home), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2, done.stderr
    assert "there is no room left to save" in done.stderr
    assert "checkpoints/checkpoint-2'" in done.stderr
    assert [path.name for path in (home / "runs" / "full" / "checkpoints").iterdir()] == ["checkpoint-2"]
    assert read_status("full").state == "failed"
