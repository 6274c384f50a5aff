"""Play a scene of several characters: who is next, from which prompt, what the answer says, turn by turn.

    engine = SceneEngine(scenario, cast, Players(actor=player, environment=player, next_speaker=player), SceneSettings())
    async for played in engine.play():      # each finished turn; leave the loop, or call `stop`, to stop
        ...
    engine.record                           # the transcript and the counters; give it as `resume` to go on

Evaluation, reinforcement learning and the playground play by it. All that it decides follows from the transcript, the settings
and the answers: a scene that is stopped after any turn and resumed is the scene that was never stopped, and two processes with
equal answers write equal bytes. Who sees what is decided in her/view.py.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence

from her import view
from her.backends.base import Completion
from her.characters.coser import stable_id
from her.errors import InputError
from her.format import parse, plain_turn
from her.kinds import PLAN
from her.prompts import fill
from her.rollouts.loops import without_loops
from her.rollouts.next_speaker import ReadingKind, SpeakerReading, addressed, drawn, in_turn, read_next_speaker
from her.rollouts.players import Player, PlayerRequest, Players, Purpose
from her.rollouts.scene_values import (
    Chosen,
    Ended,
    Mark,
    NextSpeakerMode,
    PlayedTurn,
    SceneCounters,
    SceneMove,
    SceneRecord,
    SceneSettings,
)
from her.types import ENVIRONMENT, CastMember, Message, Part, Scenario, Transcript, Turn

__all__ = [
    "NextSpeakerMode",
    "PlayedTurn",
    "SceneCounters",
    "SceneEngine",
    "SceneMove",
    "SceneRecord",
    "SceneSettings",
]

STALLED = 4
"""Empty turns in a row after which a scene ends: nobody plays any more, and each further turn would cost money."""
_REFUSAL = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b|\bI(?:'m| am) (?:just )?an? (?:AI|language model)\b"
    r"|\bI(?:'m| am)(?: sorry| unable)[^.!?\n]{0,40}\b(?:assist|help) (?:you )?with (?:that|this)\b"
    r"|\bI (?:can(?:no|')t|won't)(?: \w+)? (?:assist|help) with (?:that|this)\b|\bcannot fulfil?l (?:that|this|your) request\b"
    r"|作为(?:一个|一名)?(?:AI|人工智能|大?语言模型)|我(?:无法|不能)(?:协助|提供|满足|完成)(?:您|你)?(?:的)?(?:这个|此|该)?(?:请求|要求|内容)",
    re.IGNORECASE,
)


class SceneEngine:
    """One scene. Its prompts are built from the transcript alone, never from what a player was sent before.

    Args:
        scenario: setting and language.
        cast: the characters.
        players: who plays them.
        settings: how it is played.
        resume: a record, or a transcript such as the first turns of a book; scenario and cast must be the same.
        read: reader of the next speaker's answer.

    Attributes:
        record: the scene as far as it is played.

    Raises:
        InputError: names that repeat or are nobody's, a missing player, a transcript of another scene.
    """

    def __init__(
        self,
        scenario: Scenario,
        cast: Sequence[CastMember],
        players: Players,
        settings: SceneSettings | None = None,
        *,
        resume: SceneRecord | Transcript | None = None,
        read: Callable[[str, Sequence[str]], SpeakerReading] = read_next_speaker,
    ) -> None:
        self.players, self.settings, self._read = players, settings or SceneSettings(), read
        started = resume.transcript if isinstance(resume, SceneRecord) else resume
        if started is None:
            identity = stable_id("scene", scenario.id, *(member.name for member in cast), self.settings.seed)
            started = Transcript(id=identity, scenario=scenario, cast=tuple(cast))
        if (started.scenario, started.cast) != (scenario, tuple(cast)):
            raise InputError(f"transcript {started.id!r} is of another scene or cast; resume it with its own")
        _check_names(started, players, self.settings)
        counters = resume.counters if isinstance(resume, SceneRecord) else SceneCounters()
        self.record = SceneRecord(transcript=started, counters=counters)
        self._stopping = False
        self._pending = SceneCounters()  # of the turn that is being played: a turn that fails counts nothing

    @property
    def transcript(self) -> Transcript:
        """The scene so far."""
        return self.record.transcript

    def stop(self) -> None:
        """End the scene after the turn that is being played."""
        self._stopping = True

    async def play(self) -> AsyncIterator[PlayedTurn]:
        """Play turn after turn to the end of the scene; each is in `record` when it is yielded.

        Raises:
            BackendError: a player failed. `record` has all turns before it; a new engine may resume from there.
            InputError: what must be in a prompt does not fit, or a person named nobody who may be next.
        """
        self._stopping = False
        while not (ended := self._over()):
            self._pending = SceneCounters()
            written = self._written()
            if written is None:
                chosen = await self.choose()
                if isinstance(chosen, str):
                    ended = chosen
                    self._keep()
                    break
            played = written or await self._turn(*chosen)
            self._keep(played)
            yield played
        self.record = self.record.model_copy(update={"ended": ended})

    async def run(self) -> SceneRecord:
        """Play the scene to its end and return the record."""
        async for _ in self.play():
            pass
        return self.record

    def choices(self) -> tuple[str, ...]:
        """Return who may have the next turn: those who are there, in the order of the cast, then the environment."""
        transcript = self.transcript
        away = view.absent(transcript)
        there = [member.name for member in transcript.cast if member.name not in away]
        last = transcript.turns[-1].speaker if transcript.turns else ""
        if self.players.environment is not None:
            there.append(ENVIRONMENT)
        others = [name for name in there if self.settings.may_repeat or name != last]
        return tuple(others or there)

    # Choosing

    def _over(self) -> Ended:
        turns, settings = self.transcript.turns, self.settings
        if self._stopping:
            return "stopped"
        if len(turns) >= settings.rounds:
            return "rounds"
        if len(turns) >= STALLED and all(_is_empty_turn(turn) for turn in turns[-STALLED:]):
            return "stalled"
        return ""

    async def choose(self) -> tuple[str, Chosen] | Ended:
        """Return the next speaker and how they were chosen, or why the scene ends; raises as `play`."""
        turns, settings = self.transcript.turns, self.settings
        choices = self.choices()
        if not choices:
            return "nobody"
        if not turns:
            return (settings.first if settings.first in choices else choices[0]), "first"
        if settings.next_speaker in ("model", "manual"):
            return await self._asked(choices)
        every = settings.narrator_every
        if 0 < every <= len(turns) and ENVIRONMENT in choices and not any(turn.speaker == ENVIRONMENT for turn in turns[-every:]):
            return ENVIRONMENT, "narrator"
        people = [name for name in choices if name != ENVIRONMENT] or list(choices)
        cast = [member.name for member in self.transcript.cast]
        if settings.next_speaker == "mention" and (name := addressed(turns[-1], cast, people)):
            return name, "addressed"
        # All of the cast keep their places in the order, so that nobody loses a turn when somebody goes.
        order = people if people == [ENVIRONMENT] else cast
        name = in_turn(turns, order)
        while name not in people:
            name = order[(order.index(name) + 1) % len(order)]
        return name, "turn"

    async def _asked(self, choices: tuple[str, ...]) -> tuple[str, Chosen] | Ended:
        """Ask the next speaker's player, once more after an answer that is no use, and draw one by the seed then."""
        player, number = self.players.next_speaker, len(self.transcript.turns)
        assert player is not None  # checked when the engine was made
        names = [*(member.name for member in self.transcript.cast), ENVIRONMENT]
        prompt = self._fitted(player, lambda budget, count: view.next_speaker_prompt(self.transcript, choices, budget, count))
        messages = prompt.messages
        kind: ReadingKind = "unreadable"
        for attempt in range(self.settings.asks):
            if attempt:
                self._count(asked_again=attempt == 1)
            answer = await player.answer(self._request("next_speaker", "", messages, attempt))
            reading = self._read(answer.text, names)
            kind = reading.kind
            if kind == "end" and number >= self.settings.shortest:
                return "end"
            if kind == "name" and reading.name in choices:
                return reading.name, "named"
            if kind == "random":
                break
            self._count(early_ends=kind == "end")
            messages = _asked_again(messages, answer.text, choices, self.transcript)
        if self.settings.next_speaker == "manual" and kind != "random":
            raise InputError(f"the answer names nobody who can be next; choose one of {', '.join(choices)}")
        self._count(**{"random" if kind == "random" else "fallbacks": 1})
        pool = [name for name in choices if name in self.settings.pool] or choices
        return drawn(pool, self.settings.seed, self.transcript.id, number), "drawn"

    # Playing

    def _written(self) -> PlayedTurn | None:
        """Return the written turn of the environment that brings somebody in, or shows them out, at this place."""
        number = len(self.transcript.turns)
        move = next((each for each in self.settings.moves if each.turn == number), None)
        if move is None:
            return None
        zh = self.transcript.scenario.language == "zh"
        comings = [f"{name}走了进来。" if zh else f"{name} comes in." for name in move.enters]
        goings = [f"{name}离开了。" if zh else f"{name} leaves." for name in move.leaves]
        turn = plain_turn(ENVIRONMENT, move.text or ("" if zh else " ").join([*comings, *goings]))
        turn = turn.model_copy(update={"id": self._turn_id(turn), "enters": move.enters, "leaves": move.leaves})
        return PlayedTurn(turn=turn, chosen="written")

    async def _turn(self, name: str, chosen: Chosen) -> PlayedTurn:
        """Let somebody play one turn; an empty one is asked for again."""
        narrates = name == ENVIRONMENT
        player = self.players.environment if narrates else self.players.of(name)
        assert player is not None  # checked when the engine was made
        prompt = self._fitted(
            player,
            lambda budget, count: (
                view.narrator_prompt(self.transcript, budget, count)
                if narrates
                else view.prompt(self.transcript, name, budget, count)
            ),
        )
        marks: list[Mark] = []
        for attempt in range(self.settings.retries + 1):
            purpose: Purpose = "environment" if narrates else "character"
            answer = await player.answer(self._request(purpose, name, prompt.messages, attempt))
            turn, marks = self._read_turn(name, answer)
            marks += ["retried"] if attempt else []
            if "empty" not in marks:
                break
        self._count(dropped=len(prompt.dropped))
        return PlayedTurn(turn=turn, chosen=chosen, marks=tuple(marks), messages=prompt.messages, finish=answer.finish)

    def _read_turn(self, name: str, answer: Completion) -> tuple[Turn, list[Mark]]:
        """Return the turn of an answer and what is to be noted about it."""
        if name in self.players.people:
            turn = plain_turn(name, answer.text)
        else:
            others = [*(member.name for member in self.transcript.cast), ENVIRONMENT]
            turn = parse(answer.text, name, [each for each in others if each != name], self.settings.notation, answer.reasoning)
        # A plan is in nobody's prompt, so a loop in it does no harm.
        parts = tuple(
            part if part.kind == PLAN else Part(kind=part.kind, text=without_loops(part.text).strip()) for part in turn.parts
        )
        marks: dict[Mark, bool] = {
            "empty": _is_empty_turn(turn),
            "silent": not turn.spoken and any(part.kind == "role_thinking" for part in parts),
            "truncated": answer.finish == "length",
            "refused": bool(_REFUSAL.search(turn.text("speech"))),
            "looped": parts != turn.parts,
            "spoke_for_others": any(defect.name == "other_speaker" for defect in turn.defects),
        }
        turn = turn.model_copy(update={"id": self._turn_id(turn), "parts": parts})
        return turn, [mark for mark, noted in marks.items() if noted]

    def _keep(self, played: PlayedTurn | None = None) -> None:
        """Put a finished turn and what was counted with it into the record, both at once."""
        transcript, counters = self.transcript, self.record.counters
        if played is not None:
            transcript = transcript.model_copy(update={"turns": (*transcript.turns, played.turn)})
            self._count(turns=played.chosen != "written", **{mark: 1 for mark in played.marks if mark != "retried"})
        counters = counters.plus(**self._pending.model_dump())
        self.record = self.record.model_copy(update={"transcript": transcript, "counters": counters})

    def _count(self, **more: int) -> None:
        self._pending = self._pending.plus(**more)

    def _fitted(self, player: Player, build: Callable[[int, Callable[[Sequence[Message]], int]], view.Prompt]) -> view.Prompt:
        return build(player.budget, player.count) if player.budget else build(1, lambda _: 0)

    def _request(self, purpose: Purpose, speaker: str, messages: tuple[Message, ...], attempt: int) -> PlayerRequest:
        number = len(self.transcript.turns)
        seed = _seed(self.settings.seed, self.transcript.id, number, purpose, attempt)
        return PlayerRequest(purpose, speaker, messages, number, attempt, seed)

    def _turn_id(self, turn: Turn) -> str:
        """Return an id that follows from the scene so far and the turn: equal in every process, another in every branch."""
        above = self.transcript.turns[-1].id if self.transcript.turns else ""
        return stable_id(self.transcript.id, len(self.transcript.turns), above, turn.speaker, turn.raw)


def _check_names(transcript: Transcript, players: Players, settings: SceneSettings) -> None:
    names = [member.name for member in transcript.cast]
    if not names or ENVIRONMENT in names or len(set(names)) != len(names):
        raise InputError(f"the cast is {', '.join(names) or 'empty'}; name each character once, and nobody {ENVIRONMENT}")
    if missing := [name for name in names if players.of(name) is None]:
        raise InputError(f"nobody plays {', '.join(missing)}; give a player for each, or `actor` for all")
    if settings.next_speaker in ("model", "manual") and players.next_speaker is None:
        raise InputError(f"next_speaker={settings.next_speaker} needs a player `next_speaker`; give one, or choose round_robin")
    moved = [name for move in settings.moves for name in (*move.enters, *move.leaves)]
    begins = [settings.first] if settings.first not in ("", ENVIRONMENT) else []
    named = [*players.people, *players.actors, *moved, *begins]
    if strangers := sorted(set(named) - set(names)):
        raise InputError(f"{', '.join(strangers)}: not in the cast; the cast is {', '.join(names)}")


def _is_empty_turn(turn: Turn) -> bool:
    return all(part.kind == PLAN for part in turn.parts)


def _asked_again(messages: tuple[Message, ...], answer: str, choices: Sequence[str], scene: Transcript) -> tuple[Message, ...]:
    """Return the question with the answer that was no use and a request for a name."""
    separator = "、" if scene.scenario.language == "zh" else ", "
    again = fill("choose_speaker_again", scene.scenario.language, {"choices": separator.join(choices)})
    if not answer.strip():  # servers refuse empty messages
        last = messages[-1].model_copy(update={"content": f"{messages[-1].content}\n\n{again}"})
        return (*messages[:-1], last)
    return (*messages, Message(role="assistant", content=answer), Message(role="user", content=again))


def _seed(*parts: str | int) -> int:
    """Return 31 bits of a hash: equal in every process, and every server takes them."""
    return int.from_bytes(hashlib.sha256("\n".join(map(str, parts)).encode()).digest()[:4]) >> 1
