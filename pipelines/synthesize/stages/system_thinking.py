"""Write a plan (system thinking) for every turn: drafted forward by a reasoning model, rewritten backward toward the turn.

Forward: the model gets the live prompt (her/view.py) and plays the turn; its own thinking is the draft. Backward: the
draft is rewritten into a plan that leads to the turn of the book. Both steps are HER's (docs/protocols.md, Synthesis).
HER's rewriter sees the whole dialogue; here it is given only what the character can know, with one question per turn, so
neither a later turn nor another's thought can leak into a plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from her.characters.coser import BookScene
from her.format import normalise, parse, render, written_plan
from her.kinds import REPLY_KINDS
from her.types import ENVIRONMENT, Defect, Message, Part, Transcript, Turn
from her.view import Viewer, line, messages
from pipelines.synthesize.checks.knowledge import name_forms, sight
from pipelines.synthesize.checks.plans import DraftType, draft_type, plan_problems, shared_templates
from pipelines.synthesize.concurrency import gather_all
from pipelines.synthesize.notes import TurnRecord
from pipelines.synthesize.questions import Question, StageAnswer, StageContext
from pipelines.synthesize.stages.answers import RewrittenPlan
from pipelines.synthesize.stages.checker import CHECK_PLANS, check_items
from pipelines.synthesize.stages.turn_text import describe_problems, turn_labels

DRAFT = Question("system_thinking_draft")
REWRITE = Question("system_thinking", "rewrite_plan", RewrittenPlan, rewriter=True)
LONGEST_DRAFT = 6_000
"""Characters of a draft that the rewriter is given, from its end: there the thinking arrives at the turn."""
JSON_TOKENS = 512
"""Tokens of an answer beside the plan, which gets a token for each character."""


Problems = dict[int, tuple[Defect, ...]]
"""Place of a turn -> the problems of its plan; a failed call has none, its error is recorded instead."""


@dataclass
class _PlanRound:
    """Plans of a scene after a question.

    Args:
        answers: the answers by place of the turn.
        problems: the problems of their plans.
        checked: places whose plans the checker read.
    """

    answers: dict[int, StageAnswer]
    problems: Problems = field(default_factory=dict)
    checked: set[int] = field(default_factory=set)

    def plan(self, at: int) -> str:
        """Return the plan of a turn; empty when there is none."""
        return _plan_text(self.answers[at])


async def add_plans(scene: BookScene, context: StageContext) -> BookScene:
    """Return the scene with a plan in front of every turn of a character; turns that got none are recorded."""
    everybody = context.options.plans.everybody
    wanted = [
        at
        for at, turn in enumerate(scene.turns)
        if turn.speaker != ENVIRONMENT and turn.parts and (everybody or turn.speaker in scene.major)
    ]
    transcript, band = scene.transcript(), _length_band(scene, context)
    payloads = dict(zip(wanted, await gather_all(_payload(transcript, at, band, context) for at in wanted), strict=True))
    first = last = await _asked(scene, payloads, band, _PlanRound({}), context)
    if first.problems:
        again = {
            at: {**payloads[at], "reasons": describe_problems(found), "tried": first.plan(at)}
            for at, found in first.problems.items()
        }
        last = await _asked(scene, again, band, first, context)
    turns = list(scene.turns)
    for at in wanted:
        turns[at], record = _choose(scene, at, first, last)
        context.notes.turns.append(record)
    return scene.model_copy(update={"turns": tuple(turns)})


async def _payload(transcript: Transcript, at: int, band: tuple[int, int], context: StageContext) -> dict[str, Any]:
    draft = await _draft(transcript, at, context) if context.options.plans.draft else ""
    kind = draft_type(draft, sight(transcript, at))
    return {**rewriter_payload(transcript, at, draft, band), "type": kind, "target": target_length(draft, kind, band)}


async def _asked(
    scene: BookScene, payloads: Mapping[int, dict[str, Any]], band: tuple[int, int], before: _PlanRound, context: StageContext
) -> _PlanRound:
    """Ask for the plans of these turns and check them: each alone, all of the scene together, then by the checker."""
    transcript = scene.transcript()
    asked = await gather_all(_rewrite(transcript, scene.turns[at].speaker, payload, context) for at, payload in payloads.items())
    now = _PlanRound({**before.answers, **dict(zip(payloads, asked, strict=True))})
    alone = {at: _problems(now.answers[at], scene, at, band) for at in payloads}
    plans = {str(at): plan for at in now.answers if (plan := now.plan(at))}
    shared = shared_templates(plans, name_forms(member.name for member in scene.cast), scene.scenario.language)
    for at in payloads:
        # A plan that was accepted before is not asked for again because a later one resembles it.
        template = (shared[str(at)],) if str(at) in shared else ()
        if found := (*alone[at], *template):
            now.problems[at] = found
    labels = turn_labels(scene.turns)
    places = {labels[scene.turns[at].id]: at for at in payloads if now.plan(at) and at not in now.problems}
    items = [{"id": label, "speaker": scene.turns[at].speaker, "text": now.plan(at)} for label, at in places.items()]
    found_by_checker = await check_items(CHECK_PLANS, scene, items, context)
    now.problems |= {places[label]: faults for label, faults in found_by_checker.items() if faults}
    now.checked = (before.checked - payloads.keys()) | {places[label] for label in found_by_checker}
    return now


def _choose(scene: BookScene, at: int, first: _PlanRound, last: _PlanRound) -> tuple[Turn, TurnRecord]:
    """Return turn `at` with its plan, or without when no plan was valid, and its record.

    The draft is no plan for want of a better one: it leads to the reply that its model gave, which is not this turn.
    """
    turn, before, problems = scene.turns[at], first.problems.get(at, ()), last.problems.get(at, ())
    plan = "" if problems else last.plan(at)
    record = TurnRecord(
        stage=REWRITE.name,
        scene=scene.id,
        turn=turn.id,
        speaker=turn.speaker,
        fate="changed" if plan else "missing",
        asked=2 if before else 1,
        first=tuple(each.name for each in before),
        problems=problems,
        same=bool(before) and first.plan(at) == last.plan(at),
        checked=at in last.checked,
        error=last.answers[at].error,
        refused=last.plan(at) if problems else "",
    )
    return (with_plan(turn, plan) if plan else turn), record


def _length_band(scene: BookScene, context: StageContext) -> tuple[int, int]:
    plans = context.options.plans
    return plans.characters_zh if scene.scenario.language == "zh" else plans.characters


def target_length(draft: str, kind: DraftType, band: tuple[int, int]) -> list[int]:
    """Return the length in characters to aim at: within 10 % of a good draft, else HER's length for a new plan."""
    least, most = band
    size = len(draft)
    wanted = (size * 9 // 10, size * 11 // 10) if kind == "A" else (least * 4, least * 4 + (most - least) // 5)
    return [min(max(length, least), most) for length in wanted]


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


def _problems(answer: StageAnswer, scene: BookScene, at: int, band: tuple[int, int]) -> tuple[Defect, ...]:
    """Return the problems of the plan in an answer; a failed call has none, its error is recorded instead."""
    text, turn = _plan_text(answer), scene.turns[at]
    if not text:
        return ()
    profile = scene.transcript().member(turn.speaker).profile
    return plan_problems(text, turn, sight(scene.transcript(), at), band, profile)
