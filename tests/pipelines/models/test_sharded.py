"""Sharded weights: two processes with FSDP2, as on several GPUs, sample the same turns and save the full model."""

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_tiny

pytestmark = pytest.mark.whole


def adapted(base: Path) -> Any:
    """The model with an adapter that changes it; the same in every process."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from pipelines.models.attention import register_attention
    from pipelines.models.loading import lora_config
    from pipelines.models.options import LoraOptions

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation=register_attention())
    model = get_peft_model(model, lora_config(LoraOptions(rank=4)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.1)
    return model


def work(rank: int, home: str) -> None:
    """One of the processes: what a run does behind its last step."""
    import torch
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.sampled_turns import sample_turns
    from pipelines.models.saving import save
    from tests.pipelines.models.test_chat_template import PLAN, sample

    torch.set_num_threads(1)
    folder = Path(home)
    torch.distributed.init_process_group("gloo", init_method=f"file://{home}/meeting", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    model, template = adapted(folder / "base"), ChatTemplate(str(folder / "base"))
    for layer in model.get_base_model().model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    with torch.no_grad():
        model(input_ids=torch.ones(1, 4, dtype=torch.long))
    asked = [sample("Tom: Well?", PLAN + "Mara: Aye.")]
    sampled = sample_turns(model, template, asked, temperature=0.5, tokens=8, seed=1)
    (folder / f"sampled-{rank}").write_text(sampled.model_dump_json(), "utf-8")
    whole = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, cpu_offload=True)
    state = get_model_state_dict(model, options=whole)
    if rank == 0:
        save(model, template.tokenizer, folder / "model", base=str(folder / "base"), facts={}, state=state)
    torch.distributed.destroy_process_group()


def test_an_adapter_in_pieces_plays_turns_and_is_saved_whole(tmp_path: Path) -> None:
    import torch
    from torch.multiprocessing import spawn
    from transformers import AutoModelForCausalLM

    make_tiny(tmp_path / "base")
    spawn(work, (str(tmp_path),), nprocs=2)
    assert (tmp_path / "sampled-0").read_text("utf-8") == (tmp_path / "sampled-1").read_text("utf-8")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        right = adapted(tmp_path / "base").eval()(input_ids=ids).logits
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "model")(input_ids=ids).logits
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base")(input_ids=ids).logits
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain, right, atol=1e-2)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
