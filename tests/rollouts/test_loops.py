"""her/rollouts/loops.py: what repeats without end is cut, what people say twice is not."""

import time

import pytest

from her.rollouts.loops import without_loops

LINE = "I told you about the storm. "


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a" * 5000, "a" * 20),
        ("No" + "o" * 300 + "!", "N" + "o" * 20 + "!"),
        ("ha " * 400, "ha ha ha ha ha ha ha"),
        ("好" * 200, "好" * 20),
        ("Well. " + LINE * 40 + "Then?", "Well. " + LINE + "Then?"),
    ],
)
def test_loops_are_cut(text: str, kept: str) -> None:
    assert without_loops(text).strip() == kept.strip()


@pytest.mark.parametrize("text", ["", "Ha ha ha ha ha!", "no, " * 20, "-" * 60, LINE * 4, "".join(map(str, range(900)))])
def test_honest_text_stays(text: str) -> None:
    assert without_loops(text) == text


def test_long_text_takes_little_time() -> None:
    text = " ".join(f"word{number % 97} and {number}" for number in range(2000))
    began = time.process_time()
    assert without_loops(text) == text and without_loops(text + LINE * 9).endswith(text[-20:] + LINE)
    assert time.process_time() - began < 1
