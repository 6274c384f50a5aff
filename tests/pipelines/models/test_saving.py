"""pipelines/models/saving.py: a checkpoint is merged, read back, and appears with all that belongs to it or not at all."""

import json
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from her.backends.local import LocalBackend
from her.errors import HerError, InputError
from her.types import Message
from pipelines.models.atomic_folder import COMPLETE
from pipelines.models.loading import load_tokenizer, lora_config
from pipelines.models.model_card import licence_of
from pipelines.models.options import ModelOptions
from pipelines.models.saving import logits, save
from tests.pipelines.models.adapters import LORA, equal_weights, load_base, with_adapter

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_is_saved_with_all_that_belongs_to_it(base: Path, tokenizer: Any, tmp_path: Path, precision: str) -> None:
    model = load_base(base, tokenizer, precision).train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    saved = save(model, tokenizer, tmp_path / "model", base=str(base), facts={"steps": 3, "samples": {"a.parquet": "1f"}})
    assert (saved.difference, saved.adapter, saved.licence) == (0, None, "mit")
    assert equal_weights(model.state_dict(), before) and model.training
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    names = {path.name for path in saved.folder.iterdir()}
    assert names == {
        "LICENSE",
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((saved.folder / "config.json").read_text())
    assert (config["dtype"], config["architectures"]) == (precision, ["Qwen3ForCausalLM"])
    again = load_base(saved.folder, load_tokenizer(ModelOptions(base=str(saved.folder), template="own")), precision)
    assert equal_weights(again.state_dict(), before)


def test_weights_that_were_trained_with_autocast_are_saved_in_half(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    model = load_base(base, tokenizer, "float32")
    saved = save(model, tokenizer, tmp_path / "model", base=str(base), facts={}, half=True)
    assert json.loads((saved.folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert 0 < saved.difference < 5e-2
    assert (saved.folder / "model.safetensors").stat().st_size < 0.6 * (base / "model.safetensors").stat().st_size


def test_replies_end_where_the_template_says(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    model = load_base(base, tokenizer)
    model.generation_config.eos_token_id = [0]
    saved = save(model, tokenizer, tmp_path / "model", base=str(base), facts={})
    written = json.loads((saved.folder / "generation_config.json").read_text())
    assert written["eos_token_id"] == [tokenizer.eos_token_id, 0]
    assert written["pad_token_id"] == tokenizer.pad_token_id
    assert (written["do_sample"], written["temperature"], written["top_p"]) == (True, 0.7, 0.95)
    assert json.loads((saved.folder / "config.json").read_text())["eos_token_id"] == tokenizer.eos_token_id
    assert model.generation_config.eos_token_id == [0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("gathered", [False, True])
def test_an_adapter_is_merged_and_saved_beside(
    base: Path, tokenizer: Any, tmp_path: Path, precision: str, gathered: bool
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM

    model = with_adapter(load_base(base, tokenizer, precision))
    state = {name: weight.clone() for name, weight in model.state_dict().items()} if gathered else None
    saved = save(model, tokenizer, tmp_path / "model", base=str(base), licence="apache-2.0", facts={}, state=state)
    assert saved.difference < (1e-4 if precision == "float32" else 0.05)
    assert saved.adapter == tmp_path / "adapter"
    config = json.loads((saved.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    alone = AutoPeftModelForCausalLM.from_pretrained(saved.adapter, dtype=getattr(torch, precision))
    ids = tokenizer.encode("Ann: Who is it?")
    assert torch.equal(logits(alone, ids), logits(model, ids))
    assert load_tokenizer(ModelOptions(base=str(saved.folder), template="own")).chat_template == tokenizer.chat_template


def test_untied_embeddings_are_both_saved(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base)
    config.tie_word_embeddings = False
    model = with_adapter(AutoModelForCausalLM.from_config(config, dtype=torch.float32))
    saved = save(model, tokenizer, tmp_path / "model", base="", facts={})
    assert saved.adapter is None  # an adapter without its base is useless
    again = load_base(saved.folder, tokenizer)
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)


async def test_the_playground_opens_it(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    saved = save(with_adapter(load_base(base, tokenizer)), tokenizer, tmp_path / "model", base=str(base), facts={})
    backend = LocalBackend(str(saved.folder))
    try:
        assert "is loaded" in await backend.check()
        assert backend.count_tokens([Message(role="user", content="Who is it?")]) > 5
    finally:
        await backend.close()


def test_a_base_with_an_unreadable_card_is_saved_with_a_given_licence(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "README.md").write_bytes(b"---\nlicense: [\xe9\n---\n")
    with pytest.raises(InputError, match="front matter that is not valid YAML"):
        licence_of(str(tmp_path / "base"), "")
    saved = save(
        load_base(base, tokenizer), tokenizer, tmp_path / "model", base=str(tmp_path / "base"), licence="apache-2.0", facts={}
    )
    assert saved.licence == "apache-2.0"


def test_a_trained_model_inherits_base_and_licence(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    facts = {"pipeline": "sft", "steps": 12, "samples": {"a|b.parquet": "1f"}}
    saved = save(load_base(base, tokenizer), tokenizer, tmp_path / "model", base=str(base), facts=facts)
    card = (saved.folder / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["base_model"], front["library_name"]) == ("mit", "someone/tiny", "transformers")
    assert "role-play" in front["tags"]
    for said in (
        "| steps | 12 |",
        "| samples: a\\|b.parquet | 1f |",
        "<|im_start|>assistant",
        "her play --backend local:",
        "her serve ",
    ):
        assert said in card
    assert str(base.parent) not in card
    again = save(load_base(base, tokenizer), tokenizer, tmp_path / "next", base=str(saved.folder), facts={})
    inherited = yaml.safe_load((again.folder / "README.md").read_text().split("---\n")[1])
    assert (inherited["license"], inherited["base_model"]) == ("mit", "someone/tiny")
    assert (again.folder / "LICENSE").read_text() == "Do as you like.\n"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files: to a writer that is like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [300, 100_000])
def test_no_room_names_the_last_good_checkpoint(base: Path, tokenizer: Any, tmp_path: Path, size: int) -> None:
    model = load_base(base, tokenizer)
    whole, cut = tmp_path / "checkpoints" / "checkpoint-2", tmp_path / "checkpoints" / "checkpoint-3"
    for folder in (whole, cut):
        folder.mkdir(parents=True)
    (whole / COMPLETE).touch()
    with largest_file(size), pytest.raises(HerError, match=rf"no room left .*{re.escape(str(whole))}'. Free some space"):
        save(model, tokenizer, tmp_path / "model", base=str(base), facts={})
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints"}
    save(model, tokenizer, tmp_path / "model", base=str(base), facts={"first": True})
    with largest_file(size), pytest.raises(HerError, match=rf"{re.escape(str(tmp_path / 'model'))}'. Free some space"):
        save(model, tokenizer, tmp_path / "model", base=str(base), facts={})
    assert "| first |" in (tmp_path / "model" / "README.md").read_text()
    save(model, tokenizer, tmp_path / "model", base=str(base), facts={"second": True})
    assert "| second |" in (tmp_path / "model" / "README.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "model"}


def test_a_model_that_is_not_complete_is_refused(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    import torch

    def refused(model: Any, sentence: str, **named: Any) -> None:
        with pytest.raises(HerError, match=sentence):
            save(model, tokenizer, tmp_path / "model", base=str(base), facts={}, **named)
        assert not list(tmp_path.iterdir())

    model = load_base(base, tokenizer)
    state = dict(model.state_dict())
    lacking = {name: weight for name, weight in state.items() if "layers.1.mlp.up_proj" not in name}
    refused(model, "layers.1.mlp.up_proj.weight is missing or unexpected", state=lacking)
    refused(model, "gather the shards first", state=state | {"model.norm.weight": torch.ones(3)})
    refused(
        model,
        "has NaN or infinite numbers: the training diverged",
        state=state | {"model.norm.weight": torch.full((64,), torch.nan)},
    )
    other = state | {"model.norm.weight": 3 * state["model.norm.weight"]}
    refused(model, "gives other logits than the one in memory", state=other)
    two = with_adapter(load_base(base, tokenizer))
    two.add_adapter("second", lora_config(LORA))
    two.base_model.set_adapter(["default", "second"])
    refused(two, "made of one LoRA adapter, and default, second")
    inside = with_adapter(load_base(base, tokenizer))
    inside.merge_adapter()
    refused(inside, "merged in place already")
    embedded = with_adapter(load_base(base, tokenizer), target_modules={"embed_tokens", "q_proj"})
    refused(embedded, "embed_tokens is not on a plain linear layer")
    biased = with_adapter(load_base(base, tokenizer), lora_bias=True)
    refused(biased, "is not on a plain linear layer")
    kept = with_adapter(load_base(base, tokenizer), modules_to_save=["lm_head"])
    refused(kept, "is missing or unexpected")
