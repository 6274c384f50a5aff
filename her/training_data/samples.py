"""Make training samples of a transcript: one for each turn that is trained.

The plan of a turn is in its target and in no history. The prompt comes from `her.view`, so it equals the prompt that the
playground sends at that point, byte for byte. A turn without a sample is returned with the reason. Turns are found by id,
never by position; an unknown id is an error.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from pydantic import Field

from her import view
from her.errors import InputError
from her.format import merged, normalise
from her.kinds import PLAN, VISIBLE_KINDS
from her.tokens import estimate_tokens
from her.types import ENVIRONMENT, Message, Part, Sample, Transcript, Turn, Value

FORMAT = "1"
"""Version of the Parquet files of samples (`her_format` in their metadata); increased when old readers would misread them."""
REASONS: dict[str, str] = {
    "no_plan": "the turn has no system_thinking",
    "unspoken": "the turn has no speech and no action",
    "not_in_cast": "its speaker is not in the cast, so there is no prompt to play it from",
    "too_long": "persona, scene and the last message alone exceed the budget",
}
"""Reasons why a turn has no sample."""


class Dropped(Value):
    """Turn without a sample; `reason` is one of `REASONS`. For `merged` see `Turn`."""

    transcript: str
    turn: str
    merged: tuple[str, ...] = Field(default=(), exclude_if=lambda ids: not ids)
    speaker: str
    reason: str


def samples(
    transcript: Transcript,
    *,
    plans: bool = True,
    speakers: Collection[str] | None = None,
    budget: int | None = None,
    count: Callable[[Sequence[Message]], int] = estimate_tokens,
) -> Iterator[Sample | Dropped]:
    """Yield a sample, or the reason for none, for every turn of every character; the environment is never trained.

    Neighbouring turns of one speaker are one turn, as in `her.view`; its sample names all their ids.

    Args:
        transcript: the turns.
        plans: whether to drop turns without a plan; False is for books without plans and for ablations.
        speakers: characters whose turns are trained; default the whole cast.
        budget: most tokens of a prompt; a longer one is truncated as the playground does. None never truncates.
        count: function that counts the tokens of messages, for `budget`.

    Raises:
        InputError: two turns have the same id.
    """
    turn_ids(transcript)
    transcript = transcript.model_copy(update={"turns": merged(transcript.turns)})
    cast = {member.name for member in transcript.cast}
    wanted = (cast if speakers is None else set(speakers)) - {ENVIRONMENT}
    played = view.played(transcript, wanted & cast)
    for index, turn in enumerate(transcript.turns):
        if turn.speaker not in wanted and (speakers is not None or turn.speaker == ENVIRONMENT):
            continue
        # `played` yields exactly the turns of `wanted & cast`, in order, so the two loops stay in step.
        before, texts = next(played)[1:] if turn.speaker in cast else (None, None)
        reason = _reason(texts.parts, plans) if texts else "not_in_cast"
        if not reason and budget is not None and before and count(before) > budget:
            before = _truncated(transcript, index, budget, count)
            reason = "" if before else "too_long"
        if reason or not before or not texts:
            yield Dropped(transcript=transcript.id, turn=turn.id, merged=turn.merged, speaker=turn.speaker, reason=reason)
        else:
            yield _sample(transcript, turn, before, texts.text())


def _sample(transcript: Transcript, turn: Turn, prompt: Sequence[Message], text: str) -> Sample:
    """Return the sample that trains this turn, whose whole text is given, from this prompt."""
    target = Message(role="assistant", content=text)
    return Sample(
        messages=(*prompt, target),
        trained=(len(prompt),),
        transcript=transcript.id,
        turn=turn.id,
        merged=turn.merged,
        speaker=turn.speaker,
        source=transcript.scenario.source,
    )


def turn_ids(transcript: Transcript) -> dict[str, Turn]:
    """Return the turns by id.

    Raises:
        InputError: two turns have the same id.
    """
    turns = {turn.id: turn for turn in transcript.turns}
    if len(turns) != len(transcript.turns):
        (twice, _), *_ = Counter(turn.id for turn in transcript.turns).most_common(1)
        raise InputError(f"transcript {transcript.id!r}: turn id {twice!r} appears twice; ids of turns must be unique")
    return turns


def with_plans(transcript: Transcript, plans: Mapping[str, str]) -> Transcript:
    """Return the transcript with these plans, by turn id; a plan replaces the one that the turn had.

    Raises:
        InputError: an id is not in the transcript, or a plan is blank.
    """
    turns = turn_ids(transcript)
    changed = {}
    for turn_id, plan in plans.items():
        if not plan.strip():
            raise InputError(f"transcript {transcript.id!r}: the plan for turn {turn_id!r} is empty; leave the turn out")
        turn = _known(turns, turn_id, transcript)
        visible = [part for part in turn.parts if part.kind != PLAN]
        parts = normalise([Part(kind=PLAN, text=plan), *visible], turn.speaker)
        changed[turn_id] = turn.model_copy(update={"parts": parts})
    return with_turns(transcript, changed)


def with_turns(transcript: Transcript, turns: Mapping[str, Turn]) -> Transcript:
    """Return the transcript with these turns in place of those with the same ids.

    Raises:
        InputError: an id is not in the transcript, or a turn has another id or speaker than the turn it replaces.
    """
    known = turn_ids(transcript)
    for turn_id, turn in turns.items():
        old = _known(known, turn_id, transcript)
        if (turn.id, turn.speaker) != (turn_id, old.speaker):
            raise InputError(
                f"transcript {transcript.id!r}: turn {turn_id!r} of {old.speaker!r} would become turn {turn.id!r} of "
                f"{turn.speaker!r}; a turn keeps its id and speaker"
            )
    return transcript.model_copy(update={"turns": tuple(turns.get(turn.id, turn) for turn in transcript.turns)})


def _known(turns: Mapping[str, Turn], turn_id: str, transcript: Transcript) -> Turn:
    if turn_id not in turns:
        raise InputError(f"transcript {transcript.id!r} has no turn {turn_id!r}; the turns come from another version of the book")
    return turns[turn_id]


def _reason(parts: Iterable[Part], plans: bool) -> str:
    """Return why a turn with these canonical parts is no sample; a part that is blank or only the own name is not in them."""
    kinds = {part.kind for part in parts}
    if not kinds & set(VISIBLE_KINDS):
        return "unspoken"
    return "no_plan" if plans and PLAN not in kinds else ""


def _truncated(
    transcript: Transcript, index: int, budget: int, count: Callable[[Sequence[Message]], int]
) -> tuple[Message, ...] | None:
    """Return the prompt of a turn truncated to the budget, or None when persona, scene and last message exceed it."""
    so_far = transcript.model_copy(update={"turns": transcript.turns[:index]})
    try:
        return view.prompt(so_far, transcript.turns[index].speaker, budget, count).messages
    except InputError:
        return None
