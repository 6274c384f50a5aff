"""The chain from a model of a run to the Hub and back, by the commands that people type; the pull is a process of its own."""

import os
import sys
from pathlib import Path

import pytest

from her.deploy.hub import bases
from her.deploy.hub.publishing import PublicationOptions, prepare, publish
from tests.cli.commands import her as command
from tests.hub import WRITER, Hub
from tests.hub_runs import CARD, write_run
from tests.processes import run_to_end

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.whole
def test_a_model_that_was_pulled_says_the_same(hub: Hub, home: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests.tiny import make_tiny

    model = make_tiny(tmp_path / "tiny")
    files = {f"model/{path.name}": path.read_bytes() for path in model.iterdir()} | {"model/README.md": CARD.encode()}
    write_run(home, "player", files)
    published = command("publish", "player", "ada/her")
    assert published.exit_code == 0, published.output
    # A fresh machine: a process of its own, an empty home and an empty cache.
    shown = her(tmp_path, hub.address, tmp_path / "fresh", "pull", "ada/her", "--to", str(tmp_path / "pulled"))
    assert "every hash as published" in shown and "free metrics: equal, " in shown and "model.base=ada/her@player" in shown
    assert greedy(tmp_path / "pulled") == greedy(model)


def her(folder: Path, address: str, home: Path, *words: str) -> str:
    changed = {"HER_HOME": str(home), "HF_ENDPOINT": address, "HF_TOKEN": WRITER, "HF_HUB_OFFLINE": "0"}
    changed |= {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / home.name / "hf")}
    done = run_to_end([sys.executable, "-m", "her.cli", *words], cwd=ROOT, env={**os.environ, **changed})
    assert done.returncode == 0, done.stderr
    return done.stdout


def greedy(folder: Path) -> list[str]:
    """Return ten greedy turns."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    turns = []
    for number in range(10):
        asked = [{"role": "user", "content": f"Bell: May I come in, Ann? {number}"}]
        ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        turns.append(tokenizer.decode(model.generate(**ids, max_new_tokens=12, do_sample=False)[0]))
    return turns


@pytest.mark.whole
def test_training_starts_from_a_publication(hub: Hub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from pipelines.models.loading import base_commit, base_files, load_model, load_tokenizer, model_source
    from pipelines.models.model_card import licence_of, model_card
    from pipelines.models.options import LoraOptions, ModelOptions
    from tests.tiny import make_tiny

    model = make_tiny(tmp_path / "tiny")
    files = {f"model/{path.name}": path.read_bytes() for path in model.iterdir()} | {"model/README.md": CARD.encode()}
    write_run(home, "player", files)
    commit = publish(prepare("player", "ada/her", PublicationOptions())).commit
    options = ModelOptions(base="ada/her@player", template="own")
    assert base_commit(options) == {"ada/her@player": commit}
    assert {path.name for path in base_files(options)} == {"config.json", "model.safetensors"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    bases.verified.cache_clear()  # as in a process of its own, which finds what was pulled
    tokenizer = load_tokenizer(options)
    loaded, original = (load_model(each, LoraOptions(), tokenizer) for each in (options, ModelOptions(base=str(model))))
    assert all((a == b).all() for a, b in zip(loaded.parameters(), original.parameters(), strict=True))
    assert licence_of(options.base, "") == "apache-2.0" and model_source(options) == str(home / "pulled" / "ada--her@player")
    card = model_card("next", options.base, "apache-2.0", {}, "", "")
    assert "base_model: ada/her\n" in card and "Trained from `ada/her@player`." in card
