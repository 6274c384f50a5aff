"""pipelines/sft/train/arguments.py: size of a step, and launches that contradict the settings."""

from types import SimpleNamespace
from typing import Any

import pytest

from her.errors import InputError
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.rows import RowFacts
from pipelines.sft.train.arguments import log_step_size, require_fitting_launch, step_size


def options(**settings: Any) -> TrainingOptions:
    return TrainingOptions.model_validate({"samples": {"personas": ("bundled",)}, **settings})


def facts(targets: int, rows: int) -> RowFacts:
    return RowFacts(targets=targets, held_out=0, rows=rows, expanded_tokens=1, laid_tokens=1, longest=1)


@pytest.mark.parametrize(
    ("batch", "rows", "processes", "counts", "accumulation", "targets"),
    [
        (32, 1, 1, (320, 320), 32, 32),
        (32, 4, 2, (320, 320), 4, 32),
        (32, 1, 1, (400, 100), 8, 32),
        (32, 1, 8, (400, 100), 1, 32),
        (8, 1, 8, (400, 100), 1, 32),
    ],
)
def test_a_step_is_close_to_the_batch(
    batch: int, rows: int, processes: int, counts: tuple[int, int], accumulation: int, targets: float
) -> None:
    assert step_size(options(batch=batch, rows=rows), facts(*counts), processes) == (accumulation, targets)


def test_an_impossible_batch_names_a_possible_one() -> None:
    with pytest.raises(InputError, match="batch=30 is not a multiple of 8.*take 32"):
        step_size(options(batch=30, rows=4), facts(320, 320), 2)


def test_a_step_far_above_the_batch_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    log_step_size(options(batch=32), facts(400, 100), 8)
    assert not caplog.records
    log_step_size(options(batch=8), facts(400, 100), 8)
    assert "a step has 32.0 target turns on average (batch=8); lower row_tokens" in caplog.text


def launch(kind: str = "NO", precision: str = "no") -> Any:
    return SimpleNamespace(mixed_precision=precision, distributed_type=SimpleNamespace(value=kind))


QLORA = {"model": {"precision": "mixed"}, "lora": {"rank": 8, "quantise": "nf4"}, "device": "cuda"}


@pytest.mark.parametrize(
    ("settings", "launched", "message"),
    [
        ({}, launch(precision="bf16"), "computes in 'no' and the launch configuration has mixed_precision: bf16"),
        ({"model": {"precision": "mixed"}}, launch(), "computes in 'bf16' and the launch configuration has mixed_precision: no"),
        (QLORA, launch("FSDP", "bf16"), "must be complete on every GPU; launch with .*one_gpu.yaml"),
        ({"lora": {"rank": 8}, "checkpointing": "light"}, launch("DEEPSPEED"), "take checkpointing=full"),
    ],
)
def test_a_launch_that_contradicts_the_settings_is_refused(settings: dict[str, Any], launched: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_fitting_launch(options(**settings), launched)


@pytest.mark.parametrize(
    ("settings", "launched"),
    [
        ({}, launch()),
        (QLORA, launch("NO", "bf16")),
        ({"model": {"precision": "bfloat16"}}, launch("FSDP", "bf16")),
        ({"lora": {"rank": 8}, "checkpointing": "light"}, launch("FSDP")),
        ({"checkpointing": "light"}, launch("DEEPSPEED")),
    ],
)
def test_a_launch_that_fits_is_accepted(settings: dict[str, Any], launched: Any) -> None:
    require_fitting_launch(options(**settings), launched)
