"""Votes on turns of a run: from the downloaded file into SQLite, and the agreement of the checks with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.store.reader_votes import ReaderVotes
from pipelines.synthesize.votes import FILE, agreement, main


def vote(turn: str, good: bool, passed: bool, **fields: Any) -> dict[str, Any]:
    return {"reader": "Ann", "stage": "role_thinking", "scene": "s", "turn": turn, "good": good, "passed": passed, **fields}


def test_votes_are_saved_and_the_agreement_is_printed(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A later vote of the same reader replaces the earlier one; another reader's counts beside it."""
    caplog.set_level("INFO")
    folder = home / "runs" / "shown"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    rows = [
        vote("a", True, True),
        vote("b", True, False),
        vote("c", False, True),
        vote("d", False, False),
        vote("a", False, True),
    ]
    rows += [vote("a", True, True), vote("a", True, True, reader="Bea"), vote("a", False, False, stage="system_thinking")]
    (tmp_path / "votes.json").write_text(json.dumps(rows))
    assert main(["shown", str(tmp_path / "votes.json")]) == 0
    assert main(["shown"]) == 0
    printed = [json.loads(line) for line in caplog.messages]
    thoughts = {"votes": 5, "readers": 2, "agreed": 3, "false_alarms": 1, "overlooked": 1, "kappa": 0.167}
    assert printed[0] == printed[1] and printed[0]["role_thinking"] == thoughts
    assert printed[0]["system_thinking"]["kappa"] is None
    with ReaderVotes(folder / FILE) as readings:
        assert len(readings.latest()) == 6


@pytest.mark.parametrize("content", [b"no json", b"{}", b'[{"reader": "", "good": "maybe"}]', None])
def test_a_file_that_holds_no_votes_is_refused_whole(
    home: Path, tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = home / "runs" / "shown"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    if content is not None:
        (tmp_path / "votes.json").write_bytes(content)
    assert main(["shown", str(tmp_path / "votes.json")]) == 2
    assert "give the file that the report's page downloaded" in caplog.text
    assert main(["absent"]) == 2 and "has no report" in caplog.text
    assert agreement([]) == {}
