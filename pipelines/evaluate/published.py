"""Scores that others published, each with its judge and protocol. They are shown apart from ours and never compared with them."""

from typing import NamedTuple

COSER = "CoSER (arXiv:2502.09082), main table"
HER = "HER (arXiv:2601.21459), table 1"
MINIMAX = "MiniMaxAI/role-play-bench, leaderboard"


class PublishedScore(NamedTuple):
    """A score of another's evaluation, in points of 100.

    Args:
        interval: 95 %, where one was published; most are single runs without one.
    """

    suite: str
    model: str
    score: float
    judge: str
    protocol: str
    source: str
    interval: tuple[float, float] | None = None


_GPT4O, _QWEN = "gpt-4o-2024-08-06", "Qwen3-235B-A22B"
_HER_PROTOCOL = "HER's: judge, environment and next speaker one model, thoughts shown to the judge"
_COSER_ROWS = (("GPT-4o", 59.95), ("CoSER-70B", 59.06), ("CoSER-8B", 56.45))
_HER_ROWS = (
    ("Claude-4.5-Opus", 62.43),
    ("Gemini-3-Pro", 61.80),
    ("GPT-5.1", 61.10),
    ("DeepSeek-v3.2", 58.68),
    ("MiniMax-M2-her", 57.30),
    ("HER-RL", 53.12),
    ("HER-SFT", 50.92),
    ("CoSER-70B", 35.95),
    ("GPT-4o-240806", 27.69),
    ("Qwen3-32B", 22.86),
)
_MINIMAX_ROWS = (
    ("MiniMax-M2-her", 84.65, 83.62, 85.68),
    ("doubao-1.5-pro", 80.64, 79.58, 81.70),
    ("gpt-5.1", 80.63, 79.65, 81.61),
    ("opus-4.5-high", 76.62, 75.50, 77.73),
    ("gemini-3-pro", 75.60, 74.52, 76.68),
    ("opus-4.5-low", 71.19, 70.10, 72.28),
    ("sonnet-4.5", 69.35, 68.22, 70.47),
    ("gemini-2.5-pro", 68.23, 67.15, 69.31),
    ("deepseek-v3.1", 64.22, 62.95, 65.49),
    ("deepseek-v3.2", 60.27, 59.21, 61.34),
    ("grok-4.1", 48.47, 47.46, 49.49),
)
PUBLISHED: tuple[PublishedScore, ...] = (
    *(PublishedScore("coser", model, score, _GPT4O, "CoSER's", COSER) for model, score in _COSER_ROWS),
    *(PublishedScore("coser", model, score, _QWEN, _HER_PROTOCOL, HER) for model, score in _HER_ROWS),
    *(
        PublishedScore("role-play-bench", model, score, "not disclosed", "MiniMax's, 100 turns", MINIMAX, (low, high))
        for model, score, low, high in _MINIMAX_ROWS
    ),
)


def published_for(suite: str) -> list[PublishedScore]:
    """Return the published scores of a suite, in the order of their sources."""
    return [each for each in PUBLISHED if each.suite == suite]
