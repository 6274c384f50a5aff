"""her/deploy/hub/withdrawing.py: rows of withdrawn people leave a published data set and its history, and models are marked."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from her.deploy.hub.publishing import PublicationOptions, prepare, publish
from her.deploy.hub.pulling import pull
from her.deploy.hub.withdrawing import withdraw, withdrawn_ids
from her.errors import HerError, InputError
from tests.hub import READER, Hub
from tests.hub_runs import model_files, write_run

GONE, STAYS = "visitor-ada-0001-abcdef", "visitor-bob-0002-abcdef"


@pytest.fixture
def published(hub: Hub, home: Path) -> Hub:
    """A data set of three rows, one as Parquet too, a model trained on its run, and one trained on that model."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"rater": GONE, "x": 1}, {"rater": STAYS, "x": 2}, {"verdict": {"judge": f"rater:{GONE[:12]}"}, "x": 3}]
    rows_file = "".join(json.dumps(row) + "\n" for row in rows).encode()
    table = home / "rows.parquet"
    home.mkdir(exist_ok=True)
    parquet.write_table(pa.table({"rater": [GONE, STAYS]}), table)
    files = {"dataset/README.md": b"# rows\n", "dataset/votes.jsonl": rows_file, "dataset/p.parquet": table.read_bytes()}
    write_run(home, "rows", files, pipeline="synthesize", outputs=("dataset/votes.jsonl",), settings='name = "rows"\n')
    write_run(home, "player", model_files(), settings='name = "player"\n[model]\nbase = ""\n[samples]\nruns = ["rows"]\n')
    write_run(home, "next", model_files(), settings='name = "next"\n[model]\nbase = "ada/her@player"\n')
    write_run(home, "other", model_files())
    sent = (("rows", "ada/rows"), ("player", "ada/her"), ("next", "ada/next"), ("other", "ada/other"))
    for run, to in sent:
        publish(prepare(run, to, PublicationOptions()))
    return hub


def kept(hub: Hub) -> str:
    """Return everything that any commit of the data set, or its store of large files, still gives out."""
    it = hub.repository("datasets", "ada/rows")
    reachable = {it.content(entry) for oid in it.state["branches"].values() for entry in it.files(oid).values()}
    reachable |= {it.content(entry) for oid in it.state["tags"].values() for entry in it.files(oid).values()}
    reachable |= set((it.folder / "lfs").iterdir())
    return "".join(path.read_text(errors="replace") for path in reachable)


def test_rows_leave_files_history_and_contents(published: Hub) -> None:
    assert GONE in kept(published)
    done = withdraw("ada/rows", [GONE])
    assert (done.rows, done.tag, done.removed_tags) == (3, "rows-withdrawn1", ("rows",))
    assert GONE not in kept(published) and GONE[:12] not in kept(published).replace(STAYS, "") and STAYS in kept(published)
    it = published.repository("datasets", "ada/rows")
    assert it.state["commits"][it.state["branches"]["main"]]["parent"] is None
    folder, manifest, _ = pull("ada/rows")
    assert (folder / "votes.jsonl").read_text() == json.dumps({"rater": STAYS, "x": 2}) + "\n" and manifest.withdrawn == 3
    with pytest.raises(InputError, match="has no tag 'rows'.*rows-withdrawn1"):
        pull("ada/rows@rows")


def test_every_model_trained_on_the_rows_is_listed_and_marked_once(published: Hub, home: Path) -> None:
    done = withdraw("ada/rows", [GONE])
    assert [each.repository for each in done.trained] == ["ada/her", "ada/next"] and not done.unmarked
    again = withdraw("ada/rows", [GONE])
    assert (again.rows, again.removed_tags, len(again.trained)) == (0, (), 2)
    for name, times in (("ada/her", 1), ("ada/next", 1), ("ada/other", 0)):
        it = published.repository("models", name)
        card = it.content(it.files(it.resolve("main") or "")["README.md"]).read_text()
        assert card.count("of `ada/rows`, which this was trained on") == times


@pytest.mark.whole
@pytest.mark.parametrize("at", range(12, 34, 3))
def test_a_withdrawal_that_was_cut_is_finished(published: Hub, at: int) -> None:
    published.cut(at, "after")
    with suppress(HerError):
        withdraw("ada/rows", [GONE])
    published.mend()
    withdraw("ada/rows", [GONE])
    assert GONE not in kept(published) and pull("ada/rows").manifest.withdrawn == 3
    assert set(published.repository("datasets", "ada/rows").state["tags"]) == {"rows-withdrawn1"}


def test_nothing_is_changed_where_nobody_withdrew(published: Hub) -> None:
    before = dict(published.repository("datasets", "ada/rows").state)
    assert withdraw("ada/rows", ["visitor-eve-0009"]).rows == 0
    assert published.repository("datasets", "ada/rows").state == before


def test_what_cannot_be_withdrawn_is_refused(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no data set 'ada/her'"):
        withdraw("ada/her", [GONE])
    with pytest.raises(InputError, match="names a tag"):
        withdraw("ada/rows@rows", [GONE])
    with pytest.raises(InputError, match="nobody has withdrawn"):
        withdrawn_ids([], [])
    with pytest.raises(InputError, match="too short"):
        withdrawn_ids([], ["a"])
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(HerError, match="no rights"):
        withdraw("ada/rows", [GONE])
