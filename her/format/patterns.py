"""Name the order of the visible kinds of a turn, and measure how varied such orders are (her.md 1.5)."""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from her.types import Kind, Part

_SHORT: dict[Kind, str] = {"role_thinking": "think", "role_action": "act", "speech": "speech"}


def pattern(parts: Iterable[Part]) -> str:
    """The order of the visible kinds, such as `think-act-speech` (her.md 1.5); the plan is left out."""
    return "-".join(name for name, _ in groupby(_SHORT[part.kind] for part in parts if part.kind in _SHORT))


def pattern_entropy(patterns: Iterable[str]) -> float:
    """Shannon entropy of the patterns in bits; 0 for none."""
    counts = Counter(patterns).values()
    total = sum(counts)
    return math.fsum(count / total * math.log2(total / count) for count in counts)
