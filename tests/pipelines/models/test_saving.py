"""Checkpoints: merged out of place, read back, whole or not at all, with all that belongs to them."""

import copy
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
from pipelines.models.atomic_folder import COMPLETE, atomic_folder, is_disk_full, last_good_folder
from pipelines.models.loading import load_model, load_tokenizer, lora_config
from pipelines.models.merging import merged_weights
from pipelines.models.model_card import licence_of
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.models.saving import logits, save
from tests.tiny import make_tiny

pytestmark = pytest.mark.whole
LORA = LoraOptions(rank=4, alpha=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("base"))
    (folder / "LICENSE").write_text("Do as you like.\n")
    (folder / "README.md").write_text("---\nlicense: mit\nbase_model: someone/tiny\n---\n# Tiny\n")
    return folder


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return load_tokenizer(ModelOptions(base=str(base)))


def opened(base: Path, tokenizer: Any, precision: str = "float32") -> Any:
    options = ModelOptions.model_validate({"base": str(base), "precision": precision})
    return load_model(options, LoraOptions(), tokenizer, "cpu")


def adapted(model: Any, **changes: Any) -> Any:
    """The model with an adapter that has learned something."""
    import torch
    from peft import get_peft_model

    config = lora_config(LORA)
    for name, value in changes.items():
        setattr(config, name, value)
    made = get_peft_model(model, config)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))) * 0.05)
    return made


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "changes", [{}, {"use_rslora": True}, {"use_dora": True}, {"target_modules": ["q_proj", "down_proj"]}], ids=str
)
def test_merging_is_pefts_sum_and_leaves_the_base_alone(
    base: Path, tokenizer: Any, precision: str, changes: dict[str, Any]
) -> None:
    model = adapted(opened(base, tokenizer, precision), **changes)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    merged = {name: weight.clone() for name, weight in merged_weights(model)}
    assert same(model.state_dict(), before)
    assert same(merged, copy.deepcopy(model).merge_and_unload().state_dict())
    if "use_dora" not in changes:
        assert same(dict(merged_weights(model, before)), merged)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_is_saved_whole(base: Path, tokenizer: Any, tmp_path: Path, precision: str) -> None:
    model = opened(base, tokenizer, precision).train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    saved = save(model, tokenizer, tmp_path / "model", base=str(base), facts={"steps": 3, "samples": {"a.parquet": "1f"}})
    assert (saved.difference, saved.adapter, saved.licence) == (0, None, "mit")
    assert same(model.state_dict(), before) and model.training
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
    again = opened(saved.folder, load_tokenizer(ModelOptions(base=str(saved.folder), template="own")), precision)
    assert same(again.state_dict(), before)


def test_replies_end_where_the_template_says(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    model = opened(base, tokenizer)
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

    model = adapted(opened(base, tokenizer, precision))
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
    model = adapted(AutoModelForCausalLM.from_config(config, dtype=torch.float32))
    saved = save(model, tokenizer, tmp_path / "model", base="", facts={})
    assert saved.adapter is None  # its base is kept nowhere
    again = opened(saved.folder, tokenizer)
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)


async def test_the_playground_opens_it(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    saved = save(adapted(opened(base, tokenizer)), tokenizer, tmp_path / "model", base=str(base), facts={})
    backend = LocalBackend(str(saved.folder))
    try:
        assert "is loaded" in await backend.check()
        assert backend.count_tokens([Message(role="user", content="Who is it?")]) > 5
    finally:
        await backend.close()


def test_a_base_whose_card_cannot_be_read_needs_a_licence_given_and_no_more(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "README.md").write_bytes(b"---\nlicense: [\xe9\n---\n")
    with pytest.raises(InputError, match="front matter that is no YAML"):
        licence_of(str(tmp_path / "base"), "")
    saved = save(
        opened(base, tokenizer), tokenizer, tmp_path / "model", base=str(tmp_path / "base"), licence="apache-2.0", facts={}
    )
    assert saved.licence == "apache-2.0"


def test_the_card(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    facts = {"pipeline": "sft", "steps": 12, "samples": {"a|b.parquet": "1f"}}
    saved = save(opened(base, tokenizer), tokenizer, tmp_path / "model", base=str(base), facts=facts)
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
    again = save(opened(base, tokenizer), tokenizer, tmp_path / "next", base=str(saved.folder), facts={})
    inherited = yaml.safe_load((again.folder / "README.md").read_text().split("---\n")[1])
    assert (inherited["license"], inherited["base_model"]) == ("mit", "someone/tiny")
    assert (again.folder / "LICENSE").read_text() == "Do as you like.\n"


@pytest.mark.parametrize(
    ("licence", "front"), [("", {"license": "other"}), ("My own", {"license": "other", "license_name": "My own"})]
)
def test_a_licence_nobody_knows(tokenizer: Any, base: Path, tmp_path: Path, licence: str, front: dict[str, str]) -> None:
    saved = save(opened(base, tokenizer), tokenizer, tmp_path / "model", base="", licence=licence, facts={})
    written = yaml.safe_load((saved.folder / "README.md").read_text().split("---\n")[1])
    assert {name: value for name, value in written.items() if name.startswith("license")} == front
    assert "base_model" not in written


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk is for those that write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [300, 100_000])
def test_no_room_names_the_last_good_checkpoint(base: Path, tokenizer: Any, tmp_path: Path, size: int) -> None:
    model = opened(base, tokenizer)
    whole, cut = tmp_path / "checkpoints" / "checkpoint-2", tmp_path / "checkpoints" / "checkpoint-3"
    for folder in (whole, cut):
        folder.mkdir(parents=True)
    (whole / COMPLETE).touch()
    with room(size), pytest.raises(HerError, match=rf"no room left .*{re.escape(str(whole))}'. Make room"):
        save(model, tokenizer, tmp_path / "model", base=str(base), facts={})
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints"}
    save(model, tokenizer, tmp_path / "model", base=str(base), facts={"first": True})
    with room(size), pytest.raises(HerError, match=rf"{re.escape(str(tmp_path / 'model'))}'. Make room"):
        save(model, tokenizer, tmp_path / "model", base=str(base), facts={})
    assert "| first |" in (tmp_path / "model" / "README.md").read_text()
    save(model, tokenizer, tmp_path / "model", base=str(base), facts={"second": True})
    assert "| second |" in (tmp_path / "model" / "README.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "model"}


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(28, "No space left on device"), True),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/7: file write failed"), True),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (OSError(13, "Permission denied"), False),
        (HerError("no space left on device"), False),
        (ValueError("28"), False),
    ],
    ids=str,
)
def test_what_a_full_disk_says(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
    try:
        raise ValueError("while saving") from error
    except ValueError as outer:
        assert is_disk_full(outer) is full


def test_other_errors_leave_no_half_folder(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_folder(tmp_path / "model") as part:
        (part / "config.json").write_text("{}")
        raise PermissionError("no")
    assert not list(tmp_path.iterdir())
    assert last_good_folder(tmp_path) is None


def test_what_cannot_be_saved_is_refused(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    import torch

    def refused(model: Any, sentence: str, **named: Any) -> None:
        with pytest.raises(HerError, match=sentence):
            save(model, tokenizer, tmp_path / "model", base=str(base), facts={}, **named)
        assert not list(tmp_path.iterdir())

    model = opened(base, tokenizer)
    state = dict(model.state_dict())
    lacking = {name: weight for name, weight in state.items() if "layers.1.mlp.up_proj" not in name}
    refused(model, "layers.1.mlp.up_proj.weight is missing or too many", state=lacking)
    refused(model, "gather the shards first", state=state | {"model.norm.weight": torch.ones(3)})
    refused(model, "not finite; the training went astray", state=state | {"model.norm.weight": torch.full((64,), torch.nan)})
    other = state | {"model.norm.weight": 3 * state["model.norm.weight"]}
    refused(model, "answers otherwise than the one in memory", state=other)
    two = adapted(opened(base, tokenizer))
    two.add_adapter("second", lora_config(LORA))
    two.base_model.set_adapter(["default", "second"])
    refused(two, "made of one LoRA adapter, and default, second")
    inside = adapted(opened(base, tokenizer))
    inside.merge_adapter()
    refused(inside, "merged in place already")
    embedded = adapted(opened(base, tokenizer), target_modules={"embed_tokens", "q_proj"})
    refused(embedded, "embed_tokens is not on a plain linear layer")
    biased = adapted(opened(base, tokenizer), lora_bias=True)
    refused(biased, "is not on a plain linear layer")
    kept = adapted(opened(base, tokenizer), modules_to_save=["lm_head"])
    refused(kept, "is missing or too many")
