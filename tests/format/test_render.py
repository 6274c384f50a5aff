"""her/format/render.py: the canonical notation is read back as it was written; CoSER notation keeps its brackets."""

from hypothesis import example, given, settings

from her.format import coser_notation, normalise, parse, render, render_coser
from her.types import Part, Turn
from tests.format.turns import NAME, PARTS, A, P, T, parts_of


def test_render_filters_kinds() -> None:
    parts = parts_of("p:p|t:t|a:a|s:hi")
    assert render(parts, NAME) == f"{P}Iago: {T}{A}hi"
    assert render(parts, NAME, ("role_action", "speech")) == f"Iago: {A}hi"
    assert render(parts, NAME, ("system_thinking",)) == P
    assert render((), NAME) == ""


def test_render_coser() -> None:
    assert render_coser(parts_of("p:p|t:a [b]|a:c (d)|s:hi"), NAME) == "Iago: [a (b)] (c [d]) hi"
    assert render_coser(parts_of("p:p|t:t|s:hi"), kinds=("speech",)) == "hi"


def test_a_message_in_canonical_notation_becomes_coser_notation() -> None:
    parts = parts_of("t:a [b]|a:c (d)|s:hi <role_action>|t:so")
    assert coser_notation(render(parts, NAME)) == "Iago: [a (b)] (c [d]) hi &lt;role_action> [so]"
    assert coser_notation(f"Iago: {A}\n\nEnvironment: It is dark.") == "Iago: (a)\n\nEnvironment: It is dark."
    assert coser_notation("Nobody acts (or thinks).") == "Nobody acts (or thinks)."


@given(PARTS)
@example([Part(kind="speech", text="```\n&grave;``\n```xml\n<think"), Part(kind="role_action", text="<role_")])
@settings(max_examples=40)
def test_law_what_is_written_is_read_back(parts: list[Part]) -> None:
    canonical = normalise(parts, NAME)
    raw = render(parts, NAME)
    turn = parse(raw, NAME, notation="her", turn_id="id")
    assert turn.parts == canonical
    assert render(turn.parts, NAME) == raw
    if {part.kind for part in canonical} > {"system_thinking"}:
        assert turn == Turn(id="id", speaker=NAME, parts=canonical, raw=raw)
