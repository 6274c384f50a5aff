"""Converting finished books: transcripts and samples, the same for any number of workers."""

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from her import view
from her.characters.coser import load_book
from her.errors import InputError
from her.files import jsonl
from her.types import Transcript
from pipelines.synthesize import convert as module
from pipelines.synthesize.convert import convert, main
from tests.characters.test_her_dataset import ROW
from tests.pipelines.synthesize.books import write_book


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_books_become_transcripts_and_samples(tmp_path: Path) -> None:
    write_book(tmp_path, "Lamp")
    counts = convert([tmp_path], tmp_path / "out")
    assert counts.model_dump() == {
        "files": 1,
        "scenes": 2,
        "turns": 8,
        "samples": 4,
        "dropped": {"unspoken": 2},
        "skipped": 1,
    }
    transcripts = list(jsonl.read(tmp_path / "out" / "transcripts" / "00000.jsonl", Transcript))
    assert transcripts == [scene.transcript() for scene in load_book(tmp_path / "Lamp.json").scenes]
    rows = parquet.read_table(tmp_path / "out" / "samples" / "00000.parquet").to_pylist()
    for row in rows:
        own = next(transcript for transcript in transcripts if transcript.id == row["transcript"])
        index = next(index for index, turn in enumerate(own.turns) if turn.id == row["turn"])
        prompt = view.messages(own, row["speaker"], own.turns[:index])
        assert row["prompt"] == [message.model_dump() for message in prompt]
    skipped = (tmp_path / "out" / "skipped.jsonl").read_text("utf-8")
    assert json.loads(skipped) == {"where": "Lamp.json", "reason": "plot 2: no conversation"}


@pytest.mark.whole
def test_the_files_are_the_same_for_any_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "books").mkdir()
    size = max(write_book(tmp_path / "books", f"Lamp {number}").stat().st_size for number in range(5))
    monkeypatch.setattr(module, "SHARD_BYTES", 2 * size)
    counts = convert([tmp_path / "books"], tmp_path / "one", workers=1)
    assert convert([tmp_path / "books"], tmp_path / "three", workers=3) == counts
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert {"transcripts/00002.jsonl", "samples/00002.parquet"} <= contents(tmp_path / "one").keys()


def test_books_and_the_released_dataset_are_converted_together(tmp_path: Path) -> None:
    write_book(tmp_path, "Lamp")
    (tmp_path / "HER_dataset_full_info.jsonl").write_text(json.dumps(ROW) + "\n", "utf-8")
    assert convert([tmp_path], tmp_path / "out").scenes == 3


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    write_book(tmp_path, "Lamp")
    (tmp_path / "Broken.json").write_text('{"plots": [', "utf-8")
    (tmp_path / "Empty.json").write_text("", "utf-8")
    (tmp_path / "Notes.txt").write_text("no scenes", "utf-8")
    assert convert([tmp_path], tmp_path / "out").scenes == 2
    reasons = (tmp_path / "out" / "skipped.jsonl").read_text("utf-8")
    assert "not JSON at line 1, column 12" in reasons
    assert "Empty.json" in reasons


def test_nothing_to_convert_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of scenes"):
        convert([tmp_path], tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        convert([tmp_path / "none"], tmp_path / "out")
    (tmp_path / "empty.json").write_text("{}", "utf-8")
    with pytest.raises(InputError, match="no scene in 1 files; the reasons are in"):
        convert([tmp_path], tmp_path / "out")


def test_the_command_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_book(tmp_path, "Lamp")
    assert main([str(tmp_path), str(tmp_path / "out"), "--plans"]) == 0
    assert json.loads((tmp_path / "out" / "convert.json").read_text())["dropped"] == {"no_plan": 4, "unspoken": 2}
    dropped = [json.loads(line) for file in sorted((tmp_path / "out" / "dropped").iterdir()) for line in file.open()]
    assert sorted(row["reason"] for row in dropped) == ["no_plan"] * 4 + ["unspoken"] * 2
    assert all(row["turn"] and row["speaker"] for row in dropped)
    assert main([str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert "does not exist" in caplog.text
