"""Read the text of one turn into parts: a model's reply (`parse`) or what a person typed (`plain_turn`)."""

from collections.abc import Iterable

from her.format import coser_line
from her.format.markers import LONE_SURROGATE, Notation
from her.format.parser import Parser
from her.types import Part, Turn


def parse(
    text: str,
    speaker: str,
    others: Iterable[str] = (),
    notation: Notation = "auto",
    reasoning: str = "",
    turn_id: str | None = None,
) -> Turn:
    """Read a whole turn: `Parser`, fed once. Never raises for any `text`; `raw` is the text."""
    others = tuple(others)
    if notation == "coser" and not reasoning and (turn := coser_line.parse_coser_line(text, speaker, others, turn_id)):
        return turn
    parser = Parser(speaker, others, notation)
    parser.feed_reasoning(reasoning)
    parser.feed(text)
    return parser.close(turn_id)


def plain_turn(speaker: str, text: str) -> Turn:
    """What a person typed, as one speech part: tags, brackets and stars in it are text."""
    text = LONE_SURROGATE.sub("\ufffd", text)
    spoken = text.strip()
    return Turn(speaker=speaker, parts=(Part(kind="speech", text=spoken),) if spoken else (), raw=text)
