"""Find the shape of the model that a run trains, without downloading anything."""

import json
from pathlib import Path

from her.capacity import shapes
from her.capacity.shapes import Shape
from her.deploy.hub.bases import local_base
from her.errors import InputError
from pipelines.models.options import ModelOptions


def find_model_shape(model: ModelOptions) -> Shape:
    """Return the shape of the model to train.

    Raises:
        InputError: a folder without config.json, or a repository that is neither known by name nor in the local cache.
    """
    if not model.base:
        fields = model.shape.model_dump(exclude={"context", "pretraining_steps", "token_noise"})
        return Shape(**fields, tied=True, head_norms=True)
    source = f"model.base '{model.base}'"
    folder = local_base(model.base)
    if folder.is_dir():
        return _read_shape(folder / "config.json", source)
    if known := shapes.find_shape(model.base):
        return known
    if cached := cached_file(model, "config.json"):
        return _read_shape(cached, source)
    raise InputError(
        f"{source} is not a folder here, not in the cache and not known by name; "
        f"known are {', '.join(f'Qwen/{name}' for name in shapes.SHAPES)}"
    )


def cached_file(model: ModelOptions, name: str) -> Path | None:
    """Return a file of a repository from the local cache of huggingface_hub; None when it was never downloaded."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(model.base, name, revision=model.revision or None)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def _read_shape(path: Path, source: str) -> Shape:
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{source} has no readable config.json ({error.strerror}); give a model's folder") from error
    except ValueError as error:
        raise InputError(f"{source}: config.json is not JSON ({error}); give a model's folder") from error
    return shapes.shape_from_config(config, source)
