"""her/deploy/vllm_command.py and `her serve`: the command for a checkpoint on a machine, and every reason why there is none."""

import os
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from her.capacity.machine import GIB, InstalledGpu, Machine
from her.cli import app
from her.deploy import checkpoints
from her.deploy import vllm_command as serving
from her.deploy.vllm_command import ServerOptions
from her.errors import InputError
from tests.checkpoint_folders import checkpoint

H200 = Machine(
    cores=16,
    memory=128 * GIB,
    free=100 * GIB,
    gpus=(InstalledGpu(name="H200", memory=139 * GIB, free=139 * GIB, capability=9.0),),
)
T4 = Machine(
    cores=4, memory=16 * GIB, free=12 * GIB, gpus=(InstalledGpu(name="T4", memory=15 * GIB, free=15 * GIB, capability=7.5),)
)
LAPTOP = Machine(cores=2, memory=24 * GIB, free=20 * GIB)
CACHE = 2 * 28 * 8 * 128 * 2


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "ann")


def option(plan: serving.ServerCommand, name: str) -> str:
    return plan.words[plan.words.index(name) + 1]


def test_the_whole_command(ann: Path) -> None:
    plan = serving.plan(str(ann), ServerOptions(), machine=H200, python="python3")
    assert str(plan) == (
        "env VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 "
        f"python3 -m vllm.entrypoints.openai.api_server --model {ann} --served-model-name ann "
        "--dtype bfloat16 --max-model-len 40960 --host 127.0.0.1 --port 8000 "
        f"--reasoning-parser-plugin {serving.PLUGIN} --reasoning-parser her "
        "--structured-outputs-config.enable_in_reasoning True"
    )
    assert (plan.spec, plan.notes) == ("openai:http://127.0.0.1:8000/v1#ann", ())
    assert serving.PLUGIN.is_file()


def test_what_is_printed_can_be_pasted(tmp_path: Path) -> None:
    plan = serving.plan(str(checkpoint(tmp_path / "my 'ann'")), ServerOptions(), machine=H200)
    assert tuple(shlex.split(str(plan))) == plan.words


@pytest.mark.parametrize(
    ("machine", "stored", "computed"),
    [
        (H200, "bfloat16", "bfloat16"),
        (H200, "float32", "bfloat16"),
        (H200, "float16", "float16"),
        (T4, "bfloat16", "float16"),
        (LAPTOP, "bfloat16", "bfloat16"),
        (LAPTOP, "float32", "float32"),
        (LAPTOP, "float16", "bfloat16"),
    ],
)
def test_the_number_format_is_one_the_machine_has(tmp_path: Path, machine: Machine, stored: str, computed: str) -> None:
    plan = serving.plan(str(checkpoint(tmp_path / "ann", dtype=stored)), ServerOptions(), machine=machine)
    assert option(plan, "--dtype") == computed


def test_a_cpu_is_told_how_much_cache_to_take(ann: Path) -> None:
    words = serving.plan(str(ann), ServerOptions(context=4096), machine=LAPTOP).words
    assert f"VLLM_CPU_KVCACHE_SPACE={-(-8 * CACHE * 4096 // GIB)}" in words
    assert not [word for word in serving.plan(str(ann), ServerOptions(), machine=H200).words if "KVCACHE" in word]


def test_the_context_is_what_there_is_room_for(ann: Path) -> None:
    small = Machine(free=3 * GIB)
    fits = GIB // CACHE // 256 * 256
    plan = serving.plan(str(ann), ServerOptions(), machine=small)
    assert option(plan, "--max-model-len") == str(fits)
    assert plan.notes == (f"this machine has room for {fits} of the 40960 tokens that the checkpoint takes",)
    assert option(serving.plan(str(ann), ServerOptions(context=2048), machine=small), "--max-model-len") == "2048"


@pytest.mark.parametrize(
    ("machine", "context", "sentence"),
    [
        (H200, 50_000, "'ann' was made for 40960 tokens; give --context 40960 or less"),
        (Machine(free=3 * GIB), 20_000, r"has room for \d+ tokens of 'ann', not 20000; give --context \d+"),
        (Machine(free=2 * GIB), 0, "this machine has no room for them and a chat of 1024 tokens; serve it where"),
        (Machine(gpus=(InstalledGpu(name="GT 710", memory=GIB, free=GIB),)), 0, "GT 710 has no room"),
    ],
)
def test_a_context_without_room_is_refused(ann: Path, machine: Machine, context: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        serving.plan(str(ann), ServerOptions(context=context), machine=machine)


def test_a_cache_is_counted_as_it_is_served_not_as_it_is_stored(tmp_path: Path) -> None:
    """float32 on disk is bfloat16 on a GPU, cache and all."""
    rooms = []
    for stored in ("bfloat16", "float32"):
        made = checkpoints.read_folder(checkpoint(tmp_path / stored, dtype=stored))
        same = made.model_copy(update={"size": 2 * GIB if stored == "bfloat16" else 4 * GIB})
        card = H200.gpus[0].model_copy(update={"memory": 6 * GIB})
        rooms.append(serving._context(same, ServerOptions(), H200.model_copy(update={"gpus": (card,)}), 1)[0])
    assert rooms[0] == rooms[1] < 40960


def test_cards_share_what_one_of_them_does_not_hold(ann: Path) -> None:
    """30 GiB of weights: not on one card of 24 GiB, on two of them with 16 heads, on three never."""
    made = checkpoints.read_folder(ann).model_copy(update={"size": 30 * GIB, "dtype": "bfloat16"})
    card = InstalledGpu(name="L4", memory=24 * GIB, free=24 * GIB, capability=8.9)
    machines = [H200.model_copy(update={"gpus": (card,) * count}) for count in (1, 3, 4)]
    assert [serving._cards(made, ServerOptions(), machine) for machine in machines] == [1, 2, 2]
    assert [serving._cards(made.model_copy(update={"heads": 3}), ServerOptions(), machine) for machine in machines] == [1, 3, 3]
    unknown = H200.model_copy(update={"gpus": (InstalledGpu(name="GB10", memory=0, free=0),)})
    assert serving._context(made, ServerOptions(), unknown, 1) == (40960, [])
    words = serving.plan(str(ann), ServerOptions(), machine=H200).words
    assert "--tensor-parallel-size" not in words


def test_what_is_only_shown_is_told_that_there_is_no_room(ann: Path) -> None:
    plan = serving.plan(str(ann), ServerOptions(elsewhere=True), machine=Machine(free=2 * GIB))
    assert option(plan, "--max-model-len") == "40960"
    assert "has no room for them" in plan.notes[0]


def test_a_repository_is_left_to_vllm() -> None:
    plan = serving.plan("owner/ann#abc", ServerOptions(port=9001), machine=H200, python="p")
    assert "HF_HUB_OFFLINE=1" not in plan.words
    assert (option(plan, "--model"), option(plan, "--revision"), option(plan, "--dtype")) == ("owner/ann", "abc", "auto")
    assert "--max-model-len" not in plan.words
    assert plan.spec == "openai:http://127.0.0.1:9001/v1#ann"
    assert option(serving.plan("owner/ann", ServerOptions(context=4096)), "--max-model-len") == "4096"


@pytest.mark.parametrize(
    "name",
    ["ann", "./ann", "a/b/c", "/nowhere", "owner/", "~nobody-of-that-name", "owner/--ann", "owner/ann; rm", "owner/ann#-x"],
)
def test_what_is_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is neither a folder, nor a run"):
        serving.plan(name, ServerOptions())


def test_other_machines_are_let_in_with_a_warning(ann: Path) -> None:
    plan = serving.plan(str(ann), ServerOptions(host="0.0.0.0"), machine=H200)
    assert plan.spec.startswith("openai:http://127.0.0.1:8000")
    assert "without a key" in plan.notes[0]
    assert serving.plan(str(ann), ServerOptions(host="::1"), machine=H200).spec.startswith("openai:http://[::1]:8000")


# The command line


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[serving.ServerCommand]:
    """A machine with a GPU and vLLM; what would have been run."""
    ran: list[serving.ServerCommand] = []
    monkeypatch.setattr("her.capacity.machine.probe_machine", lambda _: H200)
    monkeypatch.setattr(serving, "installed", lambda: "vllm 0.31.0")
    monkeypatch.setattr(serving, "run", ran.append)
    return ran


def test_serve_runs_what_it_prints(here: list[serving.ServerCommand], ann: Path) -> None:
    printed = CliRunner().invoke(app, ["serve", str(ann), "--port", "9001", "--print"])
    assert (printed.exit_code, here) == (0, [])
    said = CliRunner().invoke(app, ["serve", str(ann), "--port", "9001"])
    assert said.exit_code == 0
    assert [str(plan) for plan in here] == [printed.stdout.strip()]
    assert "her play --backend 'openai:http://127.0.0.1:9001/v1#ann'" in said.stderr


def test_a_dry_run_tells_and_starts_nothing(here: list[serving.ServerCommand], ann: Path) -> None:
    said = CliRunner().invoke(app, ["serve", str(ann), "--dry-run"])
    assert (said.exit_code, here) == (0, [])
    assert said.stdout.startswith(
        "ann: Qwen3ForCausalLM, 0.0 million weights in bfloat16, 0.00 GiB, context 40960, licence apache"
    )


def test_without_vllm_the_other_way_is_offered(
    here: list[serving.ServerCommand], ann: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "installed", lambda: "")
    said = CliRunner().invoke(app, ["serve", str(ann)])
    assert (said.exit_code, here) == (2, [])
    assert "pip install -e '.[vllm]'" in said.stderr
    assert f"her play --backend local:{ann}" in said.stderr
    assert CliRunner().invoke(app, ["serve", str(ann), "--print"]).exit_code == 0, "for another machine"


def test_the_server_takes_the_place_of_the_program(ann: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(os, "execvp", lambda file, words: became.append((file, words)))
    plan = serving.plan(str(ann), ServerOptions())
    serving.run(plan)
    assert became == [("env", plan.words)]


def test_whether_vllm_is_here_is_known_without_importing_it() -> None:
    assert serving.installed() == "" or serving.installed().startswith("vllm")
