"""List the stages in one table, which the settings, the runner, the rounds on Ray and the report read.

To add a stage:

1. Write `stages/NAME.py` with a `Question` and a function `(scene, context) -> scene`. It asks with `context.ask`, reads its
   settings in `context.options` (a new group goes into `option_groups.py`) and records what it did in `context.notes`.
2. Write the prompt `her/prompts/PROMPT.LANGUAGE.md` for every language, and a rule for `teacher:` in `her/backends/teacher.py`.
3. Add a line to `STAGES` here, where it shall run, and one to the table in docs/protocols.md (a test compares them).

Raw books are turned into scenes before all stages (`stages/books_to_scenes.py`): they are no stage, since a stage takes one
scene to one scene.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from her.characters.coser import BookScene
from pipelines.synthesize.option_groups import StageOptions
from pipelines.synthesize.questions import Question, StageContext
from pipelines.synthesize.stages.role_thinking import ENHANCE, enhance_thoughts
from pipelines.synthesize.stages.settings import COMPLETE, complete_setting
from pipelines.synthesize.stages.system_thinking import DRAFT, REWRITE, add_plans

Improve = Callable[[BookScene, StageContext], Awaitable[BookScene]]
FIRST_INPUT = "scenes"
"""Name of the file of scenes that the first stage reads: `scenes.jsonl`, every scene as it was read."""


class SceneStage(NamedTuple):
    """One entry of the table.

    A stage reads the scenes of the stage before it and writes `NAME.jsonl`, and beside it `NAME.turns.jsonl` and
    `NAME.skipped.jsonl` (pipelines/synthesize/run_stages.py).

    Args:
        name: name in the setting `stages`, of the files and in the report; the first question has the same name.
        purpose: what it does, one sentence.
        questions: everything it asks, with prompt and schema.
        improve: takes a scene to the scene with the changes.
        calls: number of questions for so many scenes and turns, when every first answer is valid; for the forecast.
        on_ray: whether `executor=ray` asks its questions on the cluster; only for stages whose questions depend on nothing
            but the scene and earlier answers.
        adds_plans: whether every turn of a character should have a plan afterwards; a sample without one is then dropped.
    """

    name: str
    purpose: str
    questions: tuple[Question, ...]
    improve: Improve
    calls: Callable[[int, int, StageOptions], int]
    on_ray: bool = True
    adds_plans: bool = False


def _one_per_scene(scenes: int, turns: int, options: StageOptions) -> int:
    return scenes


def _one_or_two_per_turn(scenes: int, turns: int, options: StageOptions) -> int:
    return turns * (1 + options.plans.draft)


# In the order in which they run: settings before plans, so that the live prompt of a draft is the prompt of its sample.
STAGES = {
    stage.name: stage
    for stage in (
        SceneStage(
            name="role_thinking",
            purpose="Deepen the thoughts of a scene and vary the order of thoughts, actions and speech.",
            questions=(ENHANCE,),
            improve=enhance_thoughts,
            calls=_one_per_scene,
        ),
        SceneStage(
            name="settings",
            purpose="Add facts to the setting that the dialogue shows and the source says.",
            questions=(COMPLETE,),
            improve=complete_setting,
            calls=_one_per_scene,
        ),
        SceneStage(
            name="system_thinking",
            purpose="Put a plan in front of every turn.",
            questions=(REWRITE, DRAFT),
            improve=add_plans,
            calls=_one_or_two_per_turn,
            adds_plans=True,
        ),
    )
}
"""Stages by name."""
