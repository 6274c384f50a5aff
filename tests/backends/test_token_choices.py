"""her/backends/openai_fields.py: log-probabilities as servers send them, and whatever else stands there."""

import math
from typing import Any

import pytest

from her.backends.base import CHOICES_KEPT, LEAST_LOGPROB
from her.backends.openai_fields import token_choices


def token(text: Any = " A", logprob: Any = -0.1, **others: Any) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, **others}


def test_the_last_tokens_are_kept_likeliest_first() -> None:
    listed = [token(str(place), 0) for place in range(40)]
    listed.append(token(" A", -2.0, top_logprobs=[token(" B", -0.2), token(" tie", -9999), "x", token(None)]))
    found = token_choices({"content": listed})
    assert len(found) == CHOICES_KEPT and found[0].text == str(41 - CHOICES_KEPT)
    assert found[-1].text == " A" and found[-1].logprobs == ((" B", -0.2), (" A", -2.0), (" tie", -9999.0))


@pytest.mark.parametrize("value", [-math.inf, -1e300])
def test_what_is_as_good_as_impossible_can_be_recorded(value: float) -> None:
    assert token_choices({"content": [token(logprob=value)]})[0].logprobs == ((" A", LEAST_LOGPROB),)


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "logprobs",
        {},
        {"content": None},
        {"content": {}},
        {"tokens": [" A"], "token_logprobs": [-0.1]},  # the old completions API
        {"content": [token(), None]},
        {"content": [token(logprob="-0.1")]},
        {"content": [token(logprob=True)]},
        {"content": [token(logprob=math.nan)]},
        {"content": [token(logprob=3.0)]},
        {"content": [token(text=7)]},
        {"content": [{"token": " A"}]},
    ],
)
def test_other_forms_give_none(given: Any) -> None:
    assert token_choices(given) == ()


def test_half_a_character_can_be_recorded() -> None:
    (found,) = token_choices({"content": [token("\ud83d", top_logprobs=[token("\ude00")])]})
    assert found.text == "�"
