"""Write a plan (system thinking) for every turn: drafted forward by a reasoning model, rewritten backward toward the turn.

Forward: the model gets the live prompt (her/view.py) and plays the turn; its own thinking is the draft. Backward: the
draft is rewritten into a plan that leads to the turn of the book. Both steps are HER's (docs/protocols.md, Synthesis).
HER's rewriter sees the whole dialogue; here it is given only what the character can know, with one question per turn, so
neither a later turn nor another's thought can leak into a plan.
"""

from collections.abc import Mapping
from typing import Any

from her.characters.coser import BookScene
from her.format import normalise, parse, render, written_plan
from her.kinds import REPLY_KINDS
from her.types import ENVIRONMENT, Defect, Message, Part, Transcript, Turn
from her.view import Viewer, line, messages
from pipelines.synthesize.checks.knowledge import Sight, sight
from pipelines.synthesize.checks.plans import plan_problems
from pipelines.synthesize.concurrency import gather_all
from pipelines.synthesize.notes import Fate, TurnRecord
from pipelines.synthesize.questions import Question, StageAnswer, StageContext
from pipelines.synthesize.stages.answers import RewrittenPlan
from pipelines.synthesize.stages.turn_text import describe_problems

DRAFT = Question("system_thinking_draft")
REWRITE = Question("system_thinking", "rewrite_plan", RewrittenPlan, rewriter=True)
LONGEST_DRAFT = 6_000
"""Characters of a draft that the rewriter is given, from its end: there the thinking arrives at the turn."""
JSON_TOKENS = 512
"""Tokens of an answer beside the plan, which gets a token for each character."""


async def add_plans(scene: BookScene, context: StageContext) -> BookScene:
    """Return the scene with a plan in front of every turn of a character; turns that got none are recorded."""
    everybody = context.options.plans.everybody
    wanted = [
        at
        for at, turn in enumerate(scene.turns)
        if turn.speaker != ENVIRONMENT and turn.parts and (everybody or turn.speaker in scene.major)
    ]
    transcript = scene.transcript()
    planned = await gather_all(_plan_turn(transcript, at, context) for at in wanted)
    turns = list(scene.turns)
    for at, (turn, record) in zip(wanted, planned, strict=True):
        turns[at] = turn
        context.notes.turns.append(record)
    return scene.model_copy(update={"turns": tuple(turns)})


async def _plan_turn(transcript: Transcript, at: int, context: StageContext) -> tuple[Turn, TurnRecord]:
    """Turn `at` with its plan, and its record."""
    turn = transcript.turns[at]
    band = _length_band(transcript, context)
    seen = sight(transcript, at)
    draft = await _draft(transcript, at, context) if context.options.plans.draft else ""
    payload = rewriter_payload(transcript, at, draft, band)
    answer = await _rewrite(transcript, turn.speaker, payload, context)
    first = last = _problems(answer, turn, seen, band)
    if first:
        payload |= {"reasons": describe_problems(first), "tried": _plan_text(answer)}
        answer = await _rewrite(transcript, turn.speaker, payload, context)
        last = _problems(answer, turn, seen, band)
    plan = _plan_text(answer)
    fate: Fate = "changed"
    if last or not plan:
        # A draft that passes every check is a plan as well, only not led toward this turn by the rewriter.
        valid = draft and not plan_problems(draft, turn, seen, band)
        plan, fate = (draft, "kept") if valid else ("", "missing")
    record = TurnRecord(
        stage=REWRITE.name,
        scene=transcript.id,
        turn=turn.id,
        speaker=turn.speaker,
        fate=fate,
        asked=2 if first else 1,
        first=tuple(each.name for each in first),
        problems=last,
        error=answer.error,
        refused=_plan_text(answer) if last else "",
    )
    return (with_plan(turn, plan) if plan else turn), record


def _length_band(transcript: Transcript, context: StageContext) -> tuple[int, int]:
    least, most = context.options.plans.characters
    # A Chinese text says as much in about two fifths of the characters.
    return (least, most) if transcript.scenario.language == "en" else (least * 2 // 5, most * 2 // 5)


def with_plan(turn: Turn, plan: str) -> Turn:
    """Return the turn with this plan in front, replacing any other, in the canonical text and under the same id."""
    others = (part for part in turn.parts if part.kind != "system_thinking")
    parts = normalise([Part(kind="system_thinking", text=plan), *others], turn.speaker)
    return Turn(id=turn.id, speaker=turn.speaker, parts=parts, raw=render(parts, turn.speaker))


def forward_prompt(transcript: Transcript, at: int) -> tuple[Message, ...]:
    """Return the live prompt of turn `at`: byte for byte what the playground would send."""
    return messages(transcript, transcript.turns[at].speaker, transcript.turns[:at])


async def _draft(transcript: Transcript, at: int, context: StageContext) -> str:
    """Let a reasoning model play the turn; return its thinking, empty when it gave none, which is no failure.

    Without `teacher.harvest` only the plan that it wrote into its answer is returned.
    """
    turn = transcript.turns[at]
    answer = await context.ask(DRAFT, forward_prompt(transcript, at), max_tokens=context.options.plans.draft_tokens)
    if not context.options.teacher.harvest:
        return written_plan(answer.text)[-LONGEST_DRAFT:]
    played = parse(answer.text, turn.speaker, reasoning=answer.reasoning)
    return played.text("system_thinking")[-LONGEST_DRAFT:]


def rewriter_payload(transcript: Transcript, at: int, draft: str, band: tuple[int, int]) -> dict[str, Any]:
    """Return what the rewriter of turn `at` is given: nothing that its character cannot know."""
    turn = transcript.turns[at]
    member = transcript.member(turn.speaker)
    viewer = Viewer(kind="character", name=turn.speaker)
    return {
        "name": member.name,
        "book": transcript.scenario.source,
        "profile": member.profile,
        "background": member.background,
        "motivation": member.motivation,
        "setting": transcript.scenario.setting,
        # Profiles only: background and motivation of the others are private.
        "company": {other.name: other.profile for other in transcript.cast if other.name != member.name},
        "history": [text for before in transcript.turns[:at] if (text := line(before, viewer))],
        "turn": render(turn.parts, turn.speaker, kinds=REPLY_KINDS),
        "draft": draft,
        "characters": list(band),
    }


async def _rewrite(transcript: Transcript, speaker: str, payload: Mapping[str, Any], context: StageContext) -> StageAnswer:
    question = REWRITE.messages(transcript.scenario.language, payload, name=speaker)
    return await context.ask(REWRITE, question, max_tokens=JSON_TOKENS + payload["characters"][1])


def _plan_text(answer: StageAnswer) -> str:
    return answer.value.plan.strip() if isinstance(answer.value, RewrittenPlan) else ""


def _problems(answer: StageAnswer, turn: Turn, seen: Sight, band: tuple[int, int]) -> tuple[Defect, ...]:
    """Return the problems of the plan in an answer; a failed call has none, its error is recorded instead."""
    text = _plan_text(answer)
    return plan_problems(text, turn, seen, band) if text else ()
