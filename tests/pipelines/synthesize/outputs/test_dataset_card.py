"""The dataset card: metadata, counts, hashes and licences, and that a dataset loads as its card says."""

from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from her.errors import InputError
from her.training_data.audit import Audit, EstimatedEncoder
from pipelines.synthesize.outputs import exports
from pipelines.synthesize.outputs.dataset_card import DatasetFacts, DatasetSource, card_text, file_hashes, write_card
from tests.pipelines.synthesize.outputs.test_exports import ROWS, dicts, written

FACTS = DatasetFacts(
    name="lamps",
    licence="cc0-1.0",
    languages=("en", "zh"),
    command="her run synthesize @lamps.toml",
    commit="abc",
    seed=7,
    splits={"sft": 3, "test": 3},
    dropped={"no_plan": 2},
    held_out=1,
    models={"role_thinking": "teacher"},
    prompts={"roleplay.en.md": "12ab"},
    inputs={"lamp.json": "34cd"},
    sources=(DatasetSource(name="The | Lamp", licence="public domain", transcripts=1),),
    test_set="test_set.json",
)


@pytest.mark.whole
def test_the_dataset_loads_as_its_card_says(tmp_path: Path) -> None:
    from datasets import load_dataset

    for split in FACTS.splits:
        written(tmp_path / split / "trl.parquet")
    (tmp_path / "sft" / "sharegpt.jsonl").write_text("".join(map(exports.sharegpt, ROWS)), "utf-8")
    write_card(tmp_path, FACTS)
    for split, part in (("sft", "train"), ("test", "test")):
        rows = load_dataset(str(tmp_path), split, cache_dir=str(tmp_path / "cache"))[part]
        assert rows[0]["prompt"] == dicts(ROWS[0].messages[:-1])
        assert rows[1]["completion"] == dicts(ROWS[1].messages[-1:])


def test_the_card_states_counts_hashes_and_licences(tmp_path: Path) -> None:
    for split in FACTS.splits:
        written(tmp_path / split / "trl.parquet")
    audit = Audit("sft", EstimatedEncoder())
    audit.add(ROWS[0])
    text = write_card(tmp_path, FACTS, [audit.report()]).read_text("utf-8")
    for line in (
        "license: cc0-1.0",
        "- zh",
        "| sft | 3 |",
        "no_plan 2",
        "Held out for test_set.json: 1 transcripts",
        "her run synthesize @lamps.toml",
        "| role_thinking | `teacher` |",
        "| roleplay.en.md | `12ab` |",
        "| lamp.json | `34cd` |",
        "| The \\| Lamp | public domain | 1 |",
        "(100.0%)",
        "seed 7",
    ):
        assert line in text
    assert file_hashes(tmp_path)["sft/trl.parquet"] in text


def test_a_card_without_its_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split 'sft' has no trl\.parquet"):
        write_card(tmp_path, FACTS)


def test_the_hub_reads_the_metadata() -> None:
    metadata = DatasetCard(card_text(FACTS, {})).data
    assert (metadata.license, metadata.language, metadata.size_categories) == ("cc0-1.0", ["en", "zh"], ["n<1K"])
    assert metadata.to_dict()["configs"] == [
        {"config_name": "sft", "data_files": [{"split": "train", "path": "sft/trl.parquet"}]},
        {"config_name": "test", "data_files": [{"split": "test", "path": "test/trl.parquet"}]},
    ]


def test_an_unknown_licence_is_other() -> None:
    facts = FACTS.model_copy(update={"licence": 'ask the author: "yes"'})
    assert DatasetCard(card_text(facts, {})).data.license == "other"
