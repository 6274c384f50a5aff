"""Ask a checker model what needs a reader: whose voice, what is known, where a plan leads, what a quotation says.

The second tier of the checks: a question a conversation, one for each batch of plans, one for the added facts of a scene. It is
off unless `checker` names endpoints. docs/protocols.md has the protocol with the JSON schema. An item is checked only when the
answer has exactly one entry for it and knows every code in it; any other answer, and a failed call, leaves it unchecked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from her.characters.coser import BookScene
from her.types import Defect
from pipelines.synthesize.checks.problems import problem
from pipelines.synthesize.questions import Question, StageContext
from pipelines.synthesize.stages.answers import CheckedItem, CheckedItems
from pipelines.synthesize.stages.turn_text import turn_body, turn_labels

CHECK_TURNS = Question("check_turns", "check_turns", CheckedItems, checker=True)
CHECK_PLANS = Question("check_plans", "check_plans", CheckedItems, checker=True)
CHECK_FACTS = Question("check_facts", "check_facts", CheckedItems, checker=True)
CODES: dict[str, frozenset[str]] = {
    "check_turns": frozenset(("voice", "knows", "unfit", "meaning", "acts_for_other")),
    "check_plans": frozenset(("voice", "knows", "other_turn", "opposite", "generic")),
    "check_facts": frozenset(("unsupported", "not_needed", "during_scene", "secret", "other_character")),
}
"""Task -> the codes of its faults. Each has an entry `checker_CODE` in `PROBLEMS`."""
BATCH = 40
"""Most items of one question."""
ANSWER_TOKENS, ITEM_TOKENS = 512, 120
"""Tokens of an answer: for itself, and for each item."""

Found = dict[str, tuple[Defect, ...]]
"""Id of an item -> its faults; empty for one that passed; an item that was not checked is not there."""


async def check_items(question: Question, scene: BookScene, items: Sequence[Mapping[str, Any]], context: StageContext) -> Found:
    """Return what the checker found of each item; nothing when there is no checker.

    Args:
        items: what is checked: `id`, `text` and what the question needs beside them.
    """
    found: Found = {}
    if not context.options.checked:
        return found
    for first in range(0, len(items), BATCH):
        batch = items[first : first + BATCH]
        messages = question.messages(scene.scenario.language, {**_scene_payload(scene), "items": list(batch)})
        answer = await context.ask(question, messages, max_tokens=ANSWER_TOKENS + ITEM_TOKENS * len(batch), temperature=0.0)
        if isinstance(answer.value, CheckedItems):
            found |= read_faults(question.name, [str(item["id"]) for item in batch], answer.value.items)
        if unchecked := [str(item["id"]) for item in batch if item["id"] not in found]:
            why = answer.error or "the answer has no entry for them, two, or an unknown code"
            context.notes.skip(
                question.name, f"scene {scene.id}, {', '.join(unchecked[:5])}", f"{len(unchecked)} not checked: {why}"
            )
    return found


def read_faults(task: str, wanted: Sequence[str], entries: Sequence[CheckedItem]) -> Found:
    """Return the faults of each wanted item that has one entry with known codes only."""
    found: Found = {}
    for item in wanted:
        own = [entry for entry in entries if entry.id == item]
        if len(own) == 1 and CODES[task].issuperset(own[0].faults):
            found[item] = tuple(problem(f"checker_{code}", own[0].reason) for code in dict.fromkeys(own[0].faults))
    return found


def _scene_payload(scene: BookScene) -> dict[str, Any]:
    """Return what the checker is shown of the scene: everything, since it judges who can know what."""
    labels = turn_labels(scene.turns)
    return {
        "setting": scene.scenario.setting,
        "characters": [
            {"name": member.name, "profile": member.profile, "background": member.background, "motivation": member.motivation}
            for member in scene.cast
        ],
        "turns": [
            {"id": labels[turn.id], "speaker": turn.speaker, "text": turn_body(turn)} for turn in scene.turns if turn.parts
        ],
    }
