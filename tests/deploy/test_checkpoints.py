"""her/deploy/checkpoints.py: what a checkpoint folder holds, and one sentence for everything missing or damaged in it."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from her import paths
from her.deploy import checkpoints
from her.errors import InputError
from tests.checkpoint_folders import checkpoint, weights


def test_a_complete_checkpoint_is_read(tmp_path: Path) -> None:
    read = checkpoints.read_checkpoint(str(checkpoint(tmp_path / "ann")))
    assert (read.name, read.architecture, read.dtype) == ("ann", "Qwen3ForCausalLM", "bfloat16")
    assert (read.weights, read.size, read.context, read.ends) == (6, 12, 40960, (7, 8))
    assert read.cache == 2 * 28 * 8 * 128 * 2, "keys and values of every layer, two bytes each"
    assert (read.licence, read.base) == ("apache-2.0", "Qwen/Qwen3-0.6B")


def test_a_run_is_named_by_its_name(tmp_path: Path) -> None:
    folder = checkpoint(paths.home() / "runs" / "ann-4" / "model")
    read = checkpoints.read_checkpoint("ann-4")
    assert (read.name, read.folder) == ("ann-4", folder)


def test_a_run_without_a_model_says_so() -> None:
    (paths.home() / "runs" / "ann-5").mkdir(parents=True)
    with pytest.raises(InputError, match=r"run 'ann-5' has no model yet \('.*model' is missing\); resume it"):
        checkpoints.read_checkpoint("ann-5")


def test_a_run_with_a_model_for_each_camp_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HER_HOME", str(tmp_path))
    for camp in ("camp-2", "camp-1"):
        (tmp_path / "runs" / "two" / camp / "model").mkdir(parents=True)
    with pytest.raises(InputError, match="a model for each camp of raters; give one of .*camp-1/model, .*camp-2/model"):
        checkpoints.find_folder("two")


@pytest.mark.parametrize("name", ["nobody", "./nobody", "owner/name", "../up", ""])
def test_a_name_that_is_neither_folder_nor_run_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name:
        with pytest.raises(InputError, match="neither a folder nor a run"):
            checkpoints.read_checkpoint(name)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def half_sharded(folder: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")


def endless(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": None}), "utf-8")


def cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(weights()[:-1])


def headless(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"GGUF and so on")


def garbled(folder: Path) -> None:
    (folder / "config.json").write_text("{", "utf-8")


def bad_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: [\n---\n", "utf-8")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without("config.json"), "config.json is missing, which says what model it is"),
        (without("model.safetensors"), r"the weights are missing \(model.safetensors\)"),
        (without("tokenizer.json"), r"the tokenizer is missing \(tokenizer.json\); save it beside"),
        (without("chat_template.jinja"), r"the chat template is missing \(chat_template.jinja\); a base model has none"),
        (pickled, r"its weights are pickles \(pytorch_model.bin\), which can run code"),
        (half_sharded, "1 of 2 weight files are missing, such as model-2.safetensors; copy the whole folder"),
        (endless, "no token is named that ends a reply"),
        (cut, r"model.safetensors' is truncated \(\d+ of \d+ bytes\); copy it again"),
        (headless, "model.safetensors' is not a safetensors file, or truncated"),
        (garbled, "config.json' cannot be read as JSON"),
        (bad_card, "has front matter that is not valid YAML"),
    ],
)
def test_missing_and_damaged_files_are_named(spoil: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "ann")
    spoil(folder)
    with pytest.raises(InputError, match=sentence):
        checkpoints.read_checkpoint(str(folder))


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    with pytest.raises(InputError, match="config.json is missing.*; the weights are missing.*; the tokenizer is missing"):
        checkpoints.read_checkpoint(str(tmp_path / "ann"))


@pytest.mark.parametrize("named", [[], {}, {"a": 1}, {"a": "../other/model.safetensors"}, {"a": "/etc/passwd"}, {"a": ["x"]}])
def test_an_index_that_names_no_files_beside_it_is_refused(tmp_path: Path, named: object) -> None:
    folder = checkpoint(tmp_path / "ann")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}), "utf-8")
    with pytest.raises(InputError, match="index.json' names no weight files in its own folder"):
        checkpoints.read_checkpoint(str(folder))


def test_a_command_for_an_adapter_is_one_word_to_the_shell(tmp_path: Path) -> None:
    folder = tmp_path / "it's; $(x)"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    with pytest.raises(InputError) as refused:
        checkpoints.read_checkpoint(str(folder))
    *_, code = shlex.split(str(refused.value).partition("merge it first: ")[2].partition(", then copy")[0])
    assert f"from_pretrained({json.dumps(str(folder))})" in code
    compile(code, "merge", "exec")


def test_an_adapter_alone_is_refused_with_the_command_that_merges_it(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Qwen3-0.6B"}', "utf-8")
    (folder / "adapter_model.safetensors").write_bytes(weights())
    with pytest.raises(InputError, match=r"is an adapter of Qwen/Qwen3-0.6B, not a model; merge it first: .*merge_and_unload"):
        checkpoints.read_checkpoint(str(folder))
    checkpoint(tmp_path / "run" / "model")
    with pytest.raises(InputError, match=r"its merged model is beside it: '.*run/model'"):
        checkpoints.read_checkpoint(str(folder))


def test_shards_are_counted_together(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "ann", dtype=None)
    half_sharded(folder)
    (folder / "model-2.safetensors").write_bytes(weights(4, "F32", 4))
    read = checkpoints.read_checkpoint(str(folder))
    assert (read.weights, read.size, read.dtype) == (10, 12 + 16, "bfloat16"), "the format of most weights"


def test_template_and_text_model_may_be_inside_other_files(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "ann", text_config={"max_position_embeddings": 4096, "eos_token_id": 9})
    (folder / "chat_template.jinja").unlink()
    (folder / "generation_config.json").unlink()
    (folder / "README.md").unlink()
    (folder / "LICENSE").write_text("Apache", "utf-8")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}', "utf-8")
    read = checkpoints.read_checkpoint(str(folder))
    assert (read.context, read.ends, read.licence, read.cache) == (4096, (9,), "see LICENSE", 0)
