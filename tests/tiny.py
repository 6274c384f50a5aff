"""Tiny causal language models for tests: a byte-level tokenizer, a ChatML template, a Qwen3 of about 0.3 million weights.

make_tiny(folder)                    # random weights
teach(folder, [messages, ...])       # train for a few seconds, until it repeats these answers
"""

from collections.abc import Sequence
from pathlib import Path

from her.types import Message
from pipelines.models.from_scratch import create_model, train_tokenizer
from pipelines.models.options import ShapeOptions

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CORPUS = [
    "<system_thinking>I need to portray Ann as calm.</system_thinking>Ann: <role_thinking>Who is it?</role_thinking>",
    "<role_action>opens the door</role_action>Good evening, come in, sit down. You are Ann, a baker in the old mill.",
]


def make_tiny(folder: Path, context: int = 512, seed: int = 0, template: str | None = TEMPLATE) -> Path:
    """Write a model with random weights to `folder` and return it; the same seed gives the same weights."""
    import torch

    tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=context)
    tokenizer.chat_template = template
    shape = ShapeOptions(hidden=64, intermediate=192, layers=2, heads=2, kv_heads=1, head=64, context=context)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = create_model(shape, tokenizer, torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def teach(folder: Path, dialogues: Sequence[Sequence[Message]], steps: int = 100) -> float:
    """Train the model in `folder` on whole dialogues, with a loss on assistant tokens only; return the last loss."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    batch = _batch(tokenizer, dialogues)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=steps)
    loss = torch.tensor(0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for matrices of this size a second thread costs more than it saves, on a busy machine much more
    for _ in range(steps):
        loss = model(**batch).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    torch.set_num_threads(threads)
    model.eval().save_pretrained(folder)
    return loss.item()


def _batch(tokenizer, dialogues):  # type: ignore[no-untyped-def]  # a tokenizer's and tensors' types are not known here
    """Return right-padded tensors of shape (dialogues, longest); labels are -100 where nothing is learned."""
    import torch

    rows = [
        tokenizer.apply_chat_template(
            [message.model_dump() for message in dialogue], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        for dialogue in dialogues
    ]
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), -100)
    for place, row in enumerate(rows):
        tokens, learned = torch.tensor(row["input_ids"]), torch.tensor(row["assistant_masks"]).bool()
        ids[place, : len(tokens)] = tokens
        labels[place, : len(tokens)] = torch.where(learned, tokens, -100)
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": (torch.arange(width) < torch.tensor([[len(r["input_ids"])] for r in rows])),
    }
