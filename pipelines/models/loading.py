"""A tokenizer with its template and a causal language model, from a folder, a repository or nothing; safetensors only.

Whatever does not fit ends here, in a sentence, before anything is trained.
"""

import logging
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her import paths
from her.deploy.checkpoints import shards
from her.errors import InputError
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.models.shaping import shaped_model, train_tokenizer
from pipelines.models.stopping import set_stop, set_template

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_SMALL = "a configuration for this machine is pipelines/configs/tiny.toml or pipelines/configs/sft_smoke.toml"
_UNADAPTABLE = {"lm_head", "embed_tokens"}


def load_tokenizer(options: ModelOptions, texts: Iterable[str] = ()) -> "PreTrainedTokenizerBase":
    """The tokenizer with the template set; its end-of-sequence token is the one that ends a turn, and there is a pad token.

    Args:
        texts: what a model from nothing reads; a tokenizer is made of them when `options.base` is empty.

    Raises:
        InputError: no such folder or repository, no tokenizer or template in it, or a template that moves the stop token.
    """
    if options.base:
        tokenizer = _read_tokenizer(options)
    else:
        tokenizer = train_tokenizer(texts, options.shape.vocabulary, options.shape.context)
    set_template(tokenizer, options.template, options.base or "a model from nothing")
    set_stop(tokenizer, _ends(options), options.template)
    return tokenizer


def load_model(
    options: ModelOptions,
    lora: LoraOptions,
    tokenizer: "PreTrainedTokenizerBase",
    device: str = "auto",
    attention: str = "sdpa",
) -> "PreTrainedModel":
    """The model in the precision asked for, on the CPU unless it is quantised; without its adapters.

    Args:
        lora: only `quantise` is looked at.
        device: `auto`, `cpu` or `cuda`; only whether there is one is looked at.
        attention: name of an attention function that transformers knows.

    Raises:
        InputError: no GPU where one is asked for, no weights, weights in another format than safetensors, weights that are
            missing or have another shape, or a tokenizer with more tokens than the model.
    """
    _check_quantised(device_of(device), lora)
    if not options.base:
        model = shaped_model(options.shape, tokenizer, _dtype(options), attention)
    else:
        model = _read_model(options, lora, attention)
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens and the model '{options.base}' takes {rows}; they do not fit"
        )
    log.info("%s: %.1f million weights, %s", options.base or "from nothing", model.num_parameters() / 1e6, model.dtype)
    return model


def lora_config(lora: LoraOptions) -> "LoraConfig | None":
    """What PEFT makes the adapters of; None when all weights are trained.

    Raises:
        InputError: a target that cannot be merged into the checkpoint later.
    """
    if not lora.rank:
        return None
    from peft import LoraConfig

    if refused := _UNADAPTABLE & {target.rpartition(".")[2] for target in lora.targets}:
        raise InputError(f"lora.targets names {', '.join(sorted(refused))}, and embeddings are not adapted; name linear layers")
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear" if "all-linear" in lora.targets else list(lora.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )


def device_of(device: str) -> str:
    """`cpu` or `cuda`: what `auto` comes to here, others as they are.

    Raises:
        InputError: `cuda` without a GPU; the sentence names a configuration that fits.
    """
    import torch

    here = torch.cuda.is_available()
    if device == "cuda" and not here:
        raise InputError(f"device=cuda needs a GPU that torch {torch.__version__} can use, and there is none; {_SMALL}")
    return ("cuda" if here else "cpu") if device == "auto" else device


def _check_quantised(device: str, lora: LoraOptions) -> None:
    """Raises InputError when a GPU or bitsandbytes is missing."""
    if not lora.quantise:
        return
    if device != "cuda":
        raise InputError(f"lora.quantise={lora.quantise} needs a GPU, and none is used here; leave it out, or {_SMALL}")
    if find_spec("bitsandbytes") is None:
        raise InputError("lora.quantise=nf4 needs bitsandbytes, which is not installed; run: pip install -e '.[quantise]'")


def _ends(options: ModelOptions) -> frozenset[int]:
    """Ids that end a reply by the base's generation config; none where it has none."""
    if not options.base:
        return frozenset()
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(source_of(options), revision=options.revision or "main")
    except OSError as error:
        if (Path(source_of(options)) / "generation_config.json").is_file():
            raise InputError(f"generation_config.json of '{options.base}' cannot be read: {_short(error)}") from error
        log.info("'%s' has no generation_config.json", options.base)
        return frozenset()
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"generation_config.json of '{options.base}' cannot be read: {_short(error)}") from error
    ids = config.eos_token_id
    return frozenset(ids if isinstance(ids, list) else () if ids is None else (ids,))


def _read_tokenizer(options: ModelOptions) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    source = source_of(options)
    if Path(source).is_dir() and not any((Path(source) / name).is_file() for name in _TOKENIZERS):
        raise InputError(
            f"model.base '{options.base}' has no tokenizer; a checkpoint needs its tokenizer.json beside its weights"
        )
    try:
        return AutoTokenizer.from_pretrained(source, revision=options.revision or "main", trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise InputError(f"the tokenizer of '{options.base}' cannot be read: {_short(error)}") from error


def _read_model(options: ModelOptions, lora: LoraOptions, attention: str) -> "PreTrainedModel":
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    source = source_of(options)
    if Path(source).is_dir():
        _check_weights(Path(source), options.base)
    extra: dict[str, Any] = {}
    if lora.quantise:
        extra = {"quantization_config": _nf4(options), "device_map": {"": _own_gpu()}}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            revision=options.revision or "main",
            trust_remote_code=False,
            use_safetensors=True,
            dtype=_dtype(options),
            attn_implementation=attention,
            output_loading_info=True,
            **extra,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"model.base '{options.base}' cannot be read as a causal language model with safetensors: {_short(error)}"
        ) from error
    if lacking := sorted(report["missing_keys"]):
        raise InputError(
            f"model.base '{options.base}' lacks {len(lacking)} of its weights, such as {lacking[0]}; "
            "they would be random, so give the whole checkpoint"
        )
    return model


def _check_weights(folder: Path, base: str) -> None:
    """A local folder has safetensors, and all that its index names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        if lacking := [name for name in shards(index) if not (folder / name).is_file()]:
            raise InputError(
                f"model.base '{base}' lacks {', '.join(lacking[:3])}, which its index names; copy the whole checkpoint"
            )
        return
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickled:
        raise InputError(
            f"model.base '{base}' has its weights in {pickled[0]}, a pickle, which could run any code; give one in safetensors"
        )
    raise InputError(f"model.base '{base}' has no weights; it needs model.safetensors")


def source_of(options: ModelOptions) -> str:
    """What transformers is given for a base: the folder, or the repository's name.

    Raises:
        InputError: there is no such folder, or it holds no model.
    """
    folder = paths.expanded(options.base)
    if not folder.is_dir():
        if folder.is_file() or options.base.startswith(("/", "./", "../", "~")) or options.base.count("/") > 1:
            raise InputError(f"model.base '{options.base}': there is no such folder; give a checkpoint's folder or a repository")
        return options.base
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        what = "holds only an adapter; give the merged checkpoint beside it" if adapter else "has no config.json, so no model"
        raise InputError(f"model.base '{options.base}' {what}")
    return str(folder)


def base_files(options: ModelOptions) -> list[Path]:
    """Weights and config of a base that is a folder; none of a repository, which only a commit as `revision` holds fast."""
    folder = paths.expanded(options.base)
    if not options.base or not folder.is_dir():
        return []
    return sorted([*folder.glob("*.safetensors"), *folder.glob("config.json")])


def _dtype(options: ModelOptions) -> "torch.dtype":
    """Of the weights; `mixed` computes in bfloat16 by autocast, which is the trainer's part."""
    import torch

    return torch.bfloat16 if options.precision == "bfloat16" else torch.float32


def _nf4(options: ModelOptions) -> "BitsAndBytesConfig":
    """QLoRA's own settings (Dettmers et al. 2023): NF4, double quantisation."""
    import torch
    from transformers import BitsAndBytesConfig

    compute = torch.float32 if options.precision == "float32" else torch.bfloat16
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=compute,
    )


def _own_gpu() -> int:
    """The GPU of this process: weights are quantised where they lie."""
    from accelerate import PartialState

    return int(PartialState().local_process_index)


def _short(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if len(said) <= 240 else said[:239] + "…"
