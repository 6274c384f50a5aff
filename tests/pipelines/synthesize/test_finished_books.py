"""pipelines/synthesize/sources/finished_books.py: the same files come out for any number of workers."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from her import view
from her.characters.coser import load_book
from her.errors import InputError
from her.files import jsonl
from her.types import Transcript
from pipelines.synthesize.sources import finished_books as module
from pipelines.synthesize.sources.finished_books import convert, finished_files, main, read_scenes
from tests.characters.test_her_dataset import ROW


def lines(book: str, plot: int) -> list[dict[str, Any]]:
    said = [("Mara", f"[I wait.] (turns) {book} {plot}."), ("Tom", "Aye — “so”."), ("Environment", "Rain."), ("Mara", "[Hm.]")]
    return [{"character": name, "message": text, "i_p": plot, "i_c": 0} for name, text in said]


def book(folder: Path, name: str, plots: int = 2) -> Path:
    path = folder / f"{name}.json"
    told = [{"summary": "s", "conversation": [{"scenario": "Night.", "dialogues": lines(name, plot)}]} for plot in range(plots)]
    content = {"plots": [*told, {"summary": "none"}], "character_datasets": {"Mara": {"profile": "A keeper."}}}
    path.write_text(json.dumps(content), "utf-8")
    return path


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def reading(*paths: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the files taken, and what was skipped."""
    skipped: list[tuple[str, str]] = []
    taken = finished_files(paths, lambda where, reason: skipped.append((where, reason)))
    return [path.name for path in taken], skipped


def test_books_become_transcripts_and_samples(tmp_path: Path) -> None:
    book(tmp_path, "Lamp")
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
        own = next(one for one in transcripts if one.id == row["transcript"])
        index = next(index for index, turn in enumerate(own.turns) if turn.id == row["turn"])
        prompt = view.messages(own, row["speaker"], own.turns[:index])
        assert row["prompt"] == [message.model_dump() for message in prompt]
    skipped = (tmp_path / "out" / "skipped.jsonl").read_text("utf-8")
    assert json.loads(skipped) == {"where": "Lamp.json", "reason": "plot 2: no conversation"}


def test_the_files_are_the_same_for_any_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "books").mkdir()
    size = max(book(tmp_path / "books", f"Lamp {number}").stat().st_size for number in range(5))
    monkeypatch.setattr(module, "SHARD_BYTES", 2 * size)
    one = convert([tmp_path / "books"], tmp_path / "one", workers=1)
    assert convert([tmp_path / "books"], tmp_path / "three", workers=3) == one
    assert files(tmp_path / "one") == files(tmp_path / "three")
    assert {"transcripts/00002.jsonl", "samples/00002.parquet"} <= files(tmp_path / "one").keys()


def test_books_and_the_released_dataset_are_read_together(tmp_path: Path) -> None:
    book(tmp_path, "Lamp")
    for name in ("full_info", "clean", "sft_multi_turn"):
        (tmp_path / f"HER_dataset_{name}.jsonl").write_text(json.dumps(ROW) + "\n", "utf-8")
    taken, skipped = reading(tmp_path)
    assert taken == ["HER_dataset_full_info.jsonl", "Lamp.json"]
    assert [where for where, _ in skipped] == ["HER_dataset_clean.jsonl", "HER_dataset_sft_multi_turn.jsonl"]
    assert convert([tmp_path], tmp_path / "out").scenes == 3
    assert reading(tmp_path / "HER_dataset_clean.jsonl")[0] == ["HER_dataset_clean.jsonl"]


def test_of_one_book_twice_the_larger_file_is_read(tmp_path: Path) -> None:
    book(tmp_path, "Tess of the D’Urbervilles", plots=1)
    book(tmp_path, "Tess_of_the_D'Urbervilles", plots=3)
    taken, skipped = reading(tmp_path)
    assert taken == ["Tess_of_the_D'Urbervilles.json"]
    assert skipped == [("Tess of the D’Urbervilles.json", "the same book as the larger 'Tess_of_the_D'Urbervilles.json'")]


def test_one_bad_file_stops_no_other(tmp_path: Path) -> None:
    book(tmp_path, "Lamp")
    (tmp_path / "Broken.json").write_text('{"plots": [', "utf-8")
    (tmp_path / "Empty.json").write_text("", "utf-8")
    (tmp_path / "Notes.txt").write_text("no scenes", "utf-8")
    assert convert([tmp_path], tmp_path / "out").scenes == 2
    reasons = (tmp_path / "out" / "skipped.jsonl").read_text("utf-8")
    assert "not JSON at line 1, column 12" in reasons
    assert "Empty.json" in reasons


def test_a_scene_in_two_files_is_read_once(tmp_path: Path) -> None:
    case = {"book": "The Lamp", "i_p": 1, "i_c": 0, "dialogues": lines("x", 1)}
    for name in ("test_set", "copy"):
        (tmp_path / f"{name}.json").write_text(json.dumps([case]), "utf-8")
    skipped: list[str] = []
    scenes = list(read_scenes(sorted(tmp_path.glob("*.json")), lambda where, reason: skipped.append(f"{where}: {reason}")))
    assert len(scenes) == 1
    assert skipped[-1] == "test_set.json: plot 1, conversation 0 of The Lamp was in an earlier file"


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of scenes"):
        convert([tmp_path], tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        convert([tmp_path / "none"], tmp_path / "out")
    (tmp_path / "empty.json").write_text("{}", "utf-8")
    with pytest.raises(InputError, match="no scene in 1 files; the reasons are in"):
        convert([tmp_path], tmp_path / "out")


def test_the_command_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book(tmp_path, "Lamp")
    assert main([str(tmp_path), str(tmp_path / "out"), "--plans"]) == 0
    assert json.loads((tmp_path / "out" / "convert.json").read_text())["dropped"] == {"no_plan": 4, "unspoken": 2}
    listed = [json.loads(line) for file in sorted((tmp_path / "out" / "dropped").iterdir()) for line in file.open()]
    assert sorted(one["reason"] for one in listed) == ["no_plan"] * 4 + ["unspoken"] * 2
    assert all(one["turn"] and one["speaker"] for one in listed)
    assert main([str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert "does not exist" in caplog.text
