"""Deepen the thoughts of a scene (role thinking): one question per scene, every turn checked in code and by the checker.

Turns that fail a check are asked for once more, with the reasons; a turn that fails again keeps its original form and is
counted. The question knows turns by short labels, everything else by their stable ids. Turns of the environment are shown
and never changed. The rules are HER's (docs/protocols.md, Synthesis).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from her.characters.coser import BookScene
from her.format import parse, pattern, render
from her.types import ENVIRONMENT, Defect, Turn
from pipelines.synthesize.checks.conversations import conversation_problems
from pipelines.synthesize.checks.knowledge import sight
from pipelines.synthesize.checks.problems import problem
from pipelines.synthesize.checks.repairs import repaired
from pipelines.synthesize.checks.turns import turn_problems
from pipelines.synthesize.notes import Fate, TurnRecord
from pipelines.synthesize.questions import Question, StageAnswer, StageContext
from pipelines.synthesize.stages.answers import EnhancedTurns, WrittenTurn
from pipelines.synthesize.stages.checker import CHECK_TURNS, check_items
from pipelines.synthesize.stages.turn_text import describe_problems, turn_body, turn_labels

ENHANCE = Question("role_thinking", "enhance_thoughts", EnhancedTurns)
TOKENS_PER_TURN, LEAST_TOKENS, MOST_TOKENS = 260, 1024, 32_768
"""Limit of an answer in tokens: for each turn that is asked for, its JSON and reason included; the minimum; the maximum.
Half a token for each character of the scene comes on top, since a turn may be returned unchanged however long it is."""

Problems = dict[str, tuple[Defect, ...]]
"""Turn id -> its problems; turns without any are not listed."""


@dataclass(frozen=True)
class _Round:
    """State of a scene after a question.

    Args:
        written: the written turns by id, repaired.
        problems: their problems.
        repairs: what was repaired in each.
        checked: ids of the turns that the checker read.
    """

    written: dict[str, Turn]
    problems: Problems
    repairs: Problems = field(default_factory=dict)
    checked: frozenset[str] = frozenset()


async def enhance_thoughts(scene: BookScene, context: StageContext) -> BookScene:
    """Return the scene with deeper thoughts; turns keep their ids, order and speakers."""
    originals = {turn.id: turn for turn in scene.turns if turn.speaker != ENVIRONMENT and turn.parts}
    if not originals:
        return scene
    labels = turn_labels(scene.turns)
    answer = await _ask(scene, labels, list(originals), None, context)
    if not isinstance(answer.value, EnhancedTurns):
        context.notes.turns += [_record(scene, turn, "kept", error=answer.error) for turn in originals.values()]
        return scene
    first = last = await _read(scene, labels, originals, answer.value.turns, None, context)
    if first.problems:
        answer = await _ask(scene, labels, list(first.problems), first, context)
        if isinstance(answer.value, EnhancedTurns):
            last = await _read(scene, labels, originals, answer.value.turns, first, context)
    turns = []
    for turn in scene.turns:
        if turn.id in originals:
            turn, record = _choose(scene, turn, first, last, answer.error)
            context.notes.turns.append(record)
        turns.append(turn)
    return scene.model_copy(update={"turns": tuple(turns)})


async def _read(
    scene: BookScene,
    labels: Mapping[str, str],
    originals: Mapping[str, Turn],
    answers: Sequence[WrittenTurn],
    before: _Round | None,
    context: StageContext,
) -> _Round:
    """Return the round of an answer: every turn repaired and checked in code, then by the checker where code finds nothing."""
    wanted = {turn_id: originals[turn_id] for turn_id in before.problems} if before else originals
    language = scene.scenario.language
    written = dict(before.written) if before else {}
    repairs = dict(before.repairs) if before else {}
    for turn_id, turn in merge_answers(answers, wanted, labels).items():
        written[turn_id], repairs[turn_id] = repaired(turn, originals[turn_id], language)
    # All turns are checked anew: a rewritten turn may make its neighbour the third of one pattern.
    problems = check_turns(scene, originals, written)
    items = [
        {"id": labels[turn.id], "speaker": turn.speaker, "before": turn_body(turn), "text": turn_body(written[turn.id])}
        for turn in scene.turns
        if turn.id in wanted and turn.id in written and not _hard(problems.get(turn.id, ()))
    ]
    found = await check_items(CHECK_TURNS, scene, items, context)
    for turn_id, label in labels.items():
        if faults := found.get(label, ()):
            problems[turn_id] = (*problems.get(turn_id, ()), *faults)
    read = {turn_id for turn_id, label in labels.items() if label in found}
    return _Round(written, problems, repairs, frozenset(read) | (before.checked - wanted.keys() if before else frozenset()))


def _hard(problems: Iterable[Defect]) -> bool:
    """Return whether a turn has a problem of its own, so that the checker need not read it."""
    return any(each.name not in ("few_patterns", "three_alike") for each in problems)


async def _ask(
    scene: BookScene, labels: Mapping[str, str], turn_ids: Sequence[str], failed: _Round | None, context: StageContext
) -> StageAnswer:
    """Ask for these turns; `failed` is the round whose problems are the reason to ask again."""
    payload: dict[str, Any] = {
        "book": scene.book,
        "scenario": scene.scenario.setting,
        "characters": [
            {"name": member.name, "background": member.background, "motivation": member.motivation} for member in scene.cast
        ],
        "turns": [
            {"id": labels[turn.id], "speaker": turn.speaker, "text": turn_body(turn)} for turn in scene.turns if turn.parts
        ],
        "ask": [labels[turn_id] for turn_id in turn_ids],
    }
    if failed:
        payload["reasons"] = {labels[turn_id]: describe_problems(found) for turn_id, found in failed.problems.items()}
        payload["tried"] = {
            labels[turn_id]: turn_body(failed.written[turn_id]) for turn_id in failed.problems if turn_id in failed.written
        }
    needed = TOKENS_PER_TURN * len(turn_ids) + sum(len(turn.raw) for turn in scene.turns) // 2
    messages = ENHANCE.messages(scene.scenario.language, payload)
    return await context.ask(ENHANCE, messages, max_tokens=min(MOST_TOKENS, max(LEAST_TOKENS, needed)))


def merge_answers(answers: Iterable[WrittenTurn], wanted: Mapping[str, Turn], labels: Mapping[str, str]) -> dict[str, Turn]:
    """Return turn id -> the turn as written; a label that was not asked for, or is a duplicate, is ignored."""
    by_label = {labels[turn_id]: turn_id for turn_id in wanted}
    written: dict[str, Turn] = {}
    for answer in answers:
        turn_id = by_label.get(answer.id)
        if turn_id is not None and turn_id not in written:
            speaker = wanted[turn_id].speaker
            # Models repeat the name although the prompt forbids it, so it is removed and added once.
            text = answer.text.strip().removeprefix(f"{speaker}:")
            written[turn_id] = parse(f"{speaker}: {text.strip()}", speaker, notation="her", turn_id=turn_id)
    return written


def check_turns(scene: BookScene, originals: Mapping[str, Turn], written: Mapping[str, Turn]) -> Problems:
    """Return the problems of the turns in `originals`, of each turn alone and among its neighbours."""
    turns = tuple(written.get(turn.id, turn) for turn in scene.turns)
    transcript = scene.transcript()
    among_neighbours = conversation_problems(scene.turns, turns, scene.scenario.language)
    found: Problems = {}
    for at, turn in enumerate(scene.turns):
        if turn.id not in originals:
            continue
        if turn.id not in written:
            found[turn.id] = (problem("missing"),)
            continue
        alone = turn_problems(turn, written[turn.id], sight(transcript, at, written=turns))
        if all_problems := (*alone, *among_neighbours.get(turn.id, ())):
            found[turn.id] = all_problems
    return found


def _choose(scene: BookScene, original: Turn, first: _Round, last: _Round, error: str) -> tuple[Turn, TurnRecord]:
    """Choose between the written turn and the original. `error`: why the second question had no answer."""
    written, problems = last.written.get(original.id), last.problems.get(original.id, ())
    fate: Fate = "kept"
    language = scene.scenario.language
    tidy, repairs = repaired(original, original, language)
    chosen = _with_parts_of(original, tidy)
    if written is not None and not _is_worse(original, written, problems):
        fate = "changed" if written.parts != tidy.parts else "as_it_was"
        chosen, repairs = _with_parts_of(original, written), last.repairs.get(original.id, ())
    before, earlier = first.problems.get(original.id, ()), first.written.get(original.id)
    record = _record(scene, original, fate, before, problems, error if problems else "")
    more = {
        "repairs": tuple(each.name for each in repairs),
        "same": bool(before)
        and last is not first
        and earlier is not None
        and written is not None
        and earlier.parts == written.parts,
        "checked": original.id in last.checked,
        "refused": turn_body(written) if written and fate == "kept" else "",
    }
    return chosen, record.model_copy(update=more)


def _is_worse(original: Turn, written: Turn, problems: Iterable[Defect]) -> bool:
    """Return whether the original form is better than the written one.

    Too few patterns in the conversation are no reason to undo a turn, and neither is the third pattern in a row when the
    original has that pattern as well: undoing would not mend it.
    """
    names = {each.name for each in problems} - {"few_patterns"}
    if pattern(original.parts) == pattern(written.parts):
        names -= {"three_alike"}
    return bool(names)


def _with_parts_of(original: Turn, written: Turn) -> Turn:
    """Return the written parts under the original's id, rendered in the canonical text; an unchanged turn keeps its raw text."""
    if written.parts == original.parts:
        return original
    return Turn(id=original.id, speaker=original.speaker, parts=written.parts, raw=render(written.parts, original.speaker))


def _record(
    scene: BookScene,
    turn: Turn,
    fate: Fate,
    first: tuple[Defect, ...] = (),
    last: tuple[Defect, ...] = (),
    error: str = "",
) -> TurnRecord:
    return TurnRecord(
        stage=ENHANCE.name,
        scene=scene.id,
        turn=turn.id,
        speaker=turn.speaker,
        fate=fate,
        asked=2 if first else 1,
        first=tuple(each.name for each in first),
        problems=last,
        error=error,
    )
