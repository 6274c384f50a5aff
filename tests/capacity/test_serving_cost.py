"""her/capacity/serving_cost.py against figures calculated by hand for one H200, 90 % of its memory filled."""

import pytest

from her.capacity.gpus import GPUS
from her.capacity.serving_cost import estimate_serving
from her.capacity.shapes import SHAPES
from tests.capacity.examples import H200


@pytest.mark.parametrize(
    ("name", "context", "decode"),
    [
        ("Qwen3-0.6B", 1024, 40e3),
        ("Qwen3-0.6B", 2048, 20e3),
        ("Qwen3-0.6B", 4096, 10e3),
        ("Qwen3-4B", 1024, 29.8e3),
        ("Qwen3-4B", 2048, 14.9e3),
        ("Qwen3-4B", 4096, 7.4e3),
        ("Qwen3-32B", 1024, 8.6e3),
        ("Qwen3-32B", 2048, 4.3e3),
        ("Qwen3-32B", 4096, 2.2e3),
    ],
)
def test_decoding_is_that_of_the_table(name: str, context: int, decode: float) -> None:
    unit = 10 ** (len(str(int(decode))) - (1 if decode in (40e3, 20e3, 10e3) else 3 if decode > 1e4 else 2))
    assert estimate_serving(SHAPES[name], H200, context).decode == pytest.approx(decode, abs=unit / 2)


@pytest.mark.parametrize(
    ("name", "cache", "concurrency", "prefill"),
    [("Qwen3-0.6B", 112, 535, 830e3), ("Qwen3-4B", 144, 393, 123e3), ("Qwen3-32B", 256, 114, 15.5e3)],
)
def test_serving_is_that_of_the_table(name: str, cache: int, concurrency: int, prefill: float) -> None:
    estimate = estimate_serving(SHAPES[name], H200, 2048)
    assert (estimate.kv_bytes, estimate.concurrency) == (cache * 1024, concurrency)
    assert estimate.prefill == pytest.approx(prefill, rel=0.003)


def test_what_does_not_fit_on_a_card_is_not_served() -> None:
    estimate = estimate_serving(SHAPES["Qwen3-32B"], GPUS["RTX4090"], 2048)
    assert (estimate.concurrency, estimate.decode, estimate.prefill) == (0, 0, 0)
