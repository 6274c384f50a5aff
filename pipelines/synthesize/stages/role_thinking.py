"""Role-thinking enhancement: one question a conversation, checked turn by turn in code, failing turns asked for once more.

What still fails is kept in its original form, and counted. Turns are known by short labels in the question and by their
stable ids everywhere else; the environment's turns are shown and never changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from her.characters.coser import BookScene
from her.format import parse, pattern, render
from her.kinds import REPLY_KINDS
from her.types import ENVIRONMENT, Defect, Sampling, Transcript, Turn
from pipelines.synthesize.checks.knowledge import sight
from pipelines.synthesize.checks.turns import PROBLEMS, conversation_problems, problem, turn_problems
from pipelines.synthesize.stages.answers import Enhancement, WrittenTurn
from pipelines.synthesize.work import Asker, Notes, TurnRecord, question

STAGE = "role_thinking"
TOKENS_A_TURN, LEAST_TOKENS = 260, 1024

Problems = dict[str, tuple[Defect, ...]]


async def enhance(scene: BookScene, asker: Asker, sampling: Sampling, notes: Notes) -> BookScene:
    """The scene with deeper thoughts; its turns keep ids, order and speakers."""
    originals = {turn.id: turn for turn in scene.turns if turn.speaker != ENVIRONMENT and turn.parts}
    if not originals:
        return scene
    labels = label(scene.turns)
    reply = await _ask(scene, labels, list(originals), {}, {}, asker, sampling)
    if not isinstance(reply.value, Enhancement):
        notes.turns += [_record(scene, turn, "kept", error=reply.error) for turn in originals.values()]
        return scene
    first = merge_answers(reply.value.turns, originals, labels)
    problems = check(scene, originals, first)
    written, again = first, dict(problems)
    if problems:
        tried = {identity: _body(first[identity]) for identity in problems if identity in first}
        reply = await _ask(scene, labels, list(problems), problems, tried, asker, sampling)
        if isinstance(reply.value, Enhancement):
            second = merge_answers(reply.value.turns, {key: originals[key] for key in problems}, labels)
            written = {**first, **second}
            again = check(scene, originals, written)
    return _settle(scene, originals, written, problems, again, reply.error, notes)


def label(turns: Sequence[Turn]) -> dict[str, str]:
    """Turn id -> `t1`, `t2`, ...: what a model can copy without a slip."""
    return {turn.id: f"t{number}" for number, turn in enumerate(turns, 1)}


async def _ask(
    scene: BookScene,
    labels: Mapping[str, str],
    wanted: Sequence[str],
    reasons: Problems,
    tried: Mapping[str, str],
    asker: Asker,
    sampling: Sampling,
) -> Any:
    payload: dict[str, Any] = {
        "book": scene.book,
        "scenario": scene.scenario.setting,
        "characters": [{"name": member.name, "motivation": member.motivation} for member in scene.cast],
        "turns": [{"id": labels[turn.id], "speaker": turn.speaker, "text": _body(turn)} for turn in scene.turns if turn.parts],
        "ask": [labels[identity] for identity in wanted],
    }
    if reasons:
        payload["reasons"] = {labels[identity]: describe_defects(problems) for identity, problems in reasons.items()}
        payload["tried"] = {labels[identity]: text for identity, text in tried.items()}
    room = min(32_768, max(LEAST_TOKENS, TOKENS_A_TURN * len(wanted) + sum(len(turn.raw) for turn in scene.turns) // 2))
    messages = question("enhance_thoughts", scene.scenario.language, payload)
    return await asker.ask(STAGE, messages, sampling.model_copy(update={"max_tokens": room}), Enhancement)


def describe_defects(problems: Iterable[Defect]) -> str:
    """Problems as a sentence for the one who is asked again."""
    return "; ".join(PROBLEMS[each.name] + (f" ({each.detail})" if each.detail else "") for each in problems)


def _body(turn: Turn) -> str:
    """A turn in the canonical notation, without its name and plan."""
    return render(turn.parts, turn.speaker, kinds=REPLY_KINDS).removeprefix(f"{turn.speaker}: ")


def merge_answers(answers: Iterable[WrittenTurn], originals: Mapping[str, Turn], labels: Mapping[str, str]) -> dict[str, Turn]:
    """Turn id -> the turn as written. A label that was not asked for, or stands twice, is passed over."""
    known = {labels[identity]: identity for identity in originals}
    written: dict[str, Turn] = {}
    for answer in answers:
        identity = known.get(answer.id)
        if identity is not None and identity not in written:
            speaker = originals[identity].speaker
            text = answer.text.strip().removeprefix(f"{speaker}:")
            written[identity] = parse(f"{speaker}: {text.strip()}", speaker, notation="her", turn_id=identity)
    return written


def check(scene: BookScene, originals: Mapping[str, Turn], written: Mapping[str, Turn]) -> Problems:
    """Turn id -> what is wrong with it, by itself and among its neighbours; good ones are not listed."""
    turns = tuple(written.get(turn.id, turn) for turn in scene.turns)
    transcript = Transcript(id=scene.id, scenario=scene.scenario, cast=scene.cast, turns=turns)
    among = conversation_problems(list(originals.values()), turns)
    found: Problems = {}
    for at, turn in enumerate(scene.turns):
        if turn.id not in originals:
            continue
        if turn.id not in written:
            found[turn.id] = (problem("missing"),)
            continue
        own = turn_problems(turn, written[turn.id], sight(transcript, at))
        if everything := (*own, *among.get(turn.id, ())):
            found[turn.id] = everything
    return found


def _settle(
    scene: BookScene,
    originals: Mapping[str, Turn],
    written: Mapping[str, Turn],
    first: Problems,
    last: Problems,
    error: str,
    notes: Notes,
) -> BookScene:
    """Choose for every turn between what was written and the original, and note it."""
    turns = []
    for turn in scene.turns:
        if turn.id not in originals:
            turns.append(turn)
            continue
        wrong = bool(last.get(turn.id))
        good = turn.id in written and not _to_undo(turn, written[turn.id], last.get(turn.id, ()))
        chosen = _written(turn, written[turn.id]) if good else turn
        fate = "kept" if not good else "changed" if chosen.parts != turn.parts else "as_it_was"
        notes.turns.append(_record(scene, turn, fate, first.get(turn.id, ()), last.get(turn.id, ()), error if wrong else ""))
        turns.append(chosen)
    return scene.model_copy(update={"turns": tuple(turns)})


def _to_undo(original: Turn, written: Turn, problems: Iterable[Defect]) -> bool:
    """Whether the original form is better: not where only the orders of parts are at fault, and the original's is no other."""
    same = pattern(original.parts) == pattern(written.parts)
    return bool({each.name for each in problems} - {"few_patterns"} - ({"three_alike"} if same else set()))


def _written(original: Turn, written: Turn) -> Turn:
    """The new parts under the original's id, in the canonical text."""
    if written.parts == original.parts:
        return original
    return Turn(id=original.id, speaker=original.speaker, parts=written.parts, raw=render(written.parts, original.speaker))


def _record(
    scene: BookScene,
    turn: Turn,
    fate: Any,
    first: tuple[Defect, ...] = (),
    last: tuple[Defect, ...] = (),
    error: str = "",
) -> TurnRecord:
    names = tuple(each.name for each in first)
    return TurnRecord(
        stage=STAGE,
        scene=scene.id,
        turn=turn.id,
        speaker=turn.speaker,
        fate=fate,
        asked=2 if first else 1,
        first=names,
        problems=last,
        error=error,
    )
