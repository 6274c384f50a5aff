"""her/deploy/vllm_command.py and `her serve`: the command for a checkpoint, and every reason for refusing one."""

import os
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from her.capacity.machine import GIB, Machine
from her.cli import app
from her.deploy import vllm_command as vllm
from her.deploy.vllm_command import ServerOptions
from her.errors import InputError
from tests.checkpoint_folders import checkpoint
from tests.deploy.test_vllm_fit import H200


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "ann")


def option(command: vllm.ServerCommand, name: str) -> str:
    return command.words[command.words.index(name) + 1]


def test_the_whole_command(ann: Path) -> None:
    command = vllm.build_command(str(ann), ServerOptions(), machine=H200, python="python3")
    assert str(command) == (
        "env VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 "
        f"python3 -m vllm.entrypoints.openai.api_server --model {ann} --served-model-name ann "
        "--dtype bfloat16 --max-model-len 40960 --host 127.0.0.1 --port 8000 "
        f"--reasoning-parser-plugin {vllm.PLUGIN} --reasoning-parser her "
        "--structured-outputs-config.enable_in_reasoning True"
    )
    assert (command.spec, command.notes) == ("openai:http://127.0.0.1:8000/v1#ann", ())
    assert vllm.PLUGIN.is_file()


def test_what_is_printed_can_be_pasted(tmp_path: Path) -> None:
    command = vllm.build_command(str(checkpoint(tmp_path / "my 'ann'")), ServerOptions(), machine=H200)
    assert tuple(shlex.split(str(command))) == command.words


def test_a_printed_command_has_a_note_when_there_is_no_room(ann: Path) -> None:
    command = vllm.build_command(str(ann), ServerOptions(elsewhere=True), machine=Machine(free=2 * GIB))
    assert option(command, "--max-model-len") == "40960"
    assert "has no room for them" in command.notes[0]


def test_a_repository_is_left_to_vllm() -> None:
    command = vllm.build_command("owner/ann#abc", ServerOptions(port=9001), machine=H200, python="p")
    assert "HF_HUB_OFFLINE=1" not in command.words
    assert (option(command, "--model"), option(command, "--revision"), option(command, "--dtype")) == ("owner/ann", "abc", "auto")
    assert "--max-model-len" not in command.words
    assert command.spec == "openai:http://127.0.0.1:9001/v1#ann"
    assert option(vllm.build_command("owner/ann", ServerOptions(context=4096)), "--max-model-len") == "4096"


@pytest.mark.parametrize(
    "name",
    ["ann", "./ann", "a/b/c", "/nowhere", "owner/", "~nobody-of-that-name", "owner/--ann", "owner/ann; rm", "owner/ann#-x"],
)
def test_a_name_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is neither a folder, nor a run"):
        vllm.build_command(name, ServerOptions())


def test_an_address_for_other_machines_has_a_warning(ann: Path) -> None:
    command = vllm.build_command(str(ann), ServerOptions(host="0.0.0.0"), machine=H200)
    assert command.spec.startswith("openai:http://127.0.0.1:8000")
    assert "without a key" in command.notes[0]
    assert vllm.build_command(str(ann), ServerOptions(host="::1"), machine=H200).spec.startswith("openai:http://[::1]:8000")


# The command line


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[vllm.ServerCommand]:
    """Commands that were run, on a machine with a GPU and vLLM."""
    ran: list[vllm.ServerCommand] = []
    monkeypatch.setattr("her.capacity.machine.probe_machine", lambda _: H200)
    monkeypatch.setattr(vllm, "installed_vllm", lambda: "vllm 0.31.0")
    monkeypatch.setattr(vllm, "run_server", ran.append)
    return ran


def test_serve_runs_what_it_prints(here: list[vllm.ServerCommand], ann: Path) -> None:
    printed = CliRunner().invoke(app, ["serve", str(ann), "--port", "9001", "--print"])
    assert (printed.exit_code, here) == (0, [])
    answer = CliRunner().invoke(app, ["serve", str(ann), "--port", "9001"])
    assert answer.exit_code == 0
    assert [str(command) for command in here] == [printed.stdout.strip()]
    assert "her play --backend 'openai:http://127.0.0.1:9001/v1#ann'" in answer.stderr


def test_a_dry_run_describes_and_starts_nothing(here: list[vllm.ServerCommand], ann: Path) -> None:
    answer = CliRunner().invoke(app, ["serve", str(ann), "--dry-run"])
    assert (answer.exit_code, here) == (0, [])
    assert answer.stdout.startswith(
        "ann: Qwen3ForCausalLM, 0.0 million weights in bfloat16, 0.00 GiB, context 40960, licence apache"
    )


def test_without_vllm_the_other_way_is_offered(
    here: list[vllm.ServerCommand], ann: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "installed_vllm", lambda: "")
    answer = CliRunner().invoke(app, ["serve", str(ann)])
    assert (answer.exit_code, here) == (2, [])
    assert "pip install -e '.[vllm]'" in answer.stderr
    assert f"her play --backend local:{ann}" in answer.stderr
    assert CliRunner().invoke(app, ["serve", str(ann), "--print"]).exit_code == 0, "for another machine"


def test_the_server_takes_the_place_of_the_program(ann: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(os, "execvp", lambda file, words: became.append((file, words)))
    command = vllm.build_command(str(ann), ServerOptions())
    vllm.run_server(command)
    assert became == [("env", command.words)]


def test_whether_vllm_is_here_is_known_without_importing_it() -> None:
    assert vllm.installed_vllm() == "" or vllm.installed_vllm().startswith("vllm")
