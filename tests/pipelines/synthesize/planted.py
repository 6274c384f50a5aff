"""Read planted.json: scenes, honest answers and planted faults for the checks of synthesis, in English and Chinese."""

import json
from pathlib import Path
from typing import Any

from her.characters.coser import BookScene
from her.format import parse
from her.types import CastMember, Message, Sampling, Scenario, Turn
from pipelines.synthesize.questions import Question, StageAnswer
from pipelines.synthesize.stages.answers import CheckedItems, EnhancedTurns, RewrittenPlan, WrittenTurn

CASES: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
Case = tuple[str, int, str | None]


def cases(name: str) -> list[Case]:
    """Return the entries of a table: language, number of the turn from 0, text of the answer; None for a turn left out."""
    return [(language, at, text) for language, at, text in CASES[name]]


def batches(name: str, language: str) -> list[dict[int, str | None]]:
    """Return the entries of a table in one language, those of different turns together: number of the turn -> text."""
    runs: list[dict[int, str | None]] = []
    for each, at, text in cases(name):
        if each == language:
            free = next((run for run in runs if at not in run), None)
            if free is None:
                runs.append({at: text})
            else:
                free[at] = text
    return runs


def planted_scene(language: str, passage: str = "") -> BookScene:
    """Return the English or the Chinese scene."""
    scene = CASES["scenes"][language]
    turns = tuple(
        Turn(id=f"{number:032x}", speaker=speaker, parts=parse(text, speaker, notation="coser").parts, raw=text)
        for number, (speaker, text) in enumerate(scene["lines"])
    )
    return BookScene(
        id=f"{language}0" + "0" * 29,
        book="Planted",
        plot=0,
        conversation=0,
        scenario=Scenario(id="planted", language="zh" if language == "zh" else "en", setting=scene["setting"]),
        cast=tuple(CastMember(**member) for member in scene["cast"]),
        major=tuple(member["name"] for member in scene["cast"]),
        turns=turns,
        passage=passage,
    )


class PlantedTeacher:
    """An `Asker` without a server: it gives the good turns and plans of a scene, but for those of `over`.

    Args:
        over: text of the turns, or of the plans, by number of the turn; None leaves a turn out.
        checker: faults by the text that a checker is asked about.
    """

    def __init__(self, language: str, over: dict[int, str | None], checker: dict[str, list[str]] | None = None) -> None:
        good = CASES["scenes"][language]
        self.turns: dict[int, str | None] = dict(enumerate(good["turns"])) | over
        self.plans: dict[int, str | None] = dict(enumerate(good["plans"])) | over
        self.checker = checker or {}
        self.asked: list[str] = []

    async def ask(self, question: Question, messages: tuple[Message, ...], sampling: Sampling) -> StageAnswer:
        """Answer at once."""
        payload = json.loads(messages[-1].content)
        self.asked.append(question.name)
        if question.checker:
            items = [{"id": item["id"], "faults": self.checker.get(item["text"], [])} for item in payload["items"]]
            return StageAnswer(value=CheckedItems.model_validate({"items": items}))
        if question.schema is EnhancedTurns:
            turns = [
                WrittenTurn(id=f"t{at + 1}", text=text)
                for at, text in self.turns.items()
                if text and f"t{at + 1}" in payload["ask"]
            ]
            return StageAnswer(value=EnhancedTurns(turns=turns))
        at = len(payload["history"])  # every turn of the planted scenes is visible to everybody
        return StageAnswer(value=RewrittenPlan(plan=self.plans[at] or ""))
