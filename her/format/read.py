"""Read the text of one turn into parts: a model's reply (`parse`) or what a person typed (`plain_turn`)."""

from collections.abc import Iterable

from her.format.coser_line import parse_coser_line
from her.format.markers import LONE_SURROGATE, Notation
from her.format.parser import Parser
from her.kinds import BARE
from her.types import Part, Turn, new_id


def parse(
    text: str,
    speaker: str,
    others: Iterable[str] = (),
    notation: Notation = "auto",
    reasoning: str = "",
    turn_id: str | None = None,
) -> Turn:
    """Parse the whole text of a turn; never raises for any `text`.

    Args:
        text: the model's text.
        speaker: whose turn it is.
        others: names whose line ends the turn.
        notation: see `Parser`.
        reasoning: text of an API-native reasoning field, taken as the plan.
        turn_id: id of the turn; default a new one.

    Raises:
        InputError: the notation is unknown.
    """
    others = tuple(others)
    if notation == "coser" and not reasoning and (turn := parse_coser_line(text, speaker, others, turn_id)):
        return turn
    parser = Parser(speaker, others, notation)
    parser.feed_reasoning(reasoning)
    parser.feed(text)
    return parser.close(turn_id)


def plain_turn(speaker: str, text: str, turn_id: str | None = None) -> Turn:
    """Return what a person typed as one speech part; tags, brackets and stars in it stay text.

    Args:
        turn_id: id of the turn; default a new one.
    """
    text = LONE_SURROGATE.sub("\ufffd", text)
    words = text.strip()
    parts = (Part(kind=BARE, text=words),) if words else ()
    return Turn(id=turn_id or new_id(), speaker=speaker, parts=parts, raw=text)
