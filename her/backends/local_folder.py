"""Find the folder of a local model, and the files of it that decide what it says."""

from pathlib import Path

from her.errors import BackendError
from her.paths import expanded


def model_files(folder: Path) -> list[Path]:
    """Return the files that decide what the model in a folder answers: weights, settings, tokenizer, template."""
    return [path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".jinja", ".model") and path.is_file()]


def model_folder(path: str) -> str:
    """Return the folder that `path` names, empty when it names a repository.

    Raises:
        BackendError: `not_found`, there is no such folder, or no model in it.
    """
    folder = expanded(path)
    if not folder.is_dir():
        if folder.is_file() or path.startswith(("/", "./", "../", "~")) or path.count("/") > 1:
            raise BackendError(f"local model '{path}': there is no such folder; give a folder with a config.json.", "not_found")
        return ""
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        what = (
            "holds only an adapter; merge it into its base model first" if adapter else "has no config.json, so it holds no model"
        )
        raise BackendError(f"local model '{path}' {what}.", "not_found")
    return str(folder)
