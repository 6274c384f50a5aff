"""her/tokens.py: estimates for texts of which the length is known."""

import pytest

from her.tokens import estimate_tokens
from her.types import Message


@pytest.mark.parametrize(("text", "tokens"), [("", 4), ("a" * 36, 14), ("你好", 6), ("你好" + "a" * 36, 16)])
def test_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens([Message(role="user", content=text)]) == tokens
