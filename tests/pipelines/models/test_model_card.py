"""pipelines/models/model_card.py: front matter that the Hub reads, licences, and facts in a table."""

from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
import yaml

from her.errors import InputError
from pipelines.models.model_card import adapter_card, licence_files, licence_of, model_card

PROMPT = "<|im_start|>system\nYou are Ann.<|im_end|>\n~~~~\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "base"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\nbase_model: someone/tiny\n---\n# Tiny\n")
    (folder / "LICENSE").write_text("Do as you like.\n")
    return folder


def front(card: str) -> dict[str, object]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


def test_the_card_names_base_licence_facts_and_how_to_run_it(base: Path, tmp_path: Path) -> None:
    facts = {"pipeline": "sft", "steps": 12, "samples": {"a|b.parquet": "1f"}}
    card = model_card("model", str(base), licence_of(str(base), ""), facts, PROMPT, "<|im_end|>")
    assert front(card) | {"tags": None} == {
        "base_model": "someone/tiny",
        "library_name": "transformers",
        "license": "mit",
        "pipeline_tag": "text-generation",
        "tags": None,
    }
    assert "role-play" in front(card)["tags"]  # type: ignore[operator]
    rows = ("| steps | 12 |", "| samples: a\\|b.parquet | 1f |")
    for text in (*rows, "Trained from `runs/base`", "her serve ", "Licence of the base: mit."):
        assert text in card
    assert str(tmp_path) not in card, "no path of this machine"
    assert card.count("~~~~") == 2, "the prompt cannot close its block"


@pytest.mark.parametrize(
    ("licence", "expected"), [("", {"license": "other"}), ("My own", {"license": "other", "license_name": "My own"})]
)
def test_a_licence_that_the_hub_does_not_know(licence: str, expected: dict[str, str]) -> None:
    written = front(model_card("model", "", licence, {}, PROMPT, "<|im_end|>"))
    assert {name: value for name, value in written.items() if name.startswith("license")} == expected
    assert "base_model" not in written


def test_the_card_of_an_adapter(base: Path) -> None:
    card = adapter_card("adapter", str(base), "apache-2.0")
    assert (front(card)["library_name"], front(card)["license"]) == ("peft", "apache-2.0")


def test_a_base_with_an_unreadable_card_needs_a_given_licence(base: Path) -> None:
    (base / "README.md").write_bytes(b"---\nlicense: [\xe9\n---\n")
    with pytest.raises(InputError, match="front matter that is not valid YAML; give model.licence"):
        licence_of(str(base), "")
    assert licence_of(str(base), "apache-2.0") == "apache-2.0"
    assert "license: apache-2.0" in model_card("model", str(base), "apache-2.0", {}, PROMPT, "<|im_end|>")


def test_licence_files_are_those_of_a_folder(base: Path) -> None:
    assert [path.name for path in licence_files(str(base))] == ["LICENSE"]
    assert licence_files("owner/repository") == licence_files("") == ()


def test_licence_files_of_a_repository_come_from_the_hub_or_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tests are offline, so the cache answers; of another repository nothing is there, which is said."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cached = tmp_path / "models--owner--repository"
    (cached / "snapshots" / "c0ffee").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("c0ffee")
    for name in ("LICENSE", "NOTICE.txt", "USE_POLICY.md", "config.json"):
        (cached / "snapshots" / "c0ffee" / name).write_text(name)
    snapshot = huggingface_hub.snapshot_download
    monkeypatch.setattr("huggingface_hub.snapshot_download", partial(snapshot, cache_dir=tmp_path))
    assert [path.name for path in licence_files("owner/repository")] == ["LICENSE", "NOTICE.txt", "USE_POLICY.md"]
    assert not caplog.records and licence_files("owner/other") == ()
    assert "the licence files of 'owner/other' could not be fetched" in caplog.text
