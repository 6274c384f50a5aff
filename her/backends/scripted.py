"""The embedded player: no model, but lines written for each persona, found by what was said.

It is stateless and sees messages only, as a model would: who it plays, where, and with whom stand in the prompt that
her/view.py writes. The same messages, seed and sampling give the same reply.
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
from her.kinds import REPLY_KINDS, VISIBLE_KINDS
from her.tokens import estimate_tokens
from her.types import ENVIRONMENT, Exchange, Language, Message, NonEmpty, Part, Persona, Sampling, Value

REMEMBERED = 12
"""How many of the last assistant messages are never repeated."""
NAMED_SEEDS = 100
"""`Sampling.seed` below this names the alternative: 0 the best fitting line, 1 the next, and so on; above, it is drawn."""
BEST = 0.7
"""How often a drawn seed takes the best fitting line."""
_WORDS: dict[Language, tuple[str, str]] = {"en": ("friend", "here"), "zh": ("朋友", "这里")}
_ROLE = re.compile(r"\s*(?:You are\s+|你是\s*)")
_NAME = {"en": re.compile(r"(.+?)(?:, from |, in a conversation|,|\.?\s*$)"), "zh": re.compile(r"(.+?)(?:（|\(|，|,|。|\s*$)")}
_PLACE = re.compile(r"(?m)^(?:Place: |地点：)(.+)$")
_SPEAKER = re.compile(r"(?m)^([^\n:：<>=]{1,80})[:：] ?")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_PIECE = re.compile(r"\s*(?:[\u3000-\u9fff\uff00-\uffef]{1,2}|[^\s\u3000-\u9fff\uff00-\uffef]+)|\s+")


class Situation(Value):
    """What the messages tell: who is played, by which persona's lines, with whom, where, and what was said last."""

    name: str
    persona: str = ""
    language: Language = "en"
    visitor: str
    place: str
    heard: str = ""


class GenericLines(Value):
    """Lines for a character that nobody wrote lines for; `closings` end a turn that was cut off."""

    exchanges: tuple[Exchange, ...]
    closings: tuple[NonEmpty, ...]


class ScriptedBackend:
    """See `her.backends.base.Backend`.

    Args:
        personas: by id; a mapping that changes later is followed.
        seed: of all choices that the messages leave open.
        rate: tokens a second (one word, or one or two Chinese characters); 0 streams at once.
    """

    def __init__(self, personas: Mapping[str, Persona], seed: int = 0, rate: float = 40) -> None:
        self._personas, self._seed, self._rate = personas, seed, rate
        self._lines: dict[str, tuple[Persona, Lines]] = {}

    def describe(self) -> Description:
        """`scripted` is True: a badge must say that no model is connected."""
        return Description(spec="scripted:", model="scripted", revision=str(self._seed), context=32_768, scripted=True)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """An estimate, see `estimate_tokens`."""
        return estimate_tokens(messages)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream the fitting line at `rate`; when the last message is the assistant's, go on where it stops."""
        text = await asyncio.to_thread(self._reply, messages, sampling)  # the first call imports and indexes for 0.3 s
        for stop in sampling.stop:
            text = text.partition(stop)[0]
        pieces = _PIECE.findall(text)
        told = pieces[: sampling.max_tokens]
        started = asyncio.get_running_loop().time()
        for number, piece in enumerate(told):
            if self._rate:
                await asyncio.sleep(started + number / self._rate - asyncio.get_running_loop().time())
            yield Delta(text=piece)
        usage = Usage(prompt_tokens=self.count_tokens(messages), completion_tokens=len(told))
        yield Delta(finish="length" if len(told) < len(pieces) else "stop", usage=usage)

    async def check(self) -> str:
        """Always well; says what there is."""
        count = sum(len(persona.exchanges) for persona in self._personas.values())
        return f"No model is connected; {count} written lines of {len(self._personas)} personas are ready."

    async def close(self) -> None:
        """Nothing to free."""

    def _reply(self, messages: Sequence[Message], sampling: Sampling) -> str:
        """The text to stream."""
        stage = read_situation(messages, self._personas)
        chance = self._chance(messages, sampling)
        if messages and messages[-1].role == "assistant":
            return self._rest(stage, messages[-1].content, chance)
        own = [message.content for message in messages if message.role == "assistant"][-REMEMBERED:]
        lines = self._alternatives(stage, RecentReplies(own, stage.name), chance)
        seed = sampling.seed or 0
        if seed >= NAMED_SEEDS or seed < 0:
            seed = 0 if chance.random() < BEST else chance.randrange(len(lines))
        return lines[seed % len(lines)].written(stage.name, _slots(stage))

    def _alternatives(self, stage: Situation, said: RecentReplies, chance: random.Random) -> list[ScriptedLine]:
        """The lines that may be said now, the best first; never empty."""
        own, generic = self._own_lines(stage), _card(stage.language, stage.name)
        for lines in (own, generic):
            if lines is None:
                continue
            fitting = [line for line in lines.fitting(stage.heard, (stage.name, stage.visitor)) if not said.has(line)]
            others = [line for line in lines.anytime or lines.all if line not in fitting and not said.has(line)]
            chance.shuffle(others)
            if fitting or others:
                return fitting + others
        # Only when whole turns of many lines were joined into one message can the last twelve hold all generic ones.
        return chance.sample(generic.all, len(generic.all))

    def _own_lines(self, stage: Situation) -> Lines | None:
        """The persona's lines, None when it has none; read once for each version of the persona."""
        persona = self._personas.get(stage.persona)
        if persona is None or not persona.exchanges:
            return None
        kept = self._lines.get(persona.id)
        if kept is None or kept[0] != persona:
            kept = self._lines[persona.id] = (persona, Lines(persona.exchanges, persona.name))
        return kept[1]

    def _rest(self, stage: Situation, begun: str, chance: random.Random) -> str:
        """How the unfinished message goes on: the rest of the line it began, else a closing word."""
        slots = _slots(stage)
        for lines in filter(None, (self._own_lines(stage), _card(stage.language, stage.name))):
            for line in lines.all:
                whole = line.written(stage.name, slots)
                spoken = line.written(stage.name, slots, REPLY_KINDS)
                for text in (whole, spoken):
                    if begun.strip() and text.startswith(begun) and len(text) > len(begun):
                        return text[len(begun) :]
        closing = chance.choice(generic_lines()[stage.language].closings)
        parts = parse(begun, stage.name, notation="her").parts
        closed = render((*parts, Part(kind="speech", text=closing)), stage.name)
        return closed[len(begun) :] if closed.startswith(begun) else f" {closing}"

    def _chance(self, messages: Sequence[Message], sampling: Sampling) -> random.Random:
        """The dice of one reply, the same for the same seeds and messages."""
        drawn = sampling.seed if sampling.seed is not None and not 0 <= sampling.seed < NAMED_SEEDS else None
        key = json.dumps([self._seed, drawn, [[message.role, message.content] for message in messages]])
        return random.Random(hashlib.sha256(key.encode()).digest())


def read_situation(messages: Sequence[Message], personas: Mapping[str, Persona]) -> Situation:
    """Read the prompt of her/view.py: first line, `Place:` line and the last user message's `Name: `."""
    system = messages[0].content if messages and messages[0].role == "system" else ""
    first = system.strip().partition("\n")[0]
    persona = _persona(first, personas)
    language: Language = persona.language if persona else "zh" if _HAN.search(first) else "en"
    name = persona.name if persona else _unknown(first, language)
    place = _PLACE.search(system)
    users = [message.content for message in messages if message.role == "user"]
    visitor, heard = _heard(users[-1] if users else "", first, name)
    friend, here = _WORDS[language]
    return Situation(
        name=name,
        persona=next((key for key, value in personas.items() if value is persona), ""),
        language=language,
        visitor=visitor or friend,
        place=place[1].strip() if place else here,
        heard=heard,
    )


@cache
def generic_lines() -> dict[str, GenericLines]:
    """The lines of scripted_generic.yaml by language."""
    text = files(__package__).joinpath("scripted_generic.yaml").read_text("utf-8")
    return {language: GenericLines.model_validate_json(json.dumps(part)) for language, part in yaml.safe_load(text).items()}


@lru_cache(maxsize=64)
def _card(language: Language, name: str) -> Lines:
    """The generic lines for one character."""
    return Lines(generic_lines()[language].exchanges, name)


def _persona(first: str, personas: Mapping[str, Persona]) -> Persona | None:
    """The persona named right after "You are", else anywhere in the line; the longest name wins."""
    role = _ROLE.match(first)
    by_length = sorted(personas.values(), key=lambda persona: -len(persona.name))
    if role:
        rest = first[role.end() :]
        named = (each for each in by_length if re.match(re.escape(each.name) + r"(?![A-Za-z\d])", rest, re.IGNORECASE))
        return next(named, None)
    return next((each for each in by_length if each.name.lower() in first.lower()), None)


def _unknown(first: str, language: Language) -> str:
    """The name of a character without a persona."""
    role = _ROLE.match(first)
    found = _NAME[language].match(first[role.end() :]) if role else None
    return found[1].strip() if found else {"en": "The player", "zh": "替身"}[language]


def _heard(message: str, first: str, name: str) -> tuple[str, str]:
    """Visitor's name (empty when not said) and their words, from the last turn in a user message by one of the company."""
    speakers = [found for found in _SPEAKER.finditer(message) if found[1] not in (name, ENVIRONMENT)]
    present = [found for found in speakers if found[1] in first]
    if not speakers:
        return "", "" if message.startswith("===") else _plain(message, "Visitor")
    last = present[-1] if present else speakers[0]
    return last[1].strip(), _plain(message[last.start() :], last[1].strip())


def _plain(line: str, speaker: str) -> str:
    """What was said and done, without tags."""
    return parse(line, speaker, notation="her").text(*VISIBLE_KINDS)


def _slots(stage: Situation) -> dict[str, str]:
    return {"visitor": stage.visitor, "place": stage.place, "name": stage.name}
