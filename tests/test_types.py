"""her/types.py: values are frozen, strict and equal by content; what a turn, an exchange and a transcript say of themselves."""

import pytest
from pydantic import ValidationError

from her.kinds import KINDS
from her.types import CastMember, Exchange, Part, Persona, Rollout, Sampling, Scenario, Transcript, Turn, new_id


def parts(*kinds: str) -> tuple[Part, ...]:
    return tuple(Part(kind=kind, text=kind[:3]) for kind in kinds)  # type: ignore[arg-type]


def test_values_are_frozen_strict_and_equal_by_content() -> None:
    part = Part(kind="speech", text="Aye.")
    assert part == Part(kind="speech", text="Aye.") and hash(part) == hash(Part(kind="speech", text="Aye."))
    with pytest.raises(ValidationError, match="frozen"):
        part.text = "No."  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Part(kind="speech", text="Aye.", loud=True)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="valid string"):
        Part(kind="speech", text=3)  # type: ignore[arg-type]
    assert Rollout(prompt=(), rewards={"x": float("nan")}).model_dump_json().count('"x":null') == 1


def test_ids_are_random_and_long() -> None:
    ids = {new_id() for _ in range(100)} | {Turn(speaker="a").id, Transcript(scenario=Scenario(), cast=()).id, Scenario().id}
    assert len(ids) == 103 and all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)


def test_the_text_of_a_turn_by_kind() -> None:
    turn = Turn(speaker="Ann", parts=parts(*KINDS))
    assert turn.text() == "sys rol rol spe"
    assert turn.text("speech", "system_thinking") == "sys spe"
    assert Turn(speaker="Ann").text() == ""


@pytest.mark.parametrize(
    ("kinds", "spoken"),
    [((), False), (("system_thinking", "role_thinking"), False), (("role_action",), True), (("role_thinking", "speech"), True)],
)
def test_others_see_acts_and_speech(kinds: tuple[str, ...], spoken: bool) -> None:
    assert Turn(speaker="Ann", parts=parts(*kinds)).spoken is spoken


def test_an_exchange_must_be_reachable() -> None:
    assert not Exchange(reply="Aye.", cues=("lamp",)).anytime
    assert Exchange(reply="Aye.", anytime=True).cues == ()
    with pytest.raises(ValidationError, match="has neither cues nor 'anytime: true', so it is never played"):
        Exchange(reply="Aye.")


@pytest.mark.parametrize("colour", ["#5b4a6", "5b4a6b", "#5b4a6g", "red", "#5b4a6b0"])
def test_a_colour_has_six_digits(colour: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        Persona(id="a", name="A", profile="p", colour=colour)
    assert Persona(id="a", name="A", profile="p").colour == "#5b4a6b"


def test_members_are_found_by_name() -> None:
    talk = Transcript(scenario=Scenario(), cast=(CastMember(name="Ann"), CastMember(name="Tom", profile="A boy.")))
    assert talk.member("Tom").profile == "A boy."
    with pytest.raises(KeyError, match="no cast member is called 'Bob'; the cast is Ann, Tom"):
        talk.member("Bob")


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("temperature", (0.0, 2.0), (-0.1, 2.1)),
        ("top_p", (0.001, 1.0), (0.0, 1.1)),
        ("max_tokens", (1, 65536), (0, 65537)),
    ],
)
def test_sampling_has_bounds(name: str, right: tuple[float, ...], wrong: tuple[float, ...]) -> None:
    for value in right:
        assert getattr(Sampling.model_validate({name: value}), name) == value
    for value in wrong:
        with pytest.raises(ValidationError):
            Sampling.model_validate({name: value})
    assert Sampling() == Sampling(temperature=0.7, top_p=0.95, max_tokens=2048, seed=None, stop=())
