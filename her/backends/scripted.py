"""`scripted:` answers with lines that were written for each persona, chosen by the visitor's last words. No model.

The backend is stateless and sees only messages, as a model would. Who it plays, where and with whom stands in the prompt that
her/view.py writes; `read_situation` reads it from there. The same messages, seed and sampling give the same reply.
"""

import asyncio
import hashlib
import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files

import yaml

from her.backends.base import Completion, Delta, Description, Usage, join_deltas
from her.backends.scripted_lines import Lines, RecentReplies, ScriptedLine
from her.format import parse, render
from her.kinds import PANEL_KINDS, PLAN, REPLY_KINDS, VISIBLE_KINDS
from her.tokens import estimate_tokens
from her.types import ENVIRONMENT, Exchange, Language, Message, NonEmpty, Part, Persona, Sampling, Value

REMEMBERED = 12
"""A line is not repeated while it is among this many last assistant messages."""
NAMED_SEEDS = 100
"""A `Sampling.seed` below this selects the alternative: 0 the best line, 1 the next, and so on. A larger seed draws one."""
BEST = 0.7
"""Probability that a drawn seed takes the best line."""
_OPEN_ENDED = {"unclosed_plan", "missing_close", "cut_tag"}
_DEFAULTS: dict[Language, tuple[str, str]] = {"en": ("friend", "here"), "zh": ("朋友", "这里")}
"""Words for a visitor without a name and for an unknown place."""
_ROLE = re.compile(r"\s*(?:You are\s+|你是\s*)")
_NAME = {"en": re.compile(r"(.+?)(?:, from |, in a conversation|,|\.?\s*$)"), "zh": re.compile(r"(.+?)(?:（|\(|，|,|。|\s*$)")}
_PLACE = re.compile(r"(?m)^(?:Place: |地点：)(.+)$")
_SPEAKER = re.compile(r"(?m)^(?=[^\n:：]*[^\s:：])([^\n:：<>=]{1,80})[:：] ?")
"""`Name: ` at the start of a line. The lookahead refuses a name of white space only, which no turn can have."""
_HAN = re.compile(r"[\u4e00-\u9fff]")
_PIECE = re.compile(r"\s*(?:[\u3000-\u9fff\uff00-\uffef]{1,2}|[^\s\u3000-\u9fff\uff00-\uffef]+)|\s+")
"""One streamed token: a word, or one or two Chinese characters, with the white space before it."""


class Situation(Value):
    """Situation in the messages: who is played, with which persona's lines, with whom, where, and the last words heard.

    Args:
        persona: id of the persona; empty for a character without one.
    """

    name: NonEmpty
    persona: str = ""
    language: Language = "en"
    visitor: NonEmpty
    place: NonEmpty
    heard: str = ""


class GenericLines(Value):
    """Lines for a character without written lines. `closings` end a turn that was cut off."""

    exchanges: tuple[Exchange, ...]
    closings: tuple[NonEmpty, ...]


class ScriptedBackend:
    """A `her.backends.base.Backend` without a model.

    Args:
        personas: by id. The mapping is read at every call, so later changes take effect.
        seed: of all choices that the messages leave open.
        rate: tokens per second (one word, or one or two Chinese characters); 0 streams at once.
    """

    def __init__(self, personas: Mapping[str, Persona], seed: int = 0, rate: float = 40) -> None:
        self._personas, self._seed, self._rate = personas, seed, rate
        self._lines: dict[str, tuple[Persona, Lines]] = {}

    def describe(self) -> Description:
        """Describe this backend; `scripted` is True, so that a badge can say that no model is connected."""
        return Description(spec="scripted:", model="scripted", revision=str(self._seed), context=32_768, scripted=True)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an estimate, see `estimate_tokens`."""
        return estimate_tokens(messages)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream the fitting line at `rate`; when the last message is the assistant's, continue it."""
        text = await asyncio.to_thread(self._reply, messages, sampling)  # the first call imports and indexes for 0.3 s
        for stop in sampling.stop:
            text = text.partition(stop)[0]
        pieces = _PIECE.findall(text)
        sent = pieces[: sampling.max_tokens]
        started = asyncio.get_running_loop().time()
        for number, piece in enumerate(sent):
            if self._rate:
                # Against the start, not the last piece: a late wake-up does not slow down the whole answer.
                await asyncio.sleep(started + number / self._rate - asyncio.get_running_loop().time())
            yield Delta(text=piece)
        usage = Usage(prompt_tokens=self.count_tokens(messages), completion_tokens=len(sent))
        yield Delta(finish="length" if len(sent) < len(pieces) else "stop", usage=usage)

    async def check(self) -> str:
        """Return how many lines there are; never fails."""
        count = sum(len(persona.exchanges) for persona in self._personas.values())
        return f"No model is connected; {count} written lines of {len(self._personas)} personas are ready."

    async def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def _reply(self, messages: Sequence[Message], sampling: Sampling) -> str:
        """Return the text to stream."""
        situation = read_situation(messages, self._personas)
        dice = self._dice(messages, sampling)
        if messages and messages[-1].role == "assistant":
            rest = self._continuation(situation, messages[-1].content, dice)
            return self._spoken(situation, messages, sampling, dice) if rest is None else rest
        return self._line(situation, messages, sampling, dice).written(situation.name, _slots(situation))

    def _line(self, situation: Situation, messages: Sequence[Message], sampling: Sampling, dice: random.Random) -> ScriptedLine:
        """Return the line to say; the seed chooses among those that fit."""
        own = [message.content for message in messages if message.role == "assistant"][-REMEMBERED:]
        lines = self._alternatives(situation, RecentReplies(own, situation.name), dice)
        seed = sampling.seed or 0
        if not 0 <= seed < NAMED_SEEDS:
            seed = 0 if dice.random() < BEST else dice.randrange(len(lines))
        return lines[seed % len(lines)]

    def _spoken(self, situation: Situation, messages: Sequence[Message], sampling: Sampling, dice: random.Random) -> str:
        """Return the acts and the speech of a line, to follow a plan or thoughts that were not written for it."""
        spoken = self._line(situation, messages[:-1], sampling, dice).written(situation.name, _slots(situation), VISIBLE_KINDS)
        thought = parse(messages[-1].content, situation.name, notation="her").parts[-1].kind != PLAN
        return spoken.removeprefix(f"{situation.name}: ") if thought else spoken

    def _alternatives(self, situation: Situation, recent: RecentReplies, dice: random.Random) -> list[ScriptedLine]:
        """Return the lines that may be said now, the best first; never empty."""
        own, generic = self._own_lines(situation), _generic_lines_for(situation.language, situation.name)
        for lines in filter(None, (own, generic)):
            names = (situation.name, situation.visitor)
            fitting = [line for line in lines.find_fitting(situation.heard, names) if not recent.includes(line)]
            others = [line for line in lines.anytime or lines.all if line not in fitting and not recent.includes(line)]
            dice.shuffle(others)
            if fitting or others:
                return fitting + others
        # Reached only when one assistant message holds many turns: twelve ordinary ones never hold all generic lines.
        return dice.sample(generic.all, len(generic.all))

    def _own_lines(self, situation: Situation) -> Lines | None:
        """Return the persona's lines, None when it has none. They are parsed once per version of the persona."""
        persona = self._personas.get(situation.persona)
        if persona is None or not persona.exchanges:
            return None
        kept = self._lines.get(persona.id)
        if kept is None or kept[0] != persona:
            kept = self._lines[persona.id] = (persona, Lines(persona.exchanges, persona.name))
        return kept[1]

    def _continuation(self, situation: Situation, begun: str, dice: random.Random) -> str | None:
        """Return the rest of the line that the unfinished message began, or a closing sentence when no line matches.

        None when nothing is said or done yet behind the plan or the last thought, so that any line may follow.
        """
        slots = _slots(situation)
        for lines in filter(None, (self._own_lines(situation), _generic_lines_for(situation.language, situation.name))):
            for line in lines.all:
                # The history a message continues may hold it with its plan or without.
                whole = line.written(situation.name, slots)
                spoken = line.written(situation.name, slots, REPLY_KINDS)
                for text in (whole, spoken):
                    if begun.strip() and text.startswith(begun) and len(text) > len(begun):
                        return text[len(begun) :]
        closing = dice.choice(generic_lines()[situation.language].closings)
        turn = parse(begun, situation.name, notation="her")
        parts = turn.parts
        if parts and parts[-1].kind in PANEL_KINDS and not _OPEN_ENDED & {defect.name for defect in turn.defects}:
            return None
        # Rendering what was parsed closes open tags; if that rewrites the beginning, only the sentence is appended.
        closed = render((*parts, Part(kind="speech", text=closing)), situation.name)
        return closed[len(begun) :] if closed.startswith(begun) else f" {closing}"

    def _dice(self, messages: Sequence[Message], sampling: Sampling) -> random.Random:
        """Return a random generator that is the same for the same seeds and messages."""
        # A seed that selects an alternative must not change the order that it selects from.
        drawn = sampling.seed if sampling.seed is not None and not 0 <= sampling.seed < NAMED_SEEDS else None
        key = json.dumps([self._seed, drawn, [[message.role, message.content] for message in messages]])
        return random.Random(hashlib.sha256(key.encode()).digest())


def read_situation(messages: Sequence[Message], personas: Mapping[str, Persona]) -> Situation:
    """Read the prompt of her/view.py: its first line, its `Place:` line, and the last user message's `Name: `."""
    system = messages[0].content if messages and messages[0].role == "system" else ""
    first_line = system.strip().partition("\n")[0]
    persona = _find_persona(first_line, personas)
    language: Language = persona.language if persona else "zh" if _HAN.search(first_line) else "en"
    name = persona.name if persona else _unknown_name(first_line, language)
    place = _PLACE.search(system)
    users = [message.content for message in messages if message.role == "user"]
    visitor, heard = _read_last_words(users[-1] if users else "", first_line, name)
    default_visitor, default_place = _DEFAULTS[language]
    return Situation(
        name=name,
        persona=next((key for key, value in personas.items() if value is persona), ""),
        language=language,
        visitor=visitor or default_visitor,
        place=(place[1].strip() if place else "") or default_place,
        heard=heard,
    )


@cache
def generic_lines() -> dict[str, GenericLines]:
    """Return the lines of scripted_generic.yaml by language."""
    text = files(__package__).joinpath("scripted_generic.yaml").read_text("utf-8")
    return {language: GenericLines.model_validate_json(json.dumps(part)) for language, part in yaml.safe_load(text).items()}


@lru_cache(maxsize=64)
def _generic_lines_for(language: Language, name: str) -> Lines:
    return Lines(generic_lines()[language].exchanges, name)


def _find_persona(first_line: str, personas: Mapping[str, Persona]) -> Persona | None:
    """Return the persona named right after "You are", or anywhere in a line without it.

    Longer names are tried first, so that Ann does not answer for Ann of Ely.
    """
    role = _ROLE.match(first_line)
    by_length = sorted(personas.values(), key=lambda persona: -len(persona.name))
    if role:
        rest = first_line[role.end() :]
        named = (each for each in by_length if re.match(re.escape(each.name) + r"(?![A-Za-z\d])", rest, re.IGNORECASE))
        return next(named, None)
    return next((each for each in by_length if each.name.lower() in first_line.lower()), None)


def _unknown_name(first_line: str, language: Language) -> str:
    """Return the name of a character without a persona; never blank."""
    role = _ROLE.match(first_line)
    name = _NAME[language].match(first_line[role.end() :]) if role else None
    return (name[1].strip() if name else "") or {"en": "The player", "zh": "替身"}[language]


def _read_last_words(message: str, first_line: str, name: str) -> tuple[str, str]:
    """Return the visitor's name (empty when there is none) and words, from the last turn of a user message.

    A colon inside a sentence looks like a speaker as well. So a name that the prompt's first line lists is preferred; without
    one the first `Name: ` of the message counts, since the rest may be such sentences.
    """
    speakers = [match for match in _SPEAKER.finditer(message) if match[1] not in (name, ENVIRONMENT)]
    present = [match for match in speakers if match[1] in first_line]
    if not speakers:
        return "", "" if message.startswith("===") else _without_tags(message, "Visitor")
    last = present[-1] if present else speakers[0]
    return last[1].strip(), _without_tags(message[last.start() :], last[1].strip())


def _without_tags(line: str, speaker: str) -> str:
    """Return what was said and done in a line."""
    return parse(line, speaker, notation="her").text(*VISIBLE_KINDS)


def _slots(situation: Situation) -> dict[str, str]:
    return {"visitor": situation.visitor, "place": situation.place, "name": situation.name}
