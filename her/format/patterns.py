"""Patterns: the order of the kinds in a turn, and the entropy of such orders. Definitions: docs/format.md."""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from her.kinds import TABLE, Kind
from her.types import Part

_WORDS: dict[Kind, str] = {entry.kind: entry.pattern for entry in TABLE if entry.pattern}


def pattern(parts: Iterable[Part]) -> str:
    """Return the order of the kinds, such as `think-act-speech`; the plan is left out and neighbours of one kind count once."""
    return "-".join(word for word, _ in groupby(_WORDS[part.kind] for part in parts if part.kind in _WORDS))


def pattern_entropy(patterns: Iterable[str]) -> float:
    """Return the Shannon entropy of the patterns in bits (log2); 0 when there are none."""
    counts = Counter(patterns).values()
    total = sum(counts)
    return math.fsum(count / total * math.log2(total / count) for count in counts)
