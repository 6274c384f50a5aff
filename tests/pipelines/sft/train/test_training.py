"""pipelines/sft/train/training.py: complete runs in both layouts, with adapters, killed and resumed, in two processes."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from her.files.atomic import file_hash
from her.runs.folder import read_metrics, read_status
from her.runs.open_run import open_run
from pipelines.sft.options import TrainingOptions
from tests.pipelines.sft.training_runs import (
    ROOT,
    TWO_PROCESSES,
    environment,
    evaluated,
    losses,
    small_settings,
    train,
    train_apart,
)

pytestmark = pytest.mark.whole


def test_a_run_leaves_a_model_that_opens_and_a_record_of_itself(home: Path) -> None:
    run = train("name=first", "model.shape.pretraining_steps=4", home=home)
    assert run.returncode == 0, run.stderr
    folder = home / "runs" / "first"
    assert read_status("first").state == "done"
    assert {"config.json", "model.safetensors", "chat_template.jinja", "generation_config.json"} <= {
        path.name for path in (folder / "model").iterdir()
    }
    assert sorted(losses("first")) == [1, 2, 3, 4]
    lines = [line["text_pretraining"] for line in read_metrics("first") if "text_pretraining" in line]
    pretraining = [line["loss"] for line in lines if "loss" in line]
    assert len(pretraining) == 4
    assert pretraining[-1] < pretraining[0]
    assert losses("first")[1] < pretraining[0], "fine-tuning starts from the pretrained model"
    assert any("eval_loss" in line for line in read_metrics("first"))
    assert any(line.get("sampled") == 2 for line in read_metrics("first"))
    assert "shared prefixes agree with expanded rows" in (folder / "log.txt").read_text("utf-8")
    again = train("name=first", "model.shape.pretraining_steps=4", "steps=5", home=home)
    assert (again.returncode, "other settings" in again.stderr) == (2, True)


def test_both_layouts_learn_the_same(home: Path) -> None:
    """All targets in one step: the first loss is over the same tokens, the second and the evaluation over the same weights."""
    words = ["steps=2", "batch=100000", "samples.held_out_share=0.4", "evaluation.turns=0", "log_every=1", "rows=1"]
    # Only packed rows may miss `batch`, which here is more than there is.
    for layout, packing in (("shared_prefix", "false"), ("plain", "true")):
        run = train(f"name={layout}", f"layout={layout}", f"packing={packing}", *words, home=home)
        assert run.returncode == 0, run.stderr
    shared, plain = losses("shared_prefix"), losses("plain")
    assert shared[1] == pytest.approx(plain[1], rel=1e-5)
    assert shared[2] == pytest.approx(plain[2], rel=1e-4)
    assert evaluated("shared_prefix") == pytest.approx(evaluated("plain"), rel=1e-4)


def test_adapters_are_trained_merged_and_saved_beside(home: Path) -> None:
    assert train("name=base", home=home).returncode == 0
    model = home / "runs" / "base" / "model"
    run = train_apart("name=lora", f"model.base={model}", "lora.rank=4", "checkpointing=light", "track=trackio", home=home)
    assert run.returncode == 0, run.stderr
    assert (home / "runs" / "lora" / "adapter" / "adapter_model.safetensors").is_file()
    saved = next(line for line in read_metrics("lora") if line.get("saved"))
    assert saved["difference"] < 1e-4
    (model / "config.json").write_text((model / "config.json").read_text("utf-8") + "\n", "utf-8")
    again = train("name=lora", f"model.base={model}", "lora.rank=4", "checkpointing=light", home=home)
    assert (again.returncode, "was started with another 'config.json'" in again.stderr) == (2, True)


def test_a_killed_run_resumes_with_the_same_losses(home: Path) -> None:
    words = ("steps=6", "log_every=3", "save_every=2")  # a checkpoint falls between the steps of one logged mean
    assert train("name=whole", *words, home=home).returncode == 0
    command = [sys.executable, "-m", "pipelines.sft", *small_settings(home), "name=killed", *words]
    with subprocess.Popen(command, cwd=ROOT, env=environment(home), stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("step 4 of 6"):
                child.send_signal(signal.SIGKILL)
                break
    assert read_status("killed").state == "killed"
    again = train("name=killed", *words, home=home)
    assert again.returncode == 0, again.stderr
    assert "resumes from checkpoint-" in again.stderr
    assert losses("killed") == pytest.approx(losses("whole"), abs=1e-4)


def test_a_run_with_all_its_steps_does_no_further_one(home: Path) -> None:
    """As after a kill while the model was saved, in the middle of an epoch."""
    words = ("name=late", "steps=3", "evaluation.turns=0", "schedule=constant")
    assert train(*words, home=home).returncode == 0
    model = home / "runs" / "late" / "model" / "model.safetensors"
    first = file_hash(model)
    model.unlink()
    again = train(*words, home=home)
    assert again.returncode == 0, again.stderr
    assert sorted(losses("late")) == [1, 2, 3]
    assert file_hash(model) == first


def test_a_diverging_run_ends_before_its_step_is_saved(home: Path) -> None:
    run = train("name=diverging", "learning_rate=1e36", "steps=40", "save_every=40", home=home)
    assert run.returncode == 2, run.stderr
    assert "the training diverged" in run.stderr
    assert not [*(home / "runs" / "diverging").glob("checkpoints/*")]


def test_two_processes_train_together(home: Path) -> None:
    run = train_apart("name=two", home=home, launch=TWO_PROCESSES)
    assert run.returncode == 0, run.stderr[-3000:]
    assert read_status("two").state == "done"
    assert sorted(losses("two")) == [1, 2, 3, 4]
    assert (home / "runs" / "two" / "model" / "model.safetensors").is_file()
    words = ("layout=plain", "evaluation.turns=0", "steps=2")
    assert train_apart("name=plain-two", *words, home=home, launch=TWO_PROCESSES).returncode == 0
    assert train("name=plain-one", *words, home=home).returncode == 0
    assert losses("plain-two") == pytest.approx(losses("plain-one"), rel=1e-5), "a step is over the same targets"
    alone = train("name=two", home=home)
    assert (alone.returncode, "by a launch as MULTI_CPU 2 and this one is NO 1" in alone.stderr) == (2, True), alone.stderr


def test_a_second_process_on_a_run_is_refused(home: Path) -> None:
    options = TrainingOptions.model_validate({"name": "held", "samples": {"personas": ("bundled",)}})
    with open_run("sft", "held", options):
        run = train_apart("name=held", home=home)
    assert run.returncode == 2
    assert "another process works on run 'held'" in run.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["device=cuda"], "GPU"),
        (["samples.most_tokens=400", "row_tokens=400"], "the limit is 400"),
        (["model.base=nowhere/there"], "nowhere/there"),
        (['samples.files=["/nowhere.parquet"]'], "/nowhere.parquet"),
    ],
    ids=["no GPU", "samples too long", "no such model", "no such file"],
)
def test_a_run_that_cannot_train_ends_before_its_first_step(home: Path, words: list[str], message: str) -> None:
    run = train("name=bad", *words, home=home)
    assert run.returncode == 2, run.stderr
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_a_full_disk_leaves_the_last_good_checkpoint_and_names_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second checkpoint finds the disk full: torch.save of the optimiser fails as it would then."""
    import torch

    original, count = torch.save, [0]

    def save(value: Any, path: Any, *words: Any, **named: Any) -> Any:
        count[0] += "optimizer" in str(path)
        if count[0] == 2:
            raise OSError(28, "No space left on device")
        return original(value, path, *words, **named)

    monkeypatch.setattr(torch, "save", save)
    run = train("name=full", home=home)
    assert run.returncode == 2, run.stderr
    assert "there is no room left to save" in run.stderr
    assert "checkpoints/checkpoint-2'" in run.stderr
    assert [path.name for path in (home / "runs" / "full" / "checkpoints").iterdir()] == ["checkpoint-2"]
    assert read_status("full").state == "failed"
