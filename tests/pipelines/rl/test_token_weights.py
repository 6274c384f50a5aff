"""pipelines/rl/token_weights.py: weights of mean 1 that follow what a token says about the persona."""

import pytest

torch = pytest.importorskip("torch")

from pipelines.rl.token_weights import TokenWeightOptions, persona_weights, without_persona  # noqa: E402

MASK = torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 0]])
OWN = torch.tensor([[-1.0, -1, -9, -5], [0, 0, 0, 0]])
WITHOUT = torch.tensor([[-5.0, -1, -1, -1], [0, 0, 0, 0]])


def test_the_mean_over_an_answer_is_one_and_a_telling_token_has_more() -> None:
    weights = persona_weights(OWN, WITHOUT, MASK, TokenWeightOptions(strength=1))
    assert float((weights * MASK)[0].sum() / 3) == pytest.approx(1)
    assert weights[0, 0] > weights[0, 1] > weights[0, 2] > 0
    assert float(weights[0, 0] / weights[0, 2]) == pytest.approx(4 / 0.25)


def test_strength_zero_and_masked_tokens_have_weight_one() -> None:
    weights = persona_weights(OWN, WITHOUT, MASK, TokenWeightOptions())
    assert torch.equal(weights, torch.ones_like(weights))
    assert persona_weights(OWN, WITHOUT, MASK, TokenWeightOptions(strength=1))[1].tolist() == [1, 1, 1, 1]


def test_the_prompt_without_the_persona_keeps_the_chat() -> None:
    prompt = [{"role": "system", "content": "You are Ann, a baker with a secret."}, {"role": "user", "content": "Bell: May I?"}]
    assert without_persona(prompt, "Ann") == [{"role": "system", "content": "You are Ann."}, prompt[1]]
