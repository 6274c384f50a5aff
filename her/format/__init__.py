"""Convert between text and parts: parser (`parse`, `Parser`), writers (`render`, `render_coser`), table of `DEFECTS`.

docs/format.md describes the format.
"""

from her.format.foreign_marks import without_end
from her.format.markers import Notation
from her.format.neighbours import merged
from her.format.parser import Parser
from her.format.patterns import pattern, pattern_entropy
from her.format.read import parse, plain_turn
from her.format.render import Rendering, coser_notation, render, render_coser
from her.format.thinking import after_thinking, written_plan
from her.format.turn_builder import DEFECTS, normalise

__all__ = [
    "DEFECTS",
    "Notation",
    "Parser",
    "Rendering",
    "after_thinking",
    "coser_notation",
    "merged",
    "normalise",
    "parse",
    "pattern",
    "pattern_entropy",
    "plain_turn",
    "render",
    "render_coser",
    "without_end",
    "written_plan",
]
