"""Create a model from scratch: a Qwen3 with random weights and a byte-level BPE tokenizer trained on the run's own texts."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from her.errors import InputError
from pipelines.models.options import ShapeOptions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

PAD, TURN, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
"""The only special tokens. The tags of the format are ordinary text."""
_ROLES = "system\nuser\nassistant\n"
_TAG = "</?[a-z_]+>"
_WORDS = rf"{_TAG}|'(?:s|t|re|ve|m|ll|d)| ?\p{{L}}+| ?\p{{N}}+| ?(?:(?!{_TAG})[^\s\p{{L}}\p{{N}}])+|\s+(?!\S)|\s+"
"""GPT-2's word pattern (Radford et al. 2019), with tags as words of their own: a frequent tag becomes one token."""


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE tokenizer with at most `vocabulary` tokens; every byte is a token, so any text round-trips.

    Raises:
        InputError: there are no texts.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # A line end is always a separate token, so the text after it never changes the tokens before it. With ChatML the
            # tokens of a prompt are therefore a prefix of the whole sample's tokens, whatever the turn begins with.
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
    count = 0

    def counted_texts() -> Iterable[str]:
        nonlocal count
        yield _ROLES
        for text in texts:
            count += bool(text)
            yield text

    bpe.train_from_iterator(counted_texts(), trainer)
    if not count:
        raise InputError(
            "a tokenizer cannot be trained without text; give samples, or set model.base to a folder with a tokenizer"
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=STOP,
        pad_token=PAD,
        bos_token=None,
        additional_special_tokens=[TURN],
        clean_up_tokenization_spaces=False,
        model_max_length=context,
    )


def create_model(
    shape: ShapeOptions, tokenizer: "PreTrainedTokenizerFast", dtype: "torch.dtype", attention: str = "sdpa"
) -> "Qwen3ForCausalLM":
    """Create a Qwen3 of this shape with tied embeddings; torch's global generator draws the weights.

    Raises:
        InputError: `heads` is not a multiple of `kv_heads`, or the size of a head is odd.
    """
    from transformers import AutoModelForCausalLM, Qwen3Config

    if shape.heads % shape.kv_heads or shape.head % 2:
        raise InputError(
            f"model.shape: heads={shape.heads} must be a multiple of kv_heads={shape.kv_heads}, and head={shape.head} even"
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
