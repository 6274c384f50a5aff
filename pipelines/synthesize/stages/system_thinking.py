"""System thinking: a plan for every turn, drafted forward by a reasoning model and rewritten backward toward the turn.

Forward: the model is given the live prompt (her/view.py), plays the turn, and its own thinking is the draft. Backward: the
draft becomes a plan that leads to the turn of the book. The rewriter is given what the character can know and nothing
else: no turn to come, no other's thought. There is one question a turn, so neither can slip in.
"""

from typing import Any

from her.characters.coser import BookScene
from her.format import normalise, parse, render
from her.kinds import REPLY_KINDS
from her.types import ENVIRONMENT, Defect, Part, Sampling, Transcript, Turn
from her.view import Viewer, line, messages
from pipelines.synthesize.checks.knowledge import Sight, sight
from pipelines.synthesize.checks.plans import plan_problems
from pipelines.synthesize.options import PlanOptions
from pipelines.synthesize.stages.answers import RewrittenPlan
from pipelines.synthesize.stages.role_thinking import describe_defects
from pipelines.synthesize.work import Asker, Notes, StageAnswer, TurnRecord, question, together

STAGE, DRAFT = "system_thinking", "system_thinking_draft"
LONGEST_DRAFT = 6_000
"""Characters of a draft that are shown to the rewriter, its end: there the thinking comes to the turn."""


async def add_plans(scene: BookScene, asker: Asker, sampling: Sampling, options: PlanOptions, notes: Notes) -> BookScene:
    """The scene with a plan at the head of every turn of a character; turns that got none are noted."""
    wanted = [
        at
        for at, turn in enumerate(scene.turns)
        if turn.speaker != ENVIRONMENT and turn.parts and (options.everybody or turn.speaker in scene.major)
    ]
    transcript = scene.transcript()
    planned = await together(_plan(transcript, at, asker, sampling, options) for at in wanted)
    turns = list(scene.turns)
    for at, (turn, record) in zip(wanted, planned, strict=True):
        turns[at] = turn
        notes.turns.append(record)
    return scene.model_copy(update={"turns": tuple(turns)})


async def _plan(
    transcript: Transcript, at: int, asker: Asker, sampling: Sampling, options: PlanOptions
) -> tuple[Turn, TurnRecord]:
    """Turn `at` with its plan, and what became of it."""
    turn, language = transcript.turns[at], transcript.scenario.language
    least, most = options.characters
    band = (least, most) if language == "en" else (least * 2 // 5, most * 2 // 5)
    seen = sight(transcript, at)
    drafted = await _draft(transcript, at, asker, sampling, options) if options.draft else ""
    payload = rewriter_payload(transcript, at, drafted, band)
    reply = await _rewrite(transcript, turn.speaker, payload, asker, sampling)
    first = _problems(reply, turn, seen, band)
    last, asked, error = first, 1, reply.error
    if first:
        payload |= {"reasons": describe_defects(first), "tried": _text(reply)}
        reply = await _rewrite(transcript, turn.speaker, payload, asker, sampling)
        last, asked, error = _problems(reply, turn, seen, band), 2, reply.error
    chosen, fate = _text(reply), "changed"
    if last or not chosen:
        chosen, fate = (drafted, "kept") if drafted and not plan_problems(drafted, turn, seen, band) else ("", "missing")
    record = TurnRecord(
        stage=STAGE,
        scene=transcript.id,
        turn=turn.id,
        speaker=turn.speaker,
        fate=fate,  # type: ignore[arg-type]
        asked=asked,
        first=tuple(each.name for each in first),
        problems=last,
        error=error,
    )
    return (with_plan(turn, chosen) if chosen else turn), record


def with_plan(turn: Turn, plan: str) -> Turn:
    """The turn with this plan in front instead of any other, in the canonical text, under the same id."""
    others = (part for part in turn.parts if part.kind != "system_thinking")
    parts = normalise([Part(kind="system_thinking", text=plan), *others], turn.speaker)
    return Turn(id=turn.id, speaker=turn.speaker, parts=parts, raw=render(parts, turn.speaker))


def forward_prompt(transcript: Transcript, at: int) -> Any:
    """The live prompt of turn `at`: byte for byte what the playground would send."""
    return messages(transcript, transcript.turns[at].speaker, transcript.turns[:at])


async def _draft(transcript: Transcript, at: int, asker: Asker, sampling: Sampling, options: PlanOptions) -> str:
    """What a reasoning model thinks before it plays the turn; empty when it did not say, which is no failure."""
    turn = transcript.turns[at]
    reply = await asker.ask(
        DRAFT, forward_prompt(transcript, at), sampling.model_copy(update={"max_tokens": options.draft_tokens}), None
    )
    played = parse(reply.text, turn.speaker, reasoning=reply.reasoning)
    return played.text("system_thinking")[-LONGEST_DRAFT:]


def rewriter_payload(transcript: Transcript, at: int, draft: str, band: tuple[int, int]) -> dict[str, Any]:
    """What the rewriter of turn `at` is given: nothing that its character cannot know."""
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
        "company": {other.name: other.profile for other in transcript.cast if other.name != member.name},
        "history": [text for before in transcript.turns[:at] if (text := line(before, viewer))],
        "turn": render(turn.parts, turn.speaker, kinds=REPLY_KINDS),
        "draft": draft,
        "characters": list(band),
    }


async def _rewrite(
    transcript: Transcript, speaker: str, payload: dict[str, Any], asker: Asker, sampling: Sampling
) -> StageAnswer:
    asked = question("rewrite_plan", transcript.scenario.language, payload, name=speaker)
    room = sampling.model_copy(update={"max_tokens": 512 + payload["characters"][1]})
    return await asker.ask(STAGE, asked, room, RewrittenPlan)


def _text(reply: StageAnswer) -> str:
    return reply.value.plan.strip() if isinstance(reply.value, RewrittenPlan) else ""


def _problems(reply: StageAnswer, turn: Turn, seen: Sight, band: tuple[int, int]) -> tuple[Defect, ...]:
    """What is wrong with the answer; a call that failed has no problems of its own, its error is noted."""
    text = _text(reply)
    return plan_problems(text, turn, seen, band) if text else ()
