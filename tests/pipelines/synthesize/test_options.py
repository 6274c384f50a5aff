"""Settings of a run: which stages there are, and in which order they run."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.stages.stage_table import STAGES

BOOKS = (Path("book.txt"),)


def test_all_stages_run_by_default() -> None:
    options = SynthesisOptions(books=BOOKS)
    assert options.stages == tuple(STAGES) and options.adds_plans()


def test_stages_run_in_the_order_of_the_table() -> None:
    options = SynthesisOptions(books=BOOKS, stages=("settings", "role_thinking"))
    assert [stage.name for stage in options.chosen_stages()] == ["role_thinking", "settings"]
    assert not options.adds_plans()


def test_an_unknown_stage_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="stage 'cook' is unknown; there are role_thinking, settings, system_thinking"):
        SynthesisOptions(books=BOOKS, stages=("cook",))


def test_a_run_needs_a_source() -> None:
    with pytest.raises(ValidationError, match="nothing to read"):
        SynthesisOptions()


def test_sampling_and_groups_reach_the_stages() -> None:
    options = SynthesisOptions(books=BOOKS, seed=7, temperature=0.2)
    stage_options = options.stage_options()
    assert (stage_options.sampling.seed, stage_options.sampling.temperature) == (7, 0.2)
    assert stage_options.plans == options.plans and stage_options.scenes == options.books_to_scenes
