"""Tests of the pinned overrides: a TRL with other private methods is noticed before a model is loaded."""

import inspect

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.whole


def test_the_overridden_methods_have_the_signatures_they_were_written_for() -> None:
    import trl

    from pipelines.rl import trl_overrides

    trl_overrides.require_known_trl()
    assert trl.__version__.startswith(trl_overrides.TRL)
    overridden = {
        name
        for name, value in {**vars(trl_overrides.GroupMethods), **vars(trl_overrides.TextPrompts)}.items()
        if inspect.isfunction(value) and hasattr(trl.GRPOTrainer, name)
    }
    assert overridden == set(trl_overrides.SIGNATURES)


def test_another_signature_stops_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import trl

    from her.errors import HerError
    from pipelines.rl.trl_overrides import require_known_trl

    monkeypatch.setattr(trl.GRPOTrainer, "_prepare_inputs", lambda self, batch: batch)
    with pytest.raises(HerError, match=r"_prepare_inputs\(self, batch\)"):
        require_known_trl()
