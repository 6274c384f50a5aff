"""pipelines/reward/scorer.py: batches, padding and rendered texts give the same scores as one sequence alone."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from her.judging.reward_models import reward_messages, score_turns  # noqa: E402
from pipelines.reward import scorer as scorer_module  # noqa: E402
from pipelines.reward.scorer import ScalarScorer  # noqa: E402
from tests.pipelines.reward.pairs_for_tests import preference, tiny, turn  # noqa: E402

pytestmark = pytest.mark.whole

TURNS = [turn("Come in."), turn("Go away, and do not come back before the tide turns.", thought="Who is it?"), turn("No.")]


def test_scores_do_not_depend_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, template = tiny(tmp_path, [preference()])
    scorer, prompt = ScalarScorer(trainer.model, template), preference().prompt
    together = score_turns(scorer, prompt, TURNS)
    assert len(set(together)) == 3
    monkeypatch.setattr(scorer_module, "TOKENS_AT_ONCE", 1)
    assert score_turns(scorer, prompt, TURNS) == pytest.approx(together, rel=1e-4, abs=1e-6)
    assert scorer.score_messages([reward_messages(prompt, each) for each in TURNS]) == pytest.approx(together, rel=1e-4, abs=1e-6)
    assert scorer.score([]) == []


def test_the_plan_changes_no_score_and_the_thought_does(tmp_path: Path) -> None:
    trainer, template = tiny(tmp_path, [preference()])
    scorer, prompt = ScalarScorer(trainer.model, template), preference().prompt
    plain, planned, thinking = (
        turn("Come in."),
        turn("Come in.", plan="Mara should agree."),
        turn("Come in.", thought="At last."),
    )
    first, second, third = score_turns(scorer, prompt, [plain, planned, thinking])
    assert first == pytest.approx(second, rel=1e-6) and first != pytest.approx(third, rel=1e-6)
