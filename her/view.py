"""Decide which viewer sees which part of a turn, and turn a transcript into the messages of one viewer.

This module alone decides on visibility; docs/format.md has the table. Chat, training, reinforcement learning and evaluation all
call `prompt`, `messages` or `prompts`, so the prompt that the playground sends equals the prompt of the training sample, byte
for byte. The plan (system_thinking) is in no history.

Presence is decided here as well: a character who has left (`Turn.leaves`) or waits to come in (`CastMember.waits`) sees no turn
until one names them in `Turn.enters`. Who speaks is there.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Literal

from her.characters.personas import fill_slots
from her.characters.presence import Presence
from her.errors import InputError
from her.format import Rendering, merged, parse, render
from her.kinds import KINDS, REPLY_KINDS, VISIBLE_KINDS, Kind
from her.prompts import fill
from her.tokens import first_that_fits
from her.types import ENVIRONMENT, CastMember, Example, Language, Message, Part, Scenario, Thinking, Transcript, Turn, Value

ViewerKind = Literal["character", "environment", "next_speaker", "person", "reward_model", "judge"]
START = "===Conversation Start==="
"""First line of the first user message, as in the data of HER."""
GOES_ON = "===Conversation Continues==="
"""The last user message where the character spoke last: a mark, nobody's line, so that nothing is invented."""


class Viewer(Value):
    """Reader of a transcript. `name` is set for a character; `thoughts` lets a judge see role_thinking."""

    kind: ViewerKind
    name: str = ""
    thoughts: bool = False


class Prompt(Value):
    """Messages up to the point of generation, and what was dropped so that they fit.

    Args:
        messages: system message, then the history; never empty.
        dropped: ids of the dropped turns, oldest first.
        tokens: tokens of `messages`.
        budget: largest number of tokens that was allowed.
    """

    messages: tuple[Message, ...]
    dropped: tuple[str, ...] = ()
    tokens: int = 0
    budget: int = 0


def opening(messages: Sequence[Message]) -> str:
    """Return the first line of a prompt: the character, their source and the others present."""
    return messages[0].content.partition("\n")[0]


def reader(me: str, *, scene: bool, director: bool | None = None) -> Viewer:
    """Return how a person reads a chat: all layers; in a scene what their character sees, for opponents' thoughts are secret.

    `me` is the character they play, empty for one who looks on; `director` their switch, None: only who looks on has it on.
    """
    directs = not me if director is None else director
    return Viewer(kind="person") if directs or not scene else Viewer(kind="character", name=me)


def visible_parts(parts: Sequence[Part], speaker: str, viewer: Viewer) -> tuple[Part, ...]:
    """Return what `viewer` sees of a turn by `speaker`."""
    return tuple(part for part in parts if part.kind in visible_kinds(viewer, speaker))


def visible_kinds(viewer: Viewer, speaker: str) -> tuple[Kind, ...]:
    """Return the kinds that `viewer` sees of a turn by `speaker`."""
    if viewer.kind == "person":
        return KINDS
    if viewer.kind == "reward_model" or (viewer.kind == "judge" and viewer.thoughts):
        return REPLY_KINDS
    if viewer.kind == "character" and viewer.name == speaker:
        return REPLY_KINDS
    return VISIBLE_KINDS


def seen(transcript: Transcript, viewer: Viewer) -> Transcript:
    """Return a chat with the parts that `viewer` sees; of a turn that has others too, the raw text is left out with them."""
    return transcript.model_copy(update={"turns": tuple(_seen_turn(turn, viewer) for turn in transcript.turns)})


def _seen_turn(turn: Turn, viewer: Viewer) -> Turn:
    parts = visible_parts(turn.parts, turn.speaker, viewer)
    return turn if parts == turn.parts else turn.model_copy(update={"parts": parts, "raw": "", "defects": ()})


def line(turn: Turn, viewer: Viewer, absent: Collection[str] = ()) -> str:
    """Return one turn as `viewer` reads it, in canonical notation; an empty string when nothing of it is visible.

    Args:
        turn: the turn.
        viewer: who reads it.
        absent: characters who are not there during this turn (see `absences`).
    """
    if viewer.kind == "character" and viewer.name in absent:
        return ""
    kinds = visible_kinds(viewer, turn.speaker)
    if not any(part.kind in kinds for part in turn.parts):
        return ""
    return render(turn.parts, turn.speaker, kinds=kinds)


def absences(transcript: Transcript) -> tuple[frozenset[str], ...]:
    """Return, for each turn, the characters who are not there during it.

    Raises:
        InputError: a turn moves somebody who is not in the cast.
    """
    presence = Presence(transcript.cast)
    return tuple(presence.follow(turn) for turn in transcript.turns)


def absent(transcript: Transcript) -> frozenset[str]:
    """Return the characters who are not there after the last turn; raises as `absences`."""
    presence = Presence(transcript.cast)
    for turn in transcript.turns:
        presence.follow(turn)
    return frozenset(presence.away)


def messages(transcript: Transcript, speaker: str, turns: Sequence[Turn] | None = None) -> tuple[Message, ...]:
    """Return the messages from which `speaker` plays the next turn.

    Turns of `speaker` are assistant messages, all others user messages; turns of one speaker are merged, other neighbours of one
    role joined by a blank line. The first user message begins with `START`; when `speaker` spoke last, `GOES_ON` comes last.

    Args:
        transcript: scenario, cast and all turns so far.
        speaker: the character to play; a member of the cast.
        turns: turns to show instead of all turns of the transcript. Who is there follows from those of the transcript too.

    Raises:
        KeyError: `speaker` is not in the cast.
        InputError: a turn moves somebody who is not in the cast.
    """
    shown = transcript.turns if turns is None else turns  # an empty sequence shows no turn
    if turns is not None:
        transcript = transcript.model_copy(update={"turns": _until(transcript.turns, shown)})
    viewer = Viewer(kind="character", name=speaker)
    away = {turn.id: names for turn, names in zip(transcript.turns, absences(transcript), strict=True)}
    lines = [(turn.speaker == speaker, line(turn, viewer, away[turn.id])) for turn in merged(shown)]
    return _joined(system(transcript, speaker), lines)


def narrator_prompt(transcript: Transcript, budget: int, count: Callable[[Sequence[Message]], int]) -> Prompt:
    """Return the prompt from which the environment plays the next turn: its own turns are the assistant's. See `prompt`."""
    turns, viewer = merged(transcript.turns), Viewer(kind="environment")
    head = _direction("narrate_scene", transcript)
    return _cut(turns, head, lambda at: (turns[at].speaker == ENVIRONMENT, line(turns[at], viewer)), (budget, count))


def next_speaker_prompt(
    transcript: Transcript, choices: Sequence[str], budget: int, count: Callable[[Sequence[Message]], int]
) -> Prompt:
    """Return the prompt that asks which of `choices` has the next turn; the question stands last. See `prompt`."""
    turns, viewer, zh = merged(transcript.turns), Viewer(kind="next_speaker"), transcript.scenario.language == "zh"
    asked = f"下一位是谁？从中选一个：{'、'.join(choices)}" if zh else f"Who is next? Choose one of: {', '.join(choices)}"
    head = _direction("choose_speaker", transcript)
    return _cut(turns, head, lambda at: (False, line(turns[at], viewer)), (budget, count), [(False, asked)])


def prompts(transcript: Transcript, speakers: Collection[str] | None = None) -> Iterator[tuple[Turn, tuple[Message, ...]]]:
    """Yield every turn with the messages from which its speaker plays it; neighbouring turns of one speaker are one turn.

    The messages equal `messages(transcript, turn.speaker, turns before it)`. One pass over the transcript builds them all, so
    that the cost is linear in its length and not quadratic.

    Args:
        transcript: the turns.
        speakers: characters whose turns are wanted; default the whole cast.
    """
    yield from ((turn, messages) for turn, messages, _ in played(transcript, speakers))


def played(
    transcript: Transcript, speakers: Collection[str] | None = None
) -> Iterator[tuple[Turn, tuple[Message, ...], Rendering]]:
    """Yield the turns and messages of `prompts`, and the texts of each turn, from which its target is written."""
    wanted = {member.name for member in transcript.cast if speakers is None or member.name in speakers}
    histories = {name: _History(START) for name in wanted}
    heads: dict[tuple[str, frozenset[str]], Message] = {}
    own_kinds = {name: visible_kinds(Viewer(kind="character", name=name), name) for name in wanted}
    outsider = Viewer(kind="environment")  # sees exactly what every other character sees
    presence = Presence(transcript.cast)
    for turn in merged(transcript.turns):
        name, texts = turn.speaker, Rendering(turn.parts, turn.speaker)
        if name in wanted:
            head = (name, presence.unmet(name))
            if head not in heads:
                # Built on first use: members of the cast who never speak need none.
                heads[head] = Message(role="system", content=_system(transcript, *head))
            yield turn, (heads[head], *histories[name].messages()), texts
        seen_by_others = texts.text(visible_kinds(outsider, name))  # once for all other characters
        away = presence.follow(turn)
        for other, history in histories.items():
            if other in away:
                continue
            if text := texts.text(own_kinds[name]) if other == name else seen_by_others:
                history.add("assistant" if other == name else "user", text)


def asked_kinds(thinking: Thinking) -> tuple[Kind, ...]:
    """Return the kinds that a model is asked to write in this mode of thinking."""
    return {"full": KINDS, "no_plan": REPLY_KINDS, "no_thoughts": VISIBLE_KINDS}[thinking]


def prompt(
    transcript: Transcript,
    speaker: str,
    budget: int,
    count: Callable[[Sequence[Message]], int],
    thinking: Thinking = "full",
) -> Prompt:
    """Return `messages` without the oldest turns, so that at most `budget` tokens are left.

    The system message (persona and scene) and the last turn always stay.

    Args:
        transcript: scenario, cast and all turns so far.
        speaker: the character to play.
        budget: largest number of tokens.
        count: function that counts the tokens of messages.
        thinking: what the turn is asked for; without thoughts, those of earlier turns are left out as well, since a model
            goes on as it began.

    Raises:
        InputError: system message and last turn alone have more than `budget` tokens.
    """
    transcript = transcript.model_copy(update={"turns": merged(transcript.turns)})
    turns, viewer = transcript.turns, Viewer(kind="character", name=speaker)
    own_viewer = Viewer(kind="environment") if thinking == "no_thoughts" else viewer
    head, away = system(transcript, speaker, thinking), absences(transcript)

    def line_at(at: int) -> tuple[bool, str]:
        own = turns[at].speaker == speaker
        return own, line(turns[at], own_viewer if own else viewer, away[at])

    return _cut(turns, head, line_at, (budget, count))


def _cut(
    turns: Sequence[Turn],
    head: str,
    line_at: Callable[[int], tuple[bool, str]],
    room: tuple[int, Callable[[Sequence[Message]], int]],
    closing: Sequence[tuple[bool, str]] = (),
) -> Prompt:
    """Return the prompt of a system text, the newest turns that fit and closing lines; `line_at` returns the line of a turn."""
    budget, count = room
    rendered = cache(line_at)  # the search below asks for overlapping ranges of turns; each turn is rendered once

    def since(first: int) -> tuple[Message, ...]:
        lines = [*(rendered(index) for index in range(first, len(turns))), *closing]
        return _joined(head, lines)

    counted = cache(lambda first: count(since(first)))  # the range that is chosen was counted in the search already
    first = first_that_fits(len(turns), lambda index: counted(index) <= budget)
    kept, tokens = since(first), counted(first)
    if tokens > budget:
        raise InputError(
            f"persona, scene and the last message have about {tokens} tokens and the model has room for {budget}; "
            "shorten the message, or connect a model with a longer context"
        )
    dropped = tuple(each for turn in turns[:first] for each in (turn.id, *turn.merged))
    return Prompt(messages=kept, dropped=dropped, tokens=tokens, budget=budget)


def continuation(so_far: Prompt, turn: Turn) -> Prompt:
    """Return the prompt that asks the model to continue its unfinished `turn`: the raw text of it comes last, byte for byte."""
    own = Message(role="assistant", content=turn.raw)
    return so_far.model_copy(update={"messages": (*so_far.messages, own)})


def system(transcript: Transcript, speaker: str, thinking: Thinking = "full") -> str:
    """Return the system message for `speaker`: role, persona, scene, other characters, examples and the format of a turn.

    A character who waited to come in is named once `speaker` has met them.
    """
    presence = Presence(transcript.cast)
    for turn in transcript.turns if presence.waits else ():
        presence.follow(turn)
    return _system(transcript, speaker, presence.unmet(speaker), thinking)


def _system(transcript: Transcript, speaker: str, unmet: Collection[str], thinking: Thinking = "full") -> str:
    scenario, language = transcript.scenario, transcript.scenario.language
    member = transcript.member(speaker)
    others = [other for other in transcript.cast if other.name != speaker and other.name not in unmet]
    zh = language == "zh"
    values = {
        "name": speaker,
        "of_source": (f"（{member.source}）" if zh else f", from {member.source}") if member.source else "",
        "others": ("、" if zh else ", ").join(other.name for other in others) or ("来客" if zh else "a visitor"),
        "profile": member.profile,
        "background": member.background,
        "voice": member.voice,
        "motivation": member.motivation,
        "place": _place(scenario),
        "setting": scenario.setting,
        "company": "\n".join(_introduction(other, language) for other in others if other.profile.strip()),
        "examples": "\n\n".join(_example(example, speaker, others, scenario, thinking) for example in member.examples),
    }
    return fill("roleplay", language, values, ending="" if thinking == "full" else f"turn_{thinking}")


def _direction(name: str, transcript: Transcript) -> str:
    """Return the system message of the narrator or of the next speaker's choice: scene and cast, without anybody's aims."""
    language = transcript.scenario.language
    values = {
        "characters": ("、" if language == "zh" else ", ").join(member.name for member in transcript.cast),
        "narrator": ENVIRONMENT,
        "place": _place(transcript.scenario),
        "setting": transcript.scenario.setting,
        "company": "\n".join(_introduction(member, language) for member in transcript.cast if member.profile.strip()),
    }
    return fill(name, language, values)


def _place(scenario: Scenario) -> str:
    return (f"地点：{scenario.place}" if scenario.language == "zh" else f"Place: {scenario.place}") if scenario.place else ""


def _introduction(member: CastMember, language: Language) -> str:
    return f"{member.name}{'：' if language == 'zh' else ': '}{member.profile.strip()}"


def _example(
    example: Example, speaker: str, others: Sequence[CastMember], scenario: Scenario, thinking: Thinking = "full"
) -> str:
    """Return one example exchange; the reply is in canonical notation and has the layers that are asked for."""
    visitor = others[0].name if others else ("来客" if scenario.language == "zh" else "Visitor")
    place = scenario.place or ("此处" if scenario.language == "zh" else "this place")
    request, plan, reply = (fill_slots(text, visitor, place) for text in (example.visitor, example.plan, example.reply))
    parts = parse(reply, speaker, notation="coser", reasoning=plan).parts
    return f"{visitor}: {request}\n{render(parts, speaker, kinds=asked_kinds(thinking))}"


def _until(turns: Sequence[Turn], shown: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the turns up to the last shown one, then those shown ones that are not among them."""
    places = {turn.id: place for place, turn in enumerate(turns)}
    last = max((places[turn.id] for turn in shown if turn.id in places), default=-1)
    return (*turns[: last + 1], *(turn for turn in shown if turn.id not in places))


def _joined(head: str, lines: Iterable[tuple[bool, str]]) -> tuple[Message, ...]:
    """Return the messages of a system text and of lines, each a pair (spoken by the model, text)."""
    history = _History(START)
    for own, text in lines:
        if text:
            history.add("assistant" if own else "user", text)
    return (Message(role="system", content=head), *history.messages())


class _History:
    """Builder of user and assistant messages; neighbours of one role become one message."""

    def __init__(self, start: str) -> None:
        self._complete: list[Message] = []  # messages that another role follows, so that nothing is added to them
        self._role: Literal["user", "assistant"] = "user"
        self._texts = [start]
        self._made: Message | None = None  # the last message, until something is added to it

    def add(self, role: Literal["user", "assistant"], text: str) -> None:
        if role != self._role:
            self._complete.append(self._last())
            self._role, self._texts = role, []
        self._texts.append(text)
        self._made = None

    def messages(self) -> list[Message]:
        """Return the messages so far; the last is a user message, as chat templates need; more may be added afterwards."""
        if self._role == "user":
            return [*self._complete, self._last()]
        return [*self._complete, self._last(), Message(role="user", content=GOES_ON)]

    def _last(self) -> Message:
        if self._made is None:
            self._made = Message(role=self._role, content="\n\n".join(self._texts))
        return self._made
