"""her/format/patterns.py: the order of the kinds, and the entropy of such orders."""

from her.format import pattern, pattern_entropy
from tests.format.turns import parts_of


def test_patterns() -> None:
    assert pattern(parts_of("p:p|t:t|a:a|s:hi|a:b")) == "think-act-speech-act"
    assert pattern_entropy([]) == 0
    assert pattern_entropy(["a"] * 9) == 0
    assert pattern_entropy(["a", "b", "c", "d"]) == 2
