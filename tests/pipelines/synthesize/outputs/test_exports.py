"""Samples in the forms of the trainers, read back by pyarrow."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.training_data.samples import FORMAT, samples
from her.types import CastMember, Message, Part, Sample, Scenario, Transcript, Turn
from pipelines.synthesize.outputs import exports
from pipelines.synthesize.outputs.exports import ParquetRows, trl_table, verl_rows


def turn(name: str, plan: str, thought: str, speech: str) -> Turn:
    parts = [("system_thinking", plan), ("role_thinking", thought), ("role_action", "nods"), ("speech", speech)]
    return Turn(speaker=name, parts=tuple(Part(kind=kind, text=text) for kind, text in parts))  # type: ignore[arg-type]


TALK = Transcript(
    id="t",
    scenario=Scenario(id="s", source="The Lamp", setting="Night."),
    cast=(CastMember(name="Mara", profile="A keeper."), CastMember(name="阿蘅")),
    turns=(
        turn("Mara", "Mara must wait.", "Hm.", "Aye “so”."),
        turn("阿蘅", "阿蘅要听。", "雨大了。", "你听。"),
        turn("Mara", "Go.", "I go.", "Bye\nthen."),
    ),
)
ROWS = [row for row in samples(TALK) if isinstance(row, Sample)]


def dicts(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [message.model_dump() for message in messages]


def written(path: Path, rows: list[Sample] = ROWS) -> list[dict[str, Any]]:
    """Return the rows that pyarrow reads of a TRL file."""
    from pyarrow import parquet

    with ParquetRows(path, trl_table) as writer:
        for row in rows:
            writer.add(row)
    return parquet.read_table(path).to_pylist()  # type: ignore[no-any-return]


def test_trl_rows_are_the_samples(tmp_path: Path) -> None:
    rows = written(tmp_path / "trl.parquet")
    for row, sample in zip(rows, ROWS, strict=True):
        assert row["prompt"] == dicts(sample.messages[:-1])
        assert row["completion"] == dicts(sample.messages[-1:])
        assert (row["turn"], row["transcript"], row["speaker"], row["source"]) == (sample.turn, "t", sample.speaker, "The Lamp")


@pytest.mark.parametrize("count", [0, 1, exports.ROWS, exports.ROWS + 1])
def test_row_groups_hold_all_rows(tmp_path: Path, count: int) -> None:
    assert len(written(tmp_path / "trl.parquet", [ROWS[0]] * count)) == count


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "trl.parquet"
    with pytest.raises(RuntimeError, match="stop"), ParquetRows(path, trl_table) as writer:
        for _ in range(exports.ROWS + 1):
            writer.add(ROWS[0])
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_verl_rows_have_their_ground_truth(tmp_path: Path) -> None:
    from pyarrow import parquet

    with verl_rows(tmp_path / "verl.parquet", "rl") as writer:
        for row in ROWS * 200:
            writer.add(row)
    rows = parquet.read_table(tmp_path / "verl.parquet").to_pylist()
    assert [row["extra_info"]["index"] for row in rows] == list(range(600))
    first = rows[0]
    assert (first["data_source"], first["ability"], first["reward_model"]["style"]) == ("her", "roleplay", "model")
    assert first["prompt"] == dicts(ROWS[0].messages[:-1])
    assert first["reward_model"]["ground_truth"] == (
        "Mara: <role_thinking>Hm.</role_thinking><role_action>nods</role_action>Aye “so”."
    )
    assert first["extra_info"]["reference"] == ROWS[0].messages[-1].content
    assert (first["extra_info"]["split"], first["extra_info"]["turn"]) == ("rl", ROWS[0].turn)
    assert all(row["reward_model"]["ground_truth"] and "Mara must" not in row["reward_model"]["ground_truth"] for row in rows)


def test_sharegpt_ends_with_the_target() -> None:
    row = json.loads(exports.sharegpt(ROWS[2]))
    assert row["id"] == ROWS[2].turn
    assert [line["from"] for line in row["conversations"]] == ["system", "human", "gpt", "human", "gpt"]
    assert row["conversations"][-1]["value"] == ROWS[2].messages[-1].content
    assert exports.sharegpt(ROWS[2]).count("\n") == 1


def test_a_file_says_which_format_it_has(tmp_path: Path) -> None:
    from pyarrow import parquet

    written(tmp_path / "trl.parquet")
    assert parquet.read_schema(tmp_path / "trl.parquet").metadata == {b"her_format": FORMAT.encode()}
