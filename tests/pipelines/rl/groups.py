"""A trainer over a tiny model and a sampled batch of two groups, for tests of pipelines/rl."""

from typing import Any

PROMPTS, SIZE, TOKENS = ((5, 6, 7, 8, 9, 10, 11), (5, 6, 20, 21)), 3, 9


def make_trainer(folder: Any, rank: int = 0, **settings: Any) -> Any:
    """Return a GroupTrainer over the model in `folder`, with adapters of random weights when `rank` is above 0."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig

    from pipelines.models.attention import register_attention
    from pipelines.models.merging import base_of
    from pipelines.models.shared_rows import select_trained
    from pipelines.rl.trl_overrides import group_trainer

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=register_attention())
    arguments = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 2 * SIZE,
        "num_generations": SIZE,
        "max_completion_length": TOKENS,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "max_steps": 2,
    }
    config = LoraConfig(r=rank, target_modules="all-linear", init_lora_weights=False) if rank else None
    trainer = group_trainer(1)(
        model=model,
        reward_funcs=lambda completions, **_: [float(len(row[0]["content"])) for row in completions],
        args=GRPOConfig(**{**arguments, **settings}),
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in ("Ann?", "Who is it?")]),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=config,
    )
    select_trained(base_of(trainer.model).base_model)
    if trainer.ref_model is not None:
        select_trained(trainer.ref_model.base_model)
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def make_batch(**extra: Any) -> dict[str, Any]:
    """Return a batch as TRL has it after sampling: answers of 2 to 9 tokens, one of them masked whole; old log-probabilities."""
    import torch

    dice = torch.Generator().manual_seed(3)
    width, answers = max(map(len, PROMPTS)), SIZE * len(PROMPTS)
    ids, mask = torch.zeros(answers, width, dtype=torch.long), torch.zeros(answers, width, dtype=torch.long)
    for number in range(answers):
        prompt = torch.tensor(PROMPTS[number // SIZE])
        ids[number, width - len(prompt) :], mask[number, width - len(prompt) :] = prompt, 1
    completion = torch.randint(5, 300, (answers, TOKENS), generator=dice)
    lengths = torch.tensor([9, 2, 5, 9, 0, 7])
    counted = (torch.arange(TOKENS) < lengths[:, None]).long()
    batch = {
        "prompt_ids": ids,
        "prompt_mask": mask,
        "completion_ids": completion * counted,
        "completion_mask": counted,
        "advantages": torch.randn(answers, generator=dice),
        "num_items_in_batch": counted.sum(),
        "old_per_token_logps": -6 + torch.randn(answers, TOKENS, generator=dice) * 0.3,
        "ref_per_token_logps": -6 + torch.randn(answers, TOKENS, generator=dice) * 0.3,
    }
    return {**batch, **extra}


def loss_and_gradients(trainer: Any, batch: dict[str, Any], shared: bool) -> tuple[float, dict[str, Any]]:
    """Return TRL's loss of a batch and the gradient of every trained tensor."""
    trainer.shared = shared
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, dict(batch))
    loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in trainer.model.named_parameters() if weight.grad is not None}
    return float(loss.detach()), gradients
