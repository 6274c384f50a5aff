"""Settings of a run: which stages there are, and in which order they run."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from her.types import Sampling
from pipelines.synthesize.option_groups import TeacherOptions
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


def test_requests_to_a_teacher_have_room_to_think_and_what_its_server_wants() -> None:
    plain = TeacherOptions(room=5000).request(Sampling(max_tokens=1000))
    assert plain == Sampling(max_tokens=6000)
    teacher = TeacherOptions(
        room=70, effort="low", tokens_field="max_completion_tokens", leave_out=("temperature",), body={"top_k": 20}
    )
    asked = teacher.request(Sampling(max_tokens=30))
    fields = {"max_tokens": None, "max_completion_tokens": 100, "temperature": None, "reasoning_effort": "low", "top_k": 20}
    assert asked.max_tokens == 100 and json.loads(asked.extra) == fields
    assert TeacherOptions(room=60_000).request(Sampling(max_tokens=65_000)).max_tokens == 65_536
    with pytest.raises(ValidationError, match="'stream' is set by this program"):
        TeacherOptions(body={"stream": True})


def test_sampling_and_groups_reach_the_stages() -> None:
    options = SynthesisOptions(books=BOOKS, seed=7, temperature=0.2)
    stage_options = options.stage_options()
    assert (stage_options.sampling.seed, stage_options.sampling.temperature) == (7, 0.2)
    assert stage_options.plans == options.plans and stage_options.scenes == options.books_to_scenes
