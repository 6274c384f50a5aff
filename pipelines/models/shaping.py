"""A model from nothing: a Qwen3 with random weights and a byte-level tokenizer of the run's own texts."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from her.errors import InputError
from pipelines.models.options import ShapeOptions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

PAD, TURN, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
"""The only special tokens. The tags of the format are text, written and read as any other."""
_ROLES = "system\nuser\nassistant\n"
_TAG = "</?[a-z_]+>"
_WORDS = rf"{_TAG}|'(?:s|t|re|ve|m|ll|d)| ?\p{{L}}+| ?\p{{N}}+| ?(?:(?!{_TAG})[^\s\p{{L}}\p{{N}}])+|\s+(?!\S)|\s+"
"""The words of GPT-2 (Radford et al. 2019), and tags as words: a tag is one token as soon as the texts have it often."""


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> "PreTrainedTokenizerFast":
    """A byte-level BPE tokenizer with at most `vocabulary` tokens; every byte is one, so any text goes round.

    A line break is always a token by itself, so what stands after one never changes the tokens before it: with ChatML a
    prompt's tokens are the beginning of the whole sample's, whatever the turn begins with.

    Raises:
        InputError: there are no texts.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, TURN, STOP],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        yield _ROLES
        for text in texts:
            seen += bool(text)
            yield text

    bpe.train_from_iterator(counted(), trainer)
    if not seen:
        raise InputError("a tokenizer cannot be made of no text; give samples, or model.base a folder that has a tokenizer")
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=STOP,
        pad_token=PAD,
        bos_token=None,
        additional_special_tokens=[TURN],
        clean_up_tokenization_spaces=False,
        model_max_length=context,
    )


def shaped_model(
    shape: ShapeOptions, tokenizer: "PreTrainedTokenizerFast", dtype: "torch.dtype", attention: str = "sdpa"
) -> "Qwen3ForCausalLM":
    """A Qwen3 of this shape, random weights from torch's generator as it stands; embeddings are tied.

    Raises:
        InputError: the heads cannot share the key heads evenly, or the width of a head is odd.
    """
    from transformers import AutoModelForCausalLM, Qwen3Config

    if shape.heads % shape.kv_heads or shape.head % 2:
        raise InputError(
            f"model.shape: heads={shape.heads} has to be a multiple of kv_heads={shape.kv_heads}, and head={shape.head} even"
        )
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=dtype)
