"""her/format/neighbours.py: neighbouring turns of one speaker become one turn; nothing that was said is lost or invented."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.format import merged, normalise, parse, render
from her.kinds import KINDS
from her.types import ENVIRONMENT, Defect, Part, Turn

OF = {"plan": "system_thinking", "think": "role_thinking", "act": "role_action", "say": "speech"}


def turn(speaker: str, *texts: str, **more: object) -> Turn:
    """A turn of parts such as `say Aye.`; its id is the last text."""
    pairs = [text.split(" ", 1) for text in texts]
    parts = tuple(Part(kind=OF[kind], text=text) for kind, text in pairs)  # type: ignore[arg-type]
    return Turn(id=texts[-1], speaker=speaker, parts=parts, raw="|".join(texts)).model_copy(update=more)


JOINED = [
    (["say a"], ["say b"], ["say a\n\nb"]),  # as HER joins two turns
    (["say a"], ["act b", "say c"], ["say a", "act b", "say c"]),
    (["think a", "act b"], ["act c", "say d"], ["think a", "act b\nc", "say d"]),
    (["plan p", "say a"], ["plan q", "think b"], ["plan p\n\nq", "say a", "think b"]),
    (["plan p", "say a"], ["say b"], ["say a\n\nb"]),  # half a plan is none
    (["say a"], ["plan q", "say b"], ["say a\n\nb"]),
    (["plan p"], ["plan q", "say b"], ["plan q", "say b"]),  # a turn that shows nothing needs no plan
    (["plan p", "say a"], ["plan q"], ["plan p", "say a"]),
]


@pytest.mark.parametrize(("first", "second", "parts"), JOINED)
def test_two_turns_are_one(first: list[str], second: list[str], parts: list[str]) -> None:
    one, two = turn("Ann", *first), turn("Ann", *second)
    (both,) = merged([one, two])
    assert both.parts == turn("Ann", *parts).parts
    assert (both.id, both.merged, both.raw) == (one.id, (two.id,), f"{one.raw}\n\n{two.raw}")
    assert merged([both]) == (both,) and merged([turn("Bo", "say x"), both, turn("Bo", "say y")])[1] == both


NEIGHBOURS = [
    ([turn("Ann", "say a"), turn("Bo", "say b"), turn("Ann", "say c")], 3),
    ([turn("Ann", "say a"), turn("ann", "say b")], 2),
    ([turn(ENVIRONMENT, "say a"), turn(ENVIRONMENT, "say b"), turn("Ann", "say c")], 2),
    ([turn("Ann", "say a"), turn("Ann", "say b"), turn("Ann", "say c")], 1),
    ([turn("Ann", "say a", leaves=("Bo",)), turn("Ann", "say b")], 2),  # Bo hears only the first
    ([turn("Ann", "say a"), turn("Ann", "say b", enters=("Bo",))], 2),
    ([turn("Ann", "say a", enters=("Bo",)), turn("Ann", "say b", leaves=("Bo",))], 1),
    ([], 0),
]


@pytest.mark.parametrize(("turns", "count"), NEIGHBOURS)
def test_who_is_a_neighbour(turns: list[Turn], count: int) -> None:
    found = merged(turns)
    assert len(found) == count
    assert [each for one in found for each in (one.id, *one.merged)] == [one.id for one in turns]
    if turns:
        assert (found[0].enters, found[-1].leaves) == (turns[0].enters, turns[-1].leaves)


def test_a_defect_is_kept_once_and_a_single_turn_is_written_as_before() -> None:
    twice = [turn("Ann", f"say {name}", defects=(Defect(name="alias", detail=name),)) for name in "ab"]
    assert merged(twice)[0].defects == (Defect(name="alias", detail="a"),)
    assert "merged" not in twice[0].model_dump_json()
    assert Turn.model_validate_json(merged(twice)[0].model_dump_json()) == merged(twice)[0]


PARTS = st.lists(st.builds(Part, kind=st.sampled_from(KINDS), text=st.text("ab .\n<灯", max_size=6)), max_size=4).map(tuple)
TURNS = st.lists(st.builds(Turn, speaker=st.sampled_from(["Ann", "Bo"]), parts=PARTS), max_size=5)


@given(TURNS)
@settings(max_examples=40)
def test_law_a_merged_turn_is_canonical_and_loses_no_letter(turns: list[Turn]) -> None:
    found = merged(turns)
    assert merged(found) == found
    assert all(one.speaker != two.speaker for one, two in zip(found, found[1:], strict=False))
    for one in found:
        if one.merged:
            assert one.parts == normalise(one.parts, one.speaker)
            assert parse(render(one.parts, one.speaker), one.speaker, notation="her").parts == one.parts
    for kind in KINDS[1:]:
        before, after = ("".join("".join(each.text(kind) for each in group).split()) for group in (turns, found))
        assert before == after
