"""Load a tokenizer with its chat template and a causal language model, from a folder, a repository or from scratch.

Weights are read from safetensors only. Whatever does not fit is refused with one sentence before anything is trained.
"""

import logging
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her import paths
from her.deploy.checkpoints import weights_problem
from her.deploy.hub.bases import published_base
from her.errors import InputError
from pipelines.models.from_scratch import create_model, train_tokenizer
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.models.stop_token import set_stop_token, set_template
from pipelines.models.template_choice import AUTO, choose_template

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_CPU_CONFIGS = "settings for a CPU are pipelines/configs/tiny.toml and pipelines/configs/sft_smoke.toml"
_UNADAPTABLE = {"lm_head", "embed_tokens"}


def load_tokenizer(options: ModelOptions, texts: Iterable[str] = ()) -> "PreTrainedTokenizerBase":
    """Load a tokenizer and set its chat template; its EOS token is the one that ends a turn, and it has a pad token.

    Args:
        texts: texts on which a tokenizer is trained when `options.base` is empty.

    Raises:
        InputError: no such folder or repository, no tokenizer or template in it, or a template that moves the stop token.
    """
    if options.base:
        tokenizer = _read_tokenizer(options)
    else:
        tokenizer = train_tokenizer(texts, options.shape.vocabulary, options.shape.context)
    name = options.base or "a model from scratch"
    if options.template == AUTO:
        choose_template(tokenizer, _end_ids(options), name)
        return tokenizer
    set_template(tokenizer, options.template, name)
    set_stop_token(tokenizer, _end_ids(options), options.template)
    return tokenizer


def load_model(
    options: ModelOptions,
    lora: LoraOptions,
    tokenizer: "PreTrainedTokenizerBase",
    device: str = "auto",
    attention: str = "",
) -> "PreTrainedModel":
    """Load the model without adapters, in the precision of the settings; on the CPU unless it is quantised.

    Args:
        lora: only `quantise` is read.
        device: `auto`, `cpu` or `cuda`; only to check whether a GPU is there.
        attention: name of an attention function that transformers knows; empty takes that of the settings.

    Raises:
        InputError: a GPU or bitsandbytes is missing, no weights, weights that are not safetensors, missing weights or weights of
            another shape, or a tokenizer with more tokens than the model has embeddings.
    """
    device = resolve_device(device)
    _require_quantisation(device, lora)
    attention = attention or choose_attention(options, device)
    if not options.base:
        model = create_model(options.shape, tokenizer, _dtype(options), attention)
    else:
        model = _read_model(options, lora, attention)
    rows = model.get_input_embeddings().num_embeddings
    # Fewer tokens than rows is normal: many models pad their embeddings to a multiple of 64 or 128.
    if len(tokenizer) > rows:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens and the model '{options.base}' takes {rows}; they do not fit"
        )
    log.info("%s: %.1f million weights, %s", options.base or "from scratch", model.num_parameters() / 1e6, model.dtype)
    return model


def read_config(options: ModelOptions) -> Any:
    """Return the config of the text model of a base.

    Raises:
        InputError: no such base, or a config that transformers does not know.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model_source(options), revision=options.revision or None, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the config of '{options.base}' cannot be read: {_first_words(error)}") from error
    return config.get_text_config()


def choose_attention(options: ModelOptions, device: str) -> str:
    """Return the attention function for rows without shared prefixes (`model.attention`)."""
    if options.attention != "auto":
        return options.attention
    if device == "cuda" and find_spec("flash_attn") is not None and options.precision != "float32":
        return "flash_attention_2"  # caps scores too
    return exact_attention(read_config(options)) if options.base else "sdpa"


def exact_attention(config: Any) -> str:
    """Return PyTorch's own attention, or eager attention where it would leave out a cap of the scores without an error."""
    return "eager" if getattr(config.get_text_config(), "attn_logit_softcapping", None) else "sdpa"


def lora_config(lora: LoraOptions) -> "LoraConfig | None":
    """Return PEFT's configuration of the adapters; None when all weights are trained.

    Raises:
        InputError: a target that cannot be merged into the checkpoint later.
    """
    if not lora.rank:
        return None
    from peft import LoraConfig

    # Embeddings may be tied to the head: an adapter on one of them could not be merged into the shared tensor.
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


def resolve_device(device: str) -> str:
    """Return `cpu` or `cuda`: `auto` takes a GPU when torch can use one.

    Raises:
        InputError: `cuda` without a GPU; the sentence names settings for a CPU.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError(f"device=cuda needs a GPU that torch {torch.__version__} can use, and there is none; {_CPU_CONFIGS}")
    return ("cuda" if available else "cpu") if device == "auto" else device


def model_source(options: ModelOptions) -> str:
    """Return what transformers takes as a base: the path of a folder, or a repository's name.

    A publication, `OWNER/NAME@TAG`, is the folder that was pulled.

    Raises:
        InputError: no such folder, or it holds no model; a publication that cannot be had, was changed, or is named without tag.
    """
    published = published_base(options.base)
    folder = published.folder if published else paths.expanded(options.base)
    if not folder.is_dir():
        if folder.is_file() or options.base.startswith(("/", "./", "../", "~")) or options.base.count("/") > 1:
            raise InputError(f"model.base '{options.base}': there is no such folder; give a checkpoint's folder or a repository")
        return options.base
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        problem = "holds only an adapter; give the merged checkpoint beside it" if adapter else "has no config.json, so no model"
        raise InputError(f"model.base '{options.base}' {problem}")
    return str(folder)


def base_files(options: ModelOptions) -> list[Path]:
    """List weights and config of a base that is a folder; empty for a repository, which a commit in `revision` pins instead.

    Raises:
        HerError: as `model_source`, for a publication.
    """
    if not options.base:
        return []
    published = published_base(options.base)
    folder = published.folder if published else paths.expanded(options.base)
    if not folder.is_dir():
        return []
    return sorted([*folder.glob("*.safetensors"), *folder.glob("config.json")])


def base_commit(options: ModelOptions) -> dict[str, str]:
    """Return the commit of a base that is a publication, by its address; empty for any other base."""
    published = published_base(options.base) if options.base else None
    return {options.base: published.commit} if published and published.commit else {}


def _require_quantisation(device: str, lora: LoraOptions) -> None:
    if not lora.quantise:
        return
    if device != "cuda":
        raise InputError(f"lora.quantise={lora.quantise} needs a GPU, and none is used here; leave it out, or {_CPU_CONFIGS}")
    if find_spec("bitsandbytes") is None:
        raise InputError("lora.quantise=nf4 needs bitsandbytes, which is not installed; run: pip install -e '.[quantise]'")


def _end_ids(options: ModelOptions) -> frozenset[int]:
    """Return the token ids that end a reply according to the base's generation config; empty when it has none."""
    if not options.base:
        return frozenset()
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(model_source(options), revision=options.revision or "main")
    except OSError as error:
        if (Path(model_source(options)) / "generation_config.json").is_file():
            raise InputError(f"generation_config.json of '{options.base}' cannot be read: {_first_words(error)}") from error
        log.info("'%s' has no generation_config.json", options.base)
        return frozenset()
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"generation_config.json of '{options.base}' cannot be read: {_first_words(error)}") from error
    ids = config.eos_token_id
    return frozenset(ids if isinstance(ids, list) else () if ids is None else (ids,))


def _read_tokenizer(options: ModelOptions) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    source = model_source(options)
    if Path(source).is_dir() and not any((Path(source) / name).is_file() for name in _TOKENIZERS):
        raise InputError(
            f"model.base '{options.base}' has no tokenizer; a checkpoint needs its tokenizer.json beside its weights"
        )
    try:
        return AutoTokenizer.from_pretrained(source, revision=options.revision or "main", trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise InputError(f"the tokenizer of '{options.base}' cannot be read: {_first_words(error)}") from error


def _read_model(options: ModelOptions, lora: LoraOptions, attention: str) -> "PreTrainedModel":
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    source = model_source(options)
    if Path(source).is_dir() and (problem := weights_problem(Path(source))):
        raise InputError(f"model.base '{options.base}': {problem}")
    extra: dict[str, Any] = {}
    if lora.quantise:
        extra = {"quantization_config": _nf4_config(options), "device_map": {"": _local_gpu()}}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            revision=options.revision or "main",
            trust_remote_code=False,  # no code from a repository
            use_safetensors=True,
            dtype=_dtype(options),
            attn_implementation=attention,
            output_loading_info=True,
            **extra,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"model.base '{options.base}' cannot be read as a causal language model with safetensors: {_first_words(error)}"
        ) from error
    if missing := sorted(report["missing_keys"]):  # transformers would initialise them at random, with a warning only
        raise InputError(
            f"model.base '{options.base}' lacks {len(missing)} of its weights, such as {missing[0]}; "
            "they would be random, so give the complete checkpoint"
        )
    return model


def _dtype(options: ModelOptions) -> "torch.dtype":
    """Return the dtype of the weights; with `mixed` the trainer computes in bfloat16 by autocast."""
    import torch

    return torch.bfloat16 if options.precision == "bfloat16" else torch.float32


def _nf4_config(options: ModelOptions) -> "BitsAndBytesConfig":
    """Return the settings of the QLoRA paper (Dettmers et al. 2023): NF4 with double quantisation."""
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


def _local_gpu() -> int:
    """Return the GPU of this process: quantised weights cannot be moved later."""
    from accelerate import PartialState

    return int(PartialState().local_process_index)


def _first_words(error: Exception) -> str:
    message = " ".join(str(error).split())
    return message if len(message) <= 240 else message[:239] + "…"
