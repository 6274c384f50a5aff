"""Make attacked versions of honest turns for training, as negatives; her/judging/honest_turns.py makes those of an evaluation."""

from collections.abc import Sequence

from her.judging.adversarial import ATTACKS
from her.judging.honest_turns import attacked_pairs, honest_turns
from her.types import Preference, Verdict

__all__ = ["attack_negatives", "attacked_pairs", "honest_turns"]


def attack_negatives(preferences: Sequence[Preference], kinds: Sequence[str], share: float, seed: int) -> list[Preference]:
    """Return attacks as preferences for training: `share` times as many as there are preferences, evenly over the kinds."""
    if not kinds:
        return []
    pairs = attacked_pairs(preferences, kinds, max(1, round(share * len(preferences) / len(kinds))), seed)
    return [
        Preference(
            prompt=pair.question.prompt,
            chosen=pair.question.a,
            rejected=pair.question.b,
            verdict=Verdict(winner="a", judge=f"attack:{pair.kind}"),
        )
        for pair in pairs
        if not ATTACKS[pair.kind].tie_passes  # a longer turn is not a worse one for certain
    ]
