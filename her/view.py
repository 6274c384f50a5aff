"""Who sees what: the one place that decides visibility, and turns a transcript into the messages of one viewer.

    | part                 | own character later | others, environment, next speaker | person | reward model | judge |
    | system_thinking      | no                  | no                                | panel  | no           | no    |
    | role_thinking        | yes                 | no                                | panel  | yes          | if asked |
    | role_action, speech  | yes                 | yes                               | yes    | yes          | yes   |

(DESIGN section 1, her.md 1.2.) Chat, training, RL and evaluation all call `prompt` or `messages`, so the prompt that the
playground sends is the prompt part of the training sample, byte for byte.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Literal

from her.characters.personas import fill_slots
from her.errors import InputError
from her.format import parse, render
from her.kinds import KINDS, REPLY_KINDS, VISIBLE_KINDS, Kind
from her.prompts import fill
from her.types import ENVIRONMENT, CastMember, Example, Language, Message, Scenario, Transcript, Turn, Value

ViewerKind = Literal["character", "environment", "next_speaker", "person", "reward_model", "judge"]
START = "===Conversation Start==="


class Viewer(Value):
    """Somebody who looks at a transcript. `name` is a character's; `thoughts` lets a judge see role_thinking."""

    kind: ViewerKind
    name: str = ""
    thoughts: bool = False


class Prompt(Value):
    """Messages up to the point of generation, and what was left out to make them fit.

    Args:
        messages: system message, then the history; never empty.
        dropped: ids of turns cut from the oldest, in order.
        tokens: tokens of `messages`, by the `count` that was given.
        budget: the most they might have had.
    """

    messages: tuple[Message, ...]
    dropped: tuple[str, ...] = ()
    tokens: int = 0
    budget: int = 0


def opening(messages: Sequence[Message]) -> str:
    """The first line of a prompt: who is played, from what, with whom."""
    return messages[0].content.partition("\n")[0]


def visible_kinds(viewer: Viewer, speaker: str) -> tuple[Kind, ...]:
    """The kinds of a turn by `speaker` that `viewer` may know of."""
    if viewer.kind == "person":
        return KINDS
    if viewer.kind == "reward_model" or (viewer.kind == "judge" and viewer.thoughts):
        return REPLY_KINDS
    if viewer.kind == "character" and viewer.name == speaker:
        return REPLY_KINDS
    return VISIBLE_KINDS


def line(turn: Turn, viewer: Viewer) -> str:
    """One turn as `viewer` reads it, `Name: ...` in the canonical form; empty when nothing of it is visible."""
    kinds = visible_kinds(viewer, turn.speaker)
    if not any(part.kind in kinds for part in turn.parts):
        return ""
    return render(turn.parts, turn.speaker, kinds=kinds)


def messages(transcript: Transcript, speaker: str, turns: Sequence[Turn] | None = None) -> tuple[Message, ...]:
    """The messages from which `speaker` plays the next turn.

    Own turns are the assistant's, everybody else's the user's; neighbours of one role are joined by a blank line; the
    first user message opens with `START` (her.md 1.3). When `speaker` spoke last, a user message that says so closes.

    Args:
        transcript: scenario, cast and all turns so far.
        speaker: who is played; a member of the cast, or the environment.
        turns: the turns to show instead of all of them.
    """
    shown = transcript.turns if turns is None else turns
    viewer = Viewer(kind="character", name=speaker)
    lines = [(turn.speaker == speaker, line(turn, viewer)) for turn in shown]
    return _joined(system(transcript, speaker), lines, transcript.scenario.language)


def prompts(transcript: Transcript, speakers: Collection[str] | None = None) -> Iterator[tuple[Turn, tuple[Message, ...]]]:
    """Every turn with the messages from which its speaker plays it, in one pass over the transcript.

    Exactly `messages(transcript, turn.speaker, the turns before it)`, at the cost of one of them instead of one a turn.

    Args:
        speakers: whose turns are wanted; default the whole cast.
    """
    wanted = {member.name for member in transcript.cast if speakers is None or member.name in speakers}
    histories = {name: _History(START) for name in wanted}
    heads: dict[str, Message] = {}
    anybody = Viewer(kind="environment")
    for turn in transcript.turns:
        name = turn.speaker
        if name in wanted:
            if name not in heads:
                heads[name] = Message(role="system", content=system(transcript, name))
            yield turn, (heads[name], *histories[name].closed(transcript.scenario.language))
        seen_by_others = line(turn, anybody)
        for other, history in histories.items():
            if text := line(turn, Viewer(kind="character", name=name)) if other == name else seen_by_others:
                history.add("assistant" if other == name else "user", text)


def prompt(transcript: Transcript, speaker: str, budget: int, count: Callable[[Sequence[Message]], int]) -> Prompt:
    """`messages`, cut at whole turns from the oldest until they have at most `budget` tokens.

    The system message (persona and scene) and the last turn always stay.

    Raises:
        InputError: they alone have more than `budget` tokens.
    """
    turns, viewer = transcript.turns, Viewer(kind="character", name=speaker)
    head = system(transcript, speaker)
    told = cache(lambda index: (turns[index].speaker == speaker, line(turns[index], viewer)))

    def since(first: int) -> tuple[Message, ...]:
        return _joined(head, [told(index) for index in range(first, len(turns))], transcript.scenario.language)

    first = _first_that_fits(len(turns), lambda index: count(since(index)) <= budget)
    kept = since(first)
    if (tokens := count(kept)) > budget:
        raise InputError(
            f"persona, scene and the last message have about {tokens} tokens and the model has room for {budget}; "
            "shorten the message, or connect a model with a longer context"
        )
    return Prompt(messages=kept, dropped=tuple(turn.id for turn in turns[:first]), tokens=tokens, budget=budget)


def continuation(so_far: Prompt, turn: Turn) -> Prompt:
    """The prompt that asks the model to go on with its own unfinished `turn`: its raw text, byte for byte, comes last."""
    own = Message(role="assistant", content=turn.raw)
    return so_far.model_copy(update={"messages": (*so_far.messages, own)})


def system(transcript: Transcript, speaker: str) -> str:
    """The system message for `speaker`: role, persona, scene, company, examples, how to write a turn."""
    scenario, language = transcript.scenario, transcript.scenario.language
    member = transcript.member(speaker)
    others = [other for other in transcript.cast if other.name != speaker]
    zh = language == "zh"
    values = {
        "name": speaker,
        "of_source": (f"（{member.source}）" if zh else f", from {member.source}") if member.source else "",
        "others": ("、" if zh else ", ").join(other.name for other in others) or ("来客" if zh else "a visitor"),
        "profile": member.profile,
        "background": member.background,
        "voice": member.voice,
        "motivation": member.motivation,
        "place": (f"地点：{scenario.place}" if zh else f"Place: {scenario.place}") if scenario.place else "",
        "setting": scenario.setting,
        "company": "\n".join(_introduction(other, language) for other in others if other.profile.strip()),
        "examples": "\n\n".join(_example(example, speaker, others, scenario) for example in member.examples),
    }
    return fill("roleplay", language, values)


def _introduction(member: CastMember, language: Language) -> str:
    return f"{member.name}{'：' if language == 'zh' else ': '}{member.profile.strip()}"


def _example(example: Example, speaker: str, others: Sequence[CastMember], scenario: Scenario) -> str:
    """One example exchange, the reply in the canonical form with its plan."""
    visitor = others[0].name if others else ("来客" if scenario.language == "zh" else "Visitor")
    place = scenario.place or ("此处" if scenario.language == "zh" else "this place")
    said, plan, reply = (fill_slots(text, visitor, place) for text in (example.visitor, example.plan, example.reply))
    return f"{visitor}: {said}\n{render(parse(reply, speaker, notation='coser', reasoning=plan).parts, speaker)}"


def _first_that_fits(total: int, fits: Callable[[int], bool]) -> int:
    """The smallest index from which on everything fits, at most the last. Looks from the end, where most of it is cut."""
    high, step = max(total - 1, 0), 32
    low = max(total - step, 0)
    while fits(low):
        if low == 0:
            return 0
        high, step = low, step * 4
        low = max(total - step, 0)
    while low < high:  # `low` does not fit; `high` does, or is the last
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return high


def _joined(head: str, lines: Iterable[tuple[bool, str]], language: Language) -> tuple[Message, ...]:
    """The messages of a system text and of turns: whether the model speaks them, and how they read."""
    history = _History(START)
    for own, text in lines:
        if text:
            history.add("assistant" if own else "user", text)
    return (Message(role="system", content=head), *history.closed(language))


class _History:
    """Collects user and assistant texts; neighbours of one role become one message."""

    def __init__(self, start: str) -> None:
        self._whole: list[Message] = []  # followed by another role, so nothing is added to them
        self._role: Literal["user", "assistant"] = "user"
        self._texts = [start]

    def add(self, role: Literal["user", "assistant"], text: str) -> None:
        if role != self._role:
            self._whole.append(self._last())
            self._role, self._texts = role, []
        self._texts.append(text)

    def closed(self, language: Language) -> list[Message]:
        """The messages so far, with a last word to the character when it spoke last; more may be added afterwards."""
        if self._role == "user":
            return [*self._whole, self._last()]
        silence = f"{ENVIRONMENT}: {'一时无人说话。' if language == 'zh' else 'For a moment nobody speaks.'}"
        return [*self._whole, self._last(), Message(role="user", content=silence)]

    def _last(self) -> Message:
        return Message(role=self._role, content="\n\n".join(self._texts))
