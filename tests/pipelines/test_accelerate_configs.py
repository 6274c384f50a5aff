"""pipelines/configs/accelerate/*.yaml, each through accelerate's own loader and launcher, up to what its processes would see."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.whole

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "configs" / "accelerate"
FILES = sorted(FOLDER.glob("*.yaml"))


def validated(path: Path, *words: str) -> argparse.Namespace:
    """Return what `accelerate launch --config_file PATH WORDS` would start. ValueError for a key that it does not know."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    parser = launch_command_parser()
    arguments = parser.parse_args(["--config_file", str(path), *words, "-m", "pipelines.sft", "@x.toml"])
    known = set(vars(arguments))
    loaded = yaml.safe_load(path.read_text("utf-8"))
    for table in ("fsdp_config", "deepspeed_config"):
        if unknown := set(loaded.get(table, {})) - known:
            raise ValueError(f"unknown keys in {table}: {sorted(unknown)}")
    checked: argparse.Namespace = _validate_launch_command(arguments)[0]
    assert (checked.module, checked.training_script, checked.training_script_args) == (True, "pipelines.sft", ["@x.toml"])
    return checked


def test_there_is_one_for_every_shape() -> None:
    assert [path.stem for path in FILES] == ["cpu2", "fsdp2_node", "fsdp2_nodes", "one_gpu", "zero3"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_loads_it(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    loaded = load_config_from_file(str(path))
    kinds = {"cpu2": "MULTI_GPU", "one_gpu": "NO", "zero3": "DEEPSPEED"}
    assert loaded.distributed_type == kinds.get(path.stem, "FSDP")
    assert loaded.mixed_precision == ("no" if path.stem == "cpu2" else "bf16")
    assert loaded.use_cpu == (path.stem == "cpu2")
    assert loaded.num_processes == {"cpu2": 2, "one_gpu": 1, "fsdp2_nodes": 16}.get(path.stem, 8)
    assert loaded.num_machines == (2 if path.stem == "fsdp2_nodes" else 1)
    validated(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [("mixed_precision:", "mixed_precisoin: x\nmixed_precision:"), ("fsdp_version", "fsdp_verison")],
)
def test_a_key_that_accelerate_does_not_know_is_seen(tmp_path: Path, old: str, new: str) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((FOLDER / "fsdp2_node.yaml").read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(ValueError, match="unknown keys"):
        validated(wrong)


@pytest.mark.parametrize(
    ("file", "words", "nodes", "each"),
    [
        ("fsdp2_node", (), 1, 8),
        ("fsdp2_node", ("--num_processes", "4"), 1, 4),
        ("fsdp2_nodes", ("--machine_rank", "1", "--main_process_ip", "10.0.0.1", "--same_network"), 2, 8),
    ],
)
def test_the_processes_of_fsdp2_see_this(file: str, words: tuple[str, ...], nodes: int, each: int) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin, patch_environment
    from accelerate.utils.launch import prepare_multi_gpu_env

    arguments = validated(FOLDER / f"{file}.yaml", *words)
    environment = prepare_multi_gpu_env(arguments)
    assert int(arguments.nproc_per_node) == each
    if nodes > 1:
        assert (arguments.nnodes, arguments.node_rank, arguments.master_addr) == (str(nodes), 1, "10.0.0.1")
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"
    with patch_environment(**environment):
        plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert plugin.state_dict_type.name == "SHARDED_STATE_DICT"
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert plugin.transformer_cls_names_to_wrap is None, "the model names its own layers"
    assert plugin.cpu_ram_efficient_loading
    assert not plugin.activation_checkpointing, "the settings of the run decide"


def test_the_processes_of_zero3_see_this() -> None:
    from accelerate.utils import DeepSpeedPlugin, patch_environment
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    words = ("--num_machines", "2", "--num_processes", "16", "--machine_rank", "1", "--main_process_ip", "10.0.0.1")
    arguments = validated(FOLDER / "zero3.yaml", *words, "--same_network")
    arguments.deepspeed_fields_from_accelerate_config = "mixed_precision"  # filled in by accelerate between these two steps
    command, environment = prepare_deepspeed_cmd_env(arguments)
    assert command is None, "torchrun starts them, no ssh"
    assert (arguments.nnodes, arguments.node_rank, arguments.nproc_per_node) == ("2", 1, "8")
    with patch_environment(**environment):
        plugin = DeepSpeedPlugin()
    zero: dict[str, Any] = plugin.deepspeed_config["zero_optimization"]
    assert (zero["stage"], zero["stage3_gather_16bit_weights_on_model_save"]) == (3, True)
    assert plugin.zero3_init_flag
    assert plugin.deepspeed_config["gradient_clipping"] == plugin.deepspeed_config["gradient_accumulation_steps"] == "auto"


def test_one_gpu_is_one_process() -> None:
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    arguments = validated(FOLDER / "one_gpu.yaml")
    assert not (arguments.multi_gpu or arguments.use_fsdp or arguments.use_deepspeed)
    command, environment = prepare_simple_launcher_cmd_env(arguments)
    assert command[1:] == ["-m", "pipelines.sft", "@x.toml"]
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_two_processes_talk_on_cpus(tmp_path: Path) -> None:
    """Started for real: transformers sees two processes, which add up a number by gloo."""
    script = tmp_path / "two.py"
    script.write_text(
        "import pathlib, torch\nfrom transformers import TrainingArguments\n"
        f"here = TrainingArguments({str(tmp_path / 'out')!r}, use_cpu=True, bf16=False, report_to=[])\n"
        "one = torch.ones(1, device=here.device)\ntorch.distributed.all_reduce(one)\n"
        "seen = f'{here.world_size} {torch.distributed.get_backend()} {int(one)}'\n"
        f"pathlib.Path({str(tmp_path)!r}, f'seen-{{here.process_index}}').write_text(seen)\n"
        "torch.distributed.destroy_process_group()\n"
    )
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(FOLDER / "cpu2.yaml"), str(script)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    assert [(tmp_path / f"seen-{rank}").read_text() for rank in (0, 1)] == ["2 gloo 2"] * 2
