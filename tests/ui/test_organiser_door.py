"""her/ui/organiser_door.py: links that work once, sessions that end, secrets that are on no disk."""

from pathlib import Path

import pytest

from her.ui.organiser_door import FILE, LINK_SECONDS, SESSION_SECONDS, OrganiserDoor


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(tmp_path: Path, clock: Clock) -> OrganiserDoor:
    return OrganiserDoor(tmp_path, clock)


def key_of(link: str) -> str:
    return link.partition("?key=")[2]


def test_a_link_works_once_and_its_session_until_it_ends(door: OrganiserDoor, clock: Clock) -> None:
    link = door.link("http://127.0.0.1:7860/")
    assert link.startswith("http://127.0.0.1:7860/organiser?key=") and door.admits(key=key_of(link))
    session = door.enter(key_of(link))
    assert session and session != key_of(link) and door.admits(session=session)
    assert door.enter(key_of(link)) is None and not door.admits(key=key_of(link))
    clock.now += SESSION_SECONDS - 1
    assert door.admits(session=session)
    clock.now += 1
    assert not door.admits(session=session)


@pytest.mark.parametrize("seconds", [LINK_SECONDS, -3600])
def test_a_link_is_refused_after_its_time_and_when_the_clock_was_set_back(
    door: OrganiserDoor, clock: Clock, seconds: float
) -> None:
    key = key_of(door.link())
    clock.now += seconds
    assert not door.admits(key=key) and door.enter(key) is None


@pytest.mark.parametrize("secret", ["", "x", "\udcff", "0" * 100_000])
def test_what_was_never_made_opens_nothing(door: OrganiserDoor, secret: str) -> None:
    door.link()
    assert not door.admits(key=secret, session=secret) and door.enter(secret) is None


def test_a_secret_of_one_kind_is_none_of_the_other(door: OrganiserDoor) -> None:
    session = door.enter(key_of(door.link()))
    assert session and not door.admits(key=session) and door.enter(session) is None
    assert not door.admits(session=key_of(door.link()))


def test_revoking_ends_all_and_leaving_one(door: OrganiserDoor) -> None:
    first, second = (door.enter(key_of(door.link())) for _ in range(2))
    assert first and second
    door.leave(first)
    assert not door.admits(session=first) and door.admits(session=second)
    waiting = key_of(door.link())
    door.revoke()
    assert not door.admits(session=second) and not door.admits(key=waiting)


def test_another_process_reads_the_same_file_which_holds_no_secret(door: OrganiserDoor, tmp_path: Path, clock: Clock) -> None:
    link = door.link("http://127.0.0.1:7860")
    other = OrganiserDoor(tmp_path, clock)
    assert other.link().startswith("http://127.0.0.1:7860/organiser?key="), "her admin link knows where the playground is"
    session = other.enter(key_of(link))
    assert session and door.admits(session=session)
    text = (tmp_path / FILE).read_text("utf-8")
    assert key_of(link) not in text and session not in text and (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_broken_file_lets_nobody_in(door: OrganiserDoor, tmp_path: Path) -> None:
    key = key_of(door.link())
    (tmp_path / FILE).write_text("{", "utf-8")
    assert not door.admits(key=key) and door.enter(key) is None
