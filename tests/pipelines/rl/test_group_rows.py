"""Tests of groups as one row: log-probabilities, loss and gradients equal those of TRL's padded rows."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.whole

from tests.pipelines.rl.groups import SIZE, loss_and_gradients, make_batch, make_trainer  # noqa: E402
from tests.tiny import make_tiny  # noqa: E402

LOSSES: tuple[dict[str, Any], ...] = (
    {"loss_type": "dapo", "beta": 0.05, "use_bias_correction_kl": True},
    {"loss_type": "grpo", "beta": 0.05},
    {"loss_type": "dr_grpo"},
    {"loss_type": "cispo", "epsilon_high": 5.0},
    {"loss_type": "grpo", "importance_sampling_level": "sequence"},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("settings", LOSSES, ids=lambda each: "-".join(map(str, each.values())))
@pytest.mark.parametrize("rank", [0, 4])
def test_loss_and_gradients_are_those_of_trl(folder: Path, rank: int, settings: dict[str, Any]) -> None:
    trainer = make_trainer(folder, rank, **settings)
    batch = make_batch()
    loss, gradients = loss_and_gradients(trainer, batch, shared=True)
    expected, wanted = loss_and_gradients(trainer, batch, shared=False)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert gradients.keys() == wanted.keys() and gradients
    for name, gradient in wanted.items():
        assert float((gradients[name] - gradient).norm()) <= 1e-5 * max(float(gradient.norm()), 1e-6), name


def test_a_prompt_that_one_answer_does_not_see_is_noticed(folder: Path) -> None:
    trainer = make_trainer(folder)
    batch = make_batch()
    loss, _ = loss_and_gradients(trainer, batch, shared=True)
    batch["prompt_ids"][1, -2] = 99
    other, _ = loss_and_gradients(trainer, batch, shared=True)
    expected, _ = loss_and_gradients(trainer, batch, shared=False)
    assert other == pytest.approx(expected, rel=1e-5) and other != pytest.approx(loss, rel=1e-5)


def test_batch_size_is_honoured_and_changes_no_number(folder: Path) -> None:
    import torch

    trainer = make_trainer(folder)
    rows: list[int] = []
    trainer.model.register_forward_pre_hook(lambda _, words, named: rows.append(named["input_ids"].shape[1]), with_kwargs=True)
    batch = make_batch()
    ids = torch.cat((batch["prompt_ids"], batch["completion_ids"]), 1)
    mask = torch.cat((batch["prompt_mask"], batch["completion_mask"]), 1)
    with torch.no_grad():
        whole, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 9)
        parts, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 9, batch_size=SIZE)
    assert torch.allclose(whole, parts, atol=1e-6)
    assert rows[0] == sum(rows[1:]) and len(rows) == 3


def test_the_reference_model_honours_shared_prefixes(folder: Path) -> None:
    import torch

    trainer, batch = make_trainer(folder, beta=0.05), make_batch()
    ids = torch.cat((batch["prompt_ids"], batch["completion_ids"]), 1)
    mask = torch.cat((batch["prompt_mask"], batch["completion_mask"]), 1)
    found = []
    with torch.no_grad():
        for trainer.shared in (True, False):
            found.append(
                trainer._get_per_token_logps_and_entropies(trainer.ref_model, ids, mask, 9)[0] * batch["completion_mask"]
            )
    assert torch.allclose(*found, atol=1e-5) and bool(found[0].any())


@pytest.mark.parametrize("rank", [0, 4])
def test_the_correction_for_the_sampler_is_trls(folder: Path, rank: int) -> None:
    """With vLLM TRL multiplies the loss of each token by an importance ratio; vLLM itself is not needed for that."""
    import torch

    trainer = make_trainer(folder, rank)
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    ratio = torch.rand(6, 9, generator=torch.Generator().manual_seed(5)) + 0.5
    batch = make_batch(importance_sampling_ratio=ratio)
    loss, gradients = loss_and_gradients(trainer, batch, shared=True)
    expected, wanted = loss_and_gradients(trainer, batch, shared=False)
    plain, _ = loss_and_gradients(trainer, make_batch(importance_sampling_ratio=torch.ones(6, 9)), shared=True)
    assert loss == pytest.approx(expected, rel=1e-5) and loss != pytest.approx(plain, rel=1e-3)
    for name, gradient in wanted.items():
        assert float((gradients[name] - gradient).norm()) <= 1e-5 * max(float(gradient.norm()), 1e-6), name


def test_an_answer_that_is_masked_whole_costs_no_token_and_gives_a_gradient_of_zero(folder: Path) -> None:
    trainer = make_trainer(folder)
    batch = make_batch()
    batch["completion_mask"] = batch["completion_mask"] * 0
    loss, gradients = loss_and_gradients(trainer, batch, shared=True)
    assert loss == 0 and all(not gradient.any() for gradient in gradients.values())


def test_a_micro_batch_holds_whole_groups_after_the_shuffle(folder: Path) -> None:
    trainer = make_trainer(
        folder, per_device_train_batch_size=SIZE, gradient_accumulation_steps=2, steps_per_generation=2, learning_rate=1e-4
    )
    seen: list[list[int]] = []
    compute = trainer._compute_loss

    def watched(model: Any, inputs: Any) -> Any:
        seen.append(inputs["group"].tolist())
        prompts = {tuple(ids.tolist()) for ids in inputs["prompt_ids"]}
        assert len(prompts) == 1
        return compute(model, inputs)

    trainer._compute_loss = watched
    trainer.train()
    assert [len(set(groups)) for groups in seen] == [1] * 4 and {seen[0][0], seen[1][0]} == {0, 1}


def test_answers_are_those_that_trl_would_draw_and_the_prompt_is_read_once(folder: Path) -> None:
    import torch

    trainer = make_trainer(folder)
    prompts = [[5, 6, 7, 8, 9, 10, 11]] * SIZE + [[5, 6, 20, 21]] * SIZE
    widths: list[tuple[int, ...]] = []
    trainer.model.base_model.register_forward_pre_hook(
        lambda _, words, named: widths.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    drawn = []
    for shared in (True, False):
        trainer.shared = shared
        torch.manual_seed(1)
        drawn.append(trainer._generate_single_turn(prompts, None, {}, SIZE)[0])
        if shared:
            assert widths[0] == (2, 6) and all(width == (6, 1) for width in widths[1:])
    assert drawn[0] == drawn[1] and len({tuple(answer) for answer in drawn[0]}) > 2
