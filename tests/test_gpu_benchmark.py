"""benchmarks/gpu.py: steps end at their limits, each one's JSON is on disk before the next."""

import json
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_steps
from pipelines.models.prefix_tree import build_row, grow_trees


def test_every_step_writes_its_line_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "gpu.jsonl"
    seen: list[int] = []

    def step(name: str, smoke: bool, seconds: float) -> dict[str, object]:
        seen.append(len(out.read_text().splitlines()) if out.is_file() else 0)
        return {"failed": "it was not done"} if name == "lora" else {"speedup": 3, "seconds": seconds <= gpu_steps.STEPS[name][0]}

    monkeypatch.setattr(gpu, "run_step", step)
    found = gpu.run_steps(["equality", "lora", "sampling"], True, out, 8)
    assert seen == [0, 1, 2] and found["lora"] == {"failed": "it was not done"}
    assert [json.loads(line)["step"] for line in out.read_text().splitlines()] == ["equality", "lora", "sampling"]
    assert gpu.run_steps(["vllm"], True, out, 0) == {"vllm": {"skipped": "0 minutes were over"}}


def test_the_limits_of_all_steps_are_about_eight_minutes() -> None:
    assert sum(seconds for seconds, _ in gpu_steps.STEPS.values()) <= 60 * gpu.MINUTES + 30


def test_bars_need_every_step() -> None:
    layout = {"4 targets": {"speedup": 1.8}, "20 targets": {"speedup": 2.4}}
    found = {"equality": {"loss": 0.0, "gradients": 1e-6}, "layout 4B": layout, "group 4B": {"speedup": 2.6}}
    assert gpu.reached(found)
    assert not gpu.reached({**found, "layout 4B": {"failed": "no"}})
    assert not gpu.reached({**found, "equality": {"loss": 0.0, "gradients": 1e-3}})
    assert not gpu.reached({"equality": found["equality"]})


def test_both_layouts_train_the_same_targets_in_rows_of_one_length() -> None:
    samples = gpu_steps.conversations(4, gpu_steps.SMALL, 600)
    sides = gpu_steps.shared_and_packed(samples, gpu_steps.SMALL.row)
    trained = {side: sum(label != -100 for row in rows for label in row.labels) for side, rows in sides.items()}
    assert trained["shared"] == trained["packed"] == sum(len(sample.target) for sample in samples)
    assert all(len(row.input_ids) <= gpu_steps.SMALL.row for rows in sides.values() for row in rows)
    one = build_row(list(grow_trees(samples[:1], 512)))
    assert gpu_steps.work(gpu_steps.SHAPES["smoke"], [one]) > 0


@pytest.mark.whole
def test_a_step_runs_in_a_process_of_its_own_and_ends_at_its_limit() -> None:
    assert "step_seconds" in gpu.run_step("vllm", True, 120)
    assert gpu.run_step("equality", True, 0.05) == {"failed": "it was not done within 0 s"}


@pytest.mark.whole
def test_equality_and_a_group_on_a_cpu() -> None:
    assert gpu_steps.equality(True) == {"loss": 0.0, "gradients": 0.0}
    assert gpu_steps.group("4B", True)["shared"]["seconds"] > 0
