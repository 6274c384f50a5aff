"""Plots are held against the text of their piece, and joined across pieces."""

from typing import Any

import pytest

from pipelines.synthesize.option_groups import SceneOptions
from pipelines.synthesize.sources.pieces import Piece
from pipelines.synthesize.stages.answers import Plot
from pipelines.synthesize.stages.plots import FoundPlot, anchored_plots, join_plots, open_plots

OPTIONS = SceneOptions(chunk_tokens=600, least_turns=4)
TEXT = (
    "The night is late. ‘Who goes there?’ cried Bernardo in the dark. Nay, answer me: stand, and unfold yourself. "
    "The bell beats one."
)


def plot(**changes: Any) -> Plot:
    talk = {"scenario": "On the wall at night.", "dialogues": [{"character": "A", "message": "Who goes there?"}]}
    right = {
        "first_sentence": "The night is late.",
        "last_sentence": "The bell beats one.",
        "summary": "Guards meet.",
        "conversation": [talk],
    }
    return Plot.model_validate({**right, **changes})


@pytest.mark.parametrize(
    ("changes", "kept", "reason"),
    [
        ({}, 1, ""),
        ({"first_sentence": "Not there at all, ever.", "last_sentence": "Nor is this one, I fear."}, 1, ""),
        ({"first_sentence": "Nope never.", "last_sentence": "Nor this.", "conversation": []}, 0, "neither its first and last"),
        (
            {"conversation": [{"dialogues": [{"character": "A", "message": "Invented from top to toe."}]}]},
            1,
            "0 of 1 lines",
        ),
        ({"conversation": [{"dialogues": [{"character": "environment", "message": "Night."}]}]}, 1, "nobody speaks"),
        ({"key_characters": [{"name": "A"}, {"name": " A "}, {"name": "  B  C"}]}, 1, "'A' is listed twice"),
    ],
)
def test_what_is_not_in_the_text_is_left_out_with_its_reason(changes: dict[str, Any], kept: int, reason: str) -> None:
    skipped: list[str] = []
    found = anchored_plots([plot(**changes)], Piece(0, "I", TEXT), OPTIONS, "here", lambda where, why: skipped.append(why))
    assert len(found) == kept and any(reason in why for why in skipped or [""])
    if kept:
        assert found[0].text and found[0].text in TEXT and found[0].chapter == "I"


def found(name: str, summary: str, *, open: bool = False, continues: str = "", said: str = "Who?") -> FoundPlot:
    talk = {"scenario": f"{summary} {name}", "dialogues": [{"character": "A", "message": said}]}
    return FoundPlot(name, 0, "", said, plot(summary=summary, continues=continues, conversation=[talk]), open)


GUARDS = "The guards meet on the wall at night and speak of the ghost"


@pytest.mark.parametrize(
    ("later", "plots"),
    [
        (found("q", "Something quite different is told now", continues="p", said="Me!"), ["p"]),
        (found("q", f"{GUARDS} again", said="Me!"), ["p"]),
        (found("q", "In Paris a tailor counts his buttons in the rain", said="Me!"), ["p", "q"]),
        (found("q", "In Paris a tailor counts his buttons in the rain", continues="p7", said="Me!"), ["p", "q"]),
    ],
    ids=["named", "alike", "unlike", "names nobody"],
)
def test_a_plot_cut_between_pieces_is_joined(later: FoundPlot, plots: list[str]) -> None:
    first = found("p", GUARDS, open=True)
    assert open_plots([first])[0]["id"] == "p"
    both = join_plots([first], [later])
    assert [each.id for each in both] == plots and not both[0].open
    if len(plots) == 1:
        lines = [line.message for talk in both[0].plot.conversation for line in talk.dialogues]
        assert lines == ["Who?", "Me!"] and both[0].text == "Who?\nMe!"
    assert open_plots(both) == []
