"""her/deploy/hub/durable.py: what was called safe survives the loss of the machine at any point, and nothing is overwritten.

The machine is lost by leaving its folder behind. The tests marked `whole` start the playground as a process.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from her.config import Settings
from her.deploy.hub import durable
from her.deploy.hub.durable import DurableRatings, kept_durably
from her.deploy.hub.segment_repository import MovedError
from her.errors import HerError, InputError, StoreError
from her.ui.build import launch
from tests.hub import WRITER, Hub, When, refusal
from tests.playground import Playground, Visitor
from tests.store.samples import ANNE, BEN, greeted, opened, rating, reply, sql

NAME = "ada/ratings"


class Machine:
    """A machine with a disk of its own: a store, and its copies in the data set."""

    numbers = count()

    def __init__(self, disk: Path, name: str = NAME) -> None:
        self.disk = disk
        disk.mkdir(exist_ok=True)
        self.store = opened(disk)
        self.ratings = DurableRatings(self.store, name)

    def write(self, visitor: str = ANNE) -> str:
        """Rate a turn of a new chat; return the comment, which is like no other."""
        comment = f"comment {next(self.numbers)}"
        chat, question = greeted(self.store, visitor)
        turn = reply(self.store, question, "What, man?", visitor_id=visitor)
        self.store.rate(visitor, chat.id, turn.id, rating(1, comment=comment))
        return comment

    def comments(self) -> list[str]:
        return [row[0] for row in sql(self.disk / "her.sqlite3", "SELECT comment FROM ratings ORDER BY seq")]


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Iterator[Callable[..., Machine]]:
    """Start a machine on a new disk, or again on one that is there."""
    numbers, started = count(), []

    def start(disk: Path | None = None, name: str = NAME) -> Machine:
        one = Machine(disk or tmp_path / f"disk{next(numbers)}", name)
        started.append(one)
        one.ratings.open()
        return one

    yield start
    for one in started:
        one.store.close()


def files(hub: Hub) -> list[str]:
    it = hub.repository("datasets", NAME)
    return sorted(it.files(it.state["branches"]["main"]))


def everything(hub: Hub) -> bytes:
    """Return all bytes that any commit or store of the data set still gives out, unpacked."""
    import gzip

    it = hub.repository("datasets", NAME)
    reachable = {it.content(entry) for commit in it.state["branches"].values() for entry in it.files(commit).values()}
    reachable |= set((it.folder / "lfs").iterdir())
    contents = [path.read_bytes() for path in reachable]
    return b"".join(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content for content in contents)


def test_ratings_come_back_on_a_new_machine(machine: Callable[..., Machine], hub: Hub) -> None:
    first = machine()
    one = first.write()
    assert first.ratings.safety().waiting > 0
    first.ratings.push()
    two = first.write()
    first.ratings.close()
    assert first.ratings.safety().waiting == 0 and first.ratings.safety().alarm == ""
    second = machine()
    assert second.comments() == [one, two] and hub.repository("datasets", NAME).state["private"]
    three = second.write()
    second.ratings.push()
    second.ratings.push()  # nothing is left, so nothing is sent
    assert machine().comments() == [one, two, three]
    assert files(hub) == [
        ".gitattributes",
        "README.md",
        *(f"boot-00000{n}/{name}" for n, names in BOOTS.items() for name in names),
    ]


BOOTS = {
    1: ["opened", "segment-000001.jsonl.gz", "segment-000002.jsonl.gz"],
    2: ["opened", "segment-000001.jsonl.gz"],
    3: ["opened"],
}


@pytest.mark.whole
@pytest.mark.parametrize("when", ["before", "middle", "after"])
def test_nothing_that_was_safe_is_lost_wherever_the_line_is_cut(machine: Callable[..., Machine], hub: Hub, when: When) -> None:
    first = machine()
    safe: list[str] = []
    for at in count(1):
        new = first.write()
        hub.cut(at, when)
        with suppress(HerError):
            first.ratings.push()
        cut, known = hub.down, first.ratings.safety()
        hub.mend()
        assert (known.waiting > 0, known.alarm) == ((True, "failing") if cut else (False, ""))
        lost = machine()  # the first machine is gone at this moment
        kept = lost.comments()
        assert kept[: len(safe)] == safe and kept[len(safe) :] in ([], [new])
        if not cut:
            break
        first, safe = lost, kept
        again = first.write()  # and a cut that the machine survives is made good
        hub.cut(at, when)
        with suppress(HerError):
            first.ratings.push()
        hub.mend()
        first.ratings.push()
        assert first.ratings.safety().waiting == 0 and first.ratings.safety().alarm == ""
        safe.append(again)
    assert at > 4


def test_two_playgrounds_on_one_data_set_are_noticed_and_nothing_is_overwritten(
    machine: Callable[..., Machine], hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    first = machine()
    one = first.write()
    first.ratings.push()
    second = machine()
    lost, two = first.write(), second.write()
    second.ratings.push()
    before = files(hub)
    for _ in range(2):
        with pytest.raises(MovedError, match="another playground writes to 'ada/ratings'.*stop one of the two"):
            first.ratings.push()
    first.ratings.close()
    assert files(hub) == before and first.ratings.safety().alarm == "taken_over" and first.ratings.safety().waiting > 0
    assert "changes are not kept" in caplog.text
    assert lost not in machine().comments() == [one, two]


def test_an_answer_that_was_lost_is_found_also_after_another_has_taken_over(machine: Callable[..., Machine], hub: Hub) -> None:
    first = machine()
    one = first.write()
    hub.cut(5, "after")
    with pytest.raises(HerError, match="line to the Hub was cut"):
        first.ratings.push()
    assert hub.requests[4].startswith("POST /api/datasets/ada/ratings/commit"), "the commit is the fifth request"
    hub.mend()
    assert machine().comments() == [one]
    with pytest.raises(MovedError):
        first.ratings.push()
    assert first.ratings.safety().waiting == 0, "it did arrive"


def test_a_start_that_cannot_read_opens_nothing(machine: Callable[..., Machine], hub: Hub, tmp_path: Path) -> None:
    machine().ratings.close()
    hub.down = True
    with pytest.raises(HerError, match="line to the Hub was cut"):
        machine()
    hub.mend()
    first = machine()
    first.write()
    first.ratings.push()
    it = hub.repository("datasets", NAME)
    content = it.content(it.files(it.resolve("main") or "")["boot-000002/segment-000001.jsonl.gz"])
    content.write_bytes(content.read_bytes()[:-9])
    with pytest.raises(HerError):
        machine(tmp_path / "late")
    assert sql(tmp_path / "late" / "her.sqlite3", "SELECT * FROM visitors") == []


def public(hub: Hub) -> None:
    it = hub.repository("datasets", NAME)
    it.state["private"] = False
    it.save()


def foreign(hub: Hub) -> None:
    it = hub.repository("datasets", NAME)
    it.commit("main", {**it.files(it.resolve("main") or ""), "votes.parquet": it.keep(b"x")}, "mine")


def other_kind(kind: str) -> Callable[[Hub], None]:
    def move(hub: Hub) -> None:
        (hub.folder / kind / "ada").mkdir(parents=True)
        (hub.folder / "datasets" / NAME).rename(hub.folder / kind / NAME)

    return move


def missing(hub: Hub) -> None:
    it = hub.repository("datasets", NAME)
    held = it.files(it.resolve("main") or "")
    it.commit("main", {name: entry for name, entry in held.items() if "segment-000001" not in name}, "tidy")


BAD: dict[str, tuple[Callable[[Hub], object], str]] = {
    "public": (public, "is public.*make it private"),
    "other content": (foreign, "holds other content, such as 'votes.parquet'"),
    "a model": (
        other_kind("models"),
        "the name of a model; ratings go to a data set of their own, such as 'ada/ratings-ratings'",
    ),
    "a Space": (other_kind("spaces"), "the name of a space"),
    "a segment is missing": (missing, "which is missing"),
    "no rights to write": (lambda hub: hub.tokens.update({WRITER: ("ada", False)}), "no rights.*HF_TOKEN"),
    "no token": (lambda hub: hub.tokens.clear(), "HTTP 401.*HF_TOKEN"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_data_set_that_cannot_be_used_is_refused_at_the_start(
    machine: Callable[..., Machine], hub: Hub, spoil: Callable[[Hub], object], sentence: str
) -> None:
    first = machine()
    for _ in range(2):
        first.write()
        first.ratings.push()
    spoil(hub)
    with pytest.raises((HerError, StoreError), match=sentence):
        machine()


def test_a_wrong_name_and_a_database_server_are_refused(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ratings", "ada/ratings@main", "../x"):
        with pytest.raises(InputError, match="OWNER/NAME"):
            Machine(tmp_path / "disk", name)
    server = opened(tmp_path)
    monkeypatch.setattr(server, "_lock", None)  # as a server has it
    with pytest.raises(InputError, match="HER_DATABASE_URL names a database server; unset one"):
        DurableRatings(server, NAME)
    server.close()
    monkeypatch.setenv("HER_DURABLE_EVERY", "often")
    with pytest.raises(InputError, match="HER_DURABLE_EVERY is 'often'; give seconds"), kept_durably(server, NAME):
        pass


def test_a_clock_that_is_wrong_changes_nothing(
    machine: Callable[..., Machine], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, clock = machine(), iter([2_000_000_000_000, 5, 1_900_000_000_000, 4, 3, *range(2, 99)])
    for module in ("chats", "feedback"):
        monkeypatch.setattr(f"her.store.{module}.now", lambda: next(clock))
    one, two = first.write(), None
    first.ratings.push()
    two = first.write()
    assert first.ratings.safety().waiting and 0 <= first.ratings.safety().age < 60
    first.ratings.push()
    second = machine()
    assert second.comments() == [one, two]
    second.write()
    second.ratings.push()
    assert len(machine().comments()) == 3


def test_full_limits_are_an_alarm_until_they_are_mended(
    machine: Callable[..., Machine], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine()
    one = first.write()
    with monkeypatch.context() as full:
        full.setattr(hub, "_commit", lambda *_: refusal(413, "storage limit reached"))
        with pytest.raises(HerError, match="HTTP 413: storage limit reached.*limits are reached"):
            first.ratings.push()
        first.ratings._try()  # as the thread does it
        assert first.ratings.safety().alarm == "failing" and first.ratings.safety().waiting > 0
    two = first.write()
    first.ratings.push()
    first.ratings.push()
    assert first.ratings.safety().alarm == "" and machine().comments() == [one, two]


def test_a_disk_that_stayed_goes_on_and_one_that_went_apart_is_not_merged(machine: Callable[..., Machine], hub: Hub) -> None:
    first = machine()
    one = first.write()
    first.ratings.push()
    two = first.write()
    hub.cut(5, "after")
    with suppress(HerError):
        first.ratings.push()  # arrives; the machine is switched off before the answer
    hub.mend()
    first.store.close()
    again = machine(first.disk)
    assert again.ratings.safety().waiting == 0
    three = again.write()
    again.store.close()
    last = machine(first.disk)  # nothing was pushed: what waited still waits
    assert last.ratings.safety().waiting > 0
    last.ratings.push()
    other = machine()
    assert other.comments() == [one, two, three]
    other.write()
    other.ratings.push()
    last.write()
    last.store.close()
    with pytest.raises(InputError, match="hold different ratings; move the database away"):
        machine(first.disk)
    assert len(last.comments()) == 4
    moved = machine(first.disk, "ada/elsewhere")
    moved.ratings.push()
    assert machine(name="ada/elsewhere").comments() == last.comments()


def test_a_database_that_was_there_before_is_kept_whole(machine: Callable[..., Machine], hub: Hub, tmp_path: Path) -> None:
    before = Machine(tmp_path / "old")
    one = before.write()
    before.store.close()
    first = machine(before.disk)
    first.ratings.push()
    assert machine().comments() == [one]
    stranger = Machine(tmp_path / "stranger")
    stranger.write()
    stranger.store.close()
    with pytest.raises(InputError, match="hold different ratings"):
        machine(stranger.disk)


def test_many_files_are_written_anew_as_few(machine: Callable[..., Machine], hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "COMPACT_AT", 6)
    first = machine()
    comments = []
    for _ in range(4):
        comments.append(first.write())
        first.ratings.push()
    assert files(hub)[2:] == ["boot-000001/opened", "boot-000001/segment-000004.jsonl.gz"]
    comments.append(first.write())
    first.ratings.push()
    assert machine().comments() == comments


def test_a_withdrawal_leaves_nothing_of_the_person_in_the_data_set(machine: Callable[..., Machine], hub: Hub) -> None:
    first = machine()
    gone, stays = first.write(ANNE), first.write(BEN)
    first.ratings.push()
    assert gone.encode() in everything(hub)
    first.store.withdraw_visitor(ANNE)
    first.ratings.push()
    assert gone.encode() not in everything(hub) and stays.encode() in everything(hub)
    it = hub.repository("datasets", NAME)
    assert sum(gone.encode() in path.read_bytes() for path in it.folder.rglob("*") if path.is_file()) == 0
    assert first.comments() == [stays] and first.ratings.safety().waiting == 0 and "withdrawing" not in files(hub)
    later = first.write(BEN)
    first.ratings.push()
    second = machine()
    assert second.comments() == [stays, later] and ANNE in second.store.withdrawn_ids()
    assert second.write(ANNE)  # who comes back is not erased again and again; exports leave the person out
    second.ratings.push()
    assert len(machine().comments()) == 3


WITHDRAWING = {
    "before the rows leave": "/preupload",
    "after the rows have left": "/commit",
    "after the squash": "/super-squash",
    "after the contents are deleted": "/lfs-files/batch",
}


@pytest.mark.parametrize("place", WITHDRAWING.values(), ids=WITHDRAWING)
def test_a_withdrawal_that_was_cut_is_finished(machine: Callable[..., Machine], hub: Hub, place: str) -> None:
    first = machine()
    gone = first.write(ANNE)
    first.ratings.push()
    first.store.withdraw_visitor(ANNE)
    hub.cut_after(place)
    with suppress(HerError):
        first.ratings.push()
    assert hub.down
    hub.mend()
    if place == "/preupload":  # nothing has left this machine yet
        first.ratings.push()
    else:
        machine()  # by the next start
    assert gone.encode() not in everything(hub) and "withdrawing" not in files(hub)


def test_the_thread_pushes_lives_through_errors_and_stops(
    machine: Callable[..., Machine], hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = machine()
    first.ratings._every = 0.001
    errors = iter([ZeroDivisionError("odd"), HerError("cut")])
    push, done = first.ratings.push, []

    def failing_at_first() -> None:
        if error := next(errors, None):
            raise error
        push()
        done.append(1)

    monkeypatch.setattr(first.ratings, "push", failing_at_first)
    one = first.write()
    first.ratings.start()
    while not done:
        first.ratings._thread.join(0.005)
    first.ratings.close()
    assert not first.ratings._thread.is_alive() and machine().comments() == [one]
    assert "odd" in caplog.text and "cut" in caplog.text


def test_a_playground_whose_ratings_cannot_be_kept_does_not_open(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.tokens[WRITER] = ("ada", False)
    monkeypatch.setenv("HER_DURABLE", NAME)
    monkeypatch.setattr("gradio.Blocks.launch", lambda *_, **__: pytest.fail("it opened"))
    with pytest.raises(HerError, match="the Hub refused to read 'ada/ratings' .*no rights"):
        launch(Settings(backend="scripted:", port=0))


def playground(hub: Hub, disk: Path, every: str) -> Playground:
    """Start the playground as a process, as on a Space."""
    environment = {"HER_DURABLE": NAME, "HER_DURABLE_EVERY": every, "HF_ENDPOINT": hub.address, "HF_TOKEN": WRITER}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(disk / "hf"), "SPACE_ID": "ada/stage"}
    return Playground(disk, GRADIO_SERVER_NAME="127.0.0.1", **environment)


@pytest.mark.whole
def test_a_space_that_is_stopped_or_killed_keeps_what_it_called_safe(hub: Hub, tmp_path: Path) -> None:
    with playground(hub, tmp_path / "a", every="3600") as space:
        visitor = Visitor(space.url)
        boot = visitor.act("boot")
        assert boot["notice"] == "" and boot["safety"]["waiting"] == 0 and boot["safety"]["alarm"] == ""
        chat = visitor.act("start", persona="scheherazade", name="Mara")["chat"]
        rated = {"rubric": boot["rubric"]["id"], "thumb": 1, "comment": "at the end"}
        assert visitor.act("rate", chat=chat, node=None, rating=rated)["saved"]
        assert visitor.act("safety")["safety"]["waiting"] > 0
    # It was stopped: the rest was pushed at the end, although the next copy was an hour away.
    with playground(hub, tmp_path / "b", every="0.05") as space:
        again = Visitor(space.url, visitor.token)
        assert again.act("open", chat=chat)["view"]["rating"]["comment"] == "at the end"
        again.act("rate", chat=chat, node=None, rating={**rated, "comment": "safe"})
        while again.act("safety")["safety"]["waiting"]:
            pass
        space.kill()
    last = Machine(tmp_path / "c")
    last.ratings.open()
    assert last.comments() == ["at the end", "safe"]
    last.store.close()
