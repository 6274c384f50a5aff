"""her/deploy/clusters.py and `her launch`: content of the files, quoting of hostile values, and refusals before writing."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from her.cli import app
from her.deploy import clusters
from her.deploy.clusters import ClusterJob
from her.errors import InputError
from her.runs.folder import runs_folder

ROOT = Path(__file__).resolve().parents[2]
SMOKE = "@pipelines/configs/synthesize_smoke.toml"
FILES = 'samples.files=["samples.jsonl"]'


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def her(*words: str) -> Result:
    return CliRunner().invoke(app, ["launch", *words])


def job(target: Any = "slurm", **changes: Any) -> ClusterJob:
    fields = {"pipeline": "sft", "words": (FILES,), "name": "first", "gpu": "H200", **changes}
    return clusters.check_job(target, ClusterJob(**fields))


def started(text: str, target: Any = "slurm") -> list[str]:
    """Return the words after `accelerate launch`, as the shell splits them."""
    script = yaml.safe_load(text)["run"] if target == "skypilot" else text
    command = script[script.index("--config_file") :].partition(" &\nstep=")[0]
    return shlex.split(command.replace(" \\\n", " "))


@pytest.mark.parametrize(
    ("nodes", "gpus", "file", "processes"),
    [(1, 1, "one_gpu", "1"), (1, 4, "fsdp2_node", "4"), (1, 8, "fsdp2_node", "8"), (4, 8, "fsdp2_nodes", "32")],
)
@pytest.mark.parametrize("target", ["slurm", "skypilot"])
def test_nodes_and_gpus_choose_the_configuration(target: str, nodes: int, gpus: int, file: str, processes: str) -> None:
    words = started(clusters.launch_file(target, job(target, nodes=nodes, gpus=gpus), "go"), target)  # type: ignore[arg-type]
    assert words[:2] == ["--config_file", f"pipelines/configs/accelerate/{file}.yaml"]
    assert (ROOT / words[1]).is_file()
    assert words[words.index("--num_machines") + 1] == str(nodes)
    assert words[words.index("--num_processes") + 1] == processes
    assert ("--same_network" in words) == (nodes > 1)
    assert words[words.index("-m") :] == ["-m", "pipelines.sft", FILES, 'name="first"']


def test_a_slurm_file_has_what_slurm_reads() -> None:
    text = clusters.launch_file("slurm", job(nodes=2, hours=36.5, partition="gpu,long", account="lab-7"), "sbatch x")
    directives = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in text.splitlines() if "#SBATCH" in line)
    assert directives == {
        "job-name": "first",
        "output": "first-%j.log",
        "open-mode": "append",
        "partition": "gpu,long",
        "account": "lab-7",
        "nodes": "2",
        "ntasks-per-node": "1",
        "gpus-per-node": "H200:8",
        "cpus-per-task": "64",
        "time": "36:30:00",
        "signal": "B:USR1@300",
        "requeue": "",
        "exclusive": "",
        "mem": "0",
    }
    assert text.startswith("#!/bin/bash\n")
    assert text.index("#SBATCH --requeue") < text.index("set -euo pipefail") < text.index("scontrol show hostnames")
    assert "HF_TOKEN=" not in text
    assert "%%" not in text


def test_a_part_of_a_node_takes_no_whole_one() -> None:
    text = clusters.launch_file("slurm", job(gpus=2, gpu=""), "sbatch x")
    assert "#SBATCH --gpus-per-node=2\n" in text
    assert "--exclusive" not in text
    assert "--partition" not in text


def test_a_skypilot_file_is_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters.metadata, "version", lambda package: "1.2.3+cpu")
    text = clusters.launch_file("skypilot", job("skypilot", nodes=2, hours=1.5, spot=True, accelerate="zero3"), "sky x")
    task = yaml.safe_load(text)
    assert set(task) == {"name", "workdir", "num_nodes", "resources", "envs", "file_mounts", "setup", "run"}
    assert (task["name"], task["num_nodes"], task["workdir"]) == ("first", 2, str(ROOT))
    assert (task["resources"]["accelerators"], task["resources"]["use_spot"]) == ("H200:8", True)
    assert task["envs"] == {"HER_BUCKET": None}, "null: SkyPilot asks for it"
    assert task["file_mounts"]["/her"] == {"source": "${HER_BUCKET}", "mode": "MOUNT_CACHED"}
    assert "torch==1.2.3 transformers==1.2.3" in task["setup"]
    assert "'deepspeed>=" in task["setup"]
    assert "timeout --signal=TERM --kill-after=300 1.5h accelerate launch" in task["run"]
    assert "$SKYPILOT_NODE_IPS" in task["run"]
    assert "$SKYPILOT_NODE_RANK" in task["run"]


HOSTILE = ["$(id)", "`id`", "'; rm -rf /; '", '"', "%%{home}", "$HOME", "a b", "\\", "#", "&& id", "{{x}}", "é漢", "!", "*"]


@pytest.mark.parametrize("target", ["slurm", "skypilot"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_setting_stays_one_word(target: Any, value: str) -> None:
    word = f"model.base={value}"
    text = clusters.launch_file(target, job(target, words=(FILES, word)), "go")
    assert word in started(text, target)


@pytest.mark.whole
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs", "Co", "Cn"]) | st.just(" "), max_size=40))
@settings(max_examples=30)
def test_any_printable_setting_stays_one_word(value: str) -> None:
    word = f"model.base={value}"
    # Without bash, which would be started 60 times: the words are split here, and HOSTILE goes through bash above.
    with patch.object(clusters.shutil, "which", return_value=None):
        for target in ("slurm", "skypilot"):
            checked = ClusterJob(pipeline="sft", words=(word,), name="first", gpu="H200", accelerate="one_gpu")
            text = clusters.launch_file(target, checked, "go")  # type: ignore[arg-type]
            assert word in started(text, target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a b"}, "name 'a b' cannot be a job's"),
        ({"name": "x\n#SBATCH --wrap=id"}, "cannot be a job's"),
        ({"name": "-x"}, "cannot be a job's"),
        ({"name": "x" * 64}, "63 at most"),
        ({"gpu": "H200 --wrap=id"}, "--gpu is 'H200 --wrap=id'"),
        ({"gpu": "H200\n"}, "--gpu is"),
        ({"partition": "$(id)"}, "--partition is"),
        ({"account": "-x"}, "--account is"),
        ({"nodes": 0}, "--nodes is 0; give a number from 1"),
        ({"gpus": 65}, "--gpus is 65"),
        ({"hours": float("nan")}, "--hours is nan"),
        ({"hours": 0.1}, "--hours is 0.1"),
        ({"accelerate": "../x"}, "--accelerate is '../x'; there are cpu2, fsdp2_node"),
        ({"accelerate": "one_gpu", "nodes": 2}, "--accelerate one_gpu starts one process, and this job has"),
        ({"accelerate": "cpu2"}, "cpu2 starts two processes on a CPU"),
        (
            {"gpus": 4, "words": (FILES, "lora.rank=8", "lora.quantise=nf4")},
            "must be complete on one GPU; give --nodes 1 --gpus 1",
        ),
        ({"accelerate": "zero3", "words": (FILES, "lora.rank=8", "checkpointing=light")}, "give checkpointing=full"),
        ({"words": (FILES, "device=cpu")}, "device=cpu in the settings, and the job has GPUs"),
        ({"words": (FILES, "a=b\nc")}, "control character"),
        ({"words": (FILES, "model.base=hf_" + "a" * 30)}, "'model.base' seems to be a secret"),
        ({"words": (FILES, "model.base=https://me:pw@host/x")}, "seems to be a secret"),
        ({"words": (FILES, "learnin_rate=1")}, "no setting 'learnin_rate'; did you mean 'learning_rate'"),
        ({"words": (FILES, "batch=0")}, "'batch' is 0"),
        ({"words": (FILES, "@absent.toml")}, "absent.toml' cannot be read"),
        ({"words": (FILES, "--dry-run")}, "give it to her launch"),
        ({"pipeline": "cook"}, "no pipeline 'cook'"),
        ({"pipeline": "synthesize", "words": (SMOKE,)}, "'synthesize' runs in one process; give --nodes 1 --gpus 1"),
    ],
)
def test_an_impossible_job_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        job(**changes)


def test_skypilot_needs_a_type_of_gpu_and_files_that_are_uploaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the type of GPU"):
        job("skypilot", gpu="")
    for file in (f'samples.files=["{tmp_path}/x.jsonl"]', f"@{tmp_path}/x.toml"):
        (tmp_path / "x.toml").write_text(FILES)
        with pytest.raises(InputError, match="which is what SkyPilot uploads"):
            job("skypilot", words=(file,))
    assert job("skypilot", words=('samples.files=["/her/x.jsonl"]',)).words
    assert job("slurm", words=(f"@{tmp_path}/x.toml",)).words[0] == f"@{tmp_path}/x.toml"


def test_paths_are_relative_to_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "pipelines")
    checked = job(pipeline="synthesize", words=("@configs/synthesize_smoke.toml",), gpus=1)
    assert checked.words[0] == SMOKE
    with pytest.raises(InputError, match="is relative to '.*pipelines', but the job starts in"):
        job(words=(FILES,))


def test_an_invalid_file_is_never_written() -> None:
    with pytest.raises(clusters.HerError, match="not be valid YAML"):
        clusters.check_syntax("skypilot", "a: [")
    if shutil.which("bash"):
        with pytest.raises(clusters.HerError, match="not be a valid shell script"):
            clusters.check_syntax("slurm", "if then '")


@pytest.mark.parametrize(("target", "file"), [("slurm", "x.sbatch"), ("skypilot", "x.sky.yaml")])
def test_the_command_writes_once(target: str, file: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    words = (target, "synthesize", SMOKE, "--gpus", "1", "--gpu", "L4", "--name", "x", "--out", str(folder / file))
    dry = her(*words, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert not list(folder.iterdir())
    wrote = her(*words)
    assert (wrote.exit_code, wrote.stdout.count("\n")) == (0, 1)
    assert f"submit it with: {clusters.submit_command(target, folder / file)}" in wrote.stdout  # type: ignore[arg-type]
    text = (folder / file).read_text("utf-8")
    assert dry.stdout.startswith(text)
    assert "exists already; give --force" in her(*words).stderr
    assert her(*words, "--force").exit_code == 0
    assert started(text, target)[-3:] == ["pipelines.synthesize", SMOKE, 'name="x"']


def test_the_name_is_that_of_the_settings_unless_given() -> None:
    answer = her("slurm", "synthesize", SMOKE, "--gpus", "1", "--dry-run")
    assert "# not written; submit synthesize-smoke.sbatch with: sbatch synthesize-smoke.sbatch" in answer.stdout


def test_a_path_with_a_line_break_is_refused(tmp_path: Path) -> None:
    answer = her("slurm", "synthesize", SMOKE, "--gpus", "1", "--out", f"{tmp_path}/x\nid")
    assert (answer.exit_code, "without control characters" in answer.stderr) == (2, True)


def test_the_scripts_are_read_by_bash() -> None:
    bash = shutil.which("bash")
    assert bash, "bash is needed for this test"
    for target in ("slurm", "skypilot"):
        text = clusters.launch_file(target, job(target, words=(FILES, *(f"model.base={value}" for value in HOSTILE))), "go")  # type: ignore[arg-type]
        scripts = [text] if target == "slurm" else [yaml.safe_load(text)[part] for part in ("setup", "run")]
        for script in scripts:
            subprocess.run([bash, "-n"], input=script, text=True, check=True)


def test_the_file_names_the_home_of_the_runs(home: Path) -> None:
    assert f"export HER_HOME={home}\n" in clusters.launch_file("slurm", job(), "go")
    assert runs_folder() == home / "runs"
