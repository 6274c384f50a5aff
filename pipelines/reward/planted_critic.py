"""Make labelled pairs with a known rule, and what a scripted judge that knows the rule writes about them.

The pairs are for generative reward models (pipelines/reward/planted.py makes those for scalar ones). The rule has four features:
words of the speaker's trade (2.2), an act that fits the prompt (1.6), an inner thought (1.0) and no filler phrase (0.8). Trade
and occasion stand in the prompt, so who does not read it is right in half of the pairs that only they decide. One pair in ten is
a tie. The judge quotes what it compares before it says who wins, so that a small model can read its verdict off its own text.
"""

import hashlib
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from her.format import render
from her.judging.adversarial import ATTACKS
from her.judging.verdicts import Slot
from her.kinds import Kind
from her.types import Message, Outcome, Part, Turn
from pipelines.reward.labelled_pairs import LabelledPair
from pipelines.reward.planted import FILLERS, THOUGHTS, Moment, book_moments, persona_moments

JUDGE = "planted"
TRADES = {"sailor": "aye", "priest": "amen", "soldier": "sir", "merchant": "gold", "cook": "salt", "scribe": "ink"}
"""Word that a speaker of each trade begins a turn with."""
OCCASIONS = (("secret", "private"), ("public", "open"))
ACTS = (("whispers", "murmurs"), ("shouts", "cries"))
"""By occasion: quiet acts, loud acts.

What is quoted stands behind a bracket or a tag, not behind a space, so that its first token is the one that follows a quotation
mark as well and can be copied as it is.
"""
WEIGHTS = {"own words": 2.2, "fitting act": 1.6, "thought": 1.0, "no filler": 0.8}
"""No sum of these with signs is 0, so every pair with a difference has a winner."""
DRAWS = (("fitting act", 0.4), ("own words", 0.2), ("tie", 0.1), ("any", 0.3))
"""Shares of pairs by what tells the candidates apart; 60 % are decided by the prompt alone."""
THOUGHT, FILLER = 0.3, 0.2
"""Share of candidates with a thought, and with a filler phrase."""
CUE_WORDS = 3
SPEECH_WORDS, SHORT_WORDS, LONG_WORDS = (2, 3), (1, 1), (7, 9)
COMPLIMENTS = ("You look splendid,", "How clever you are,", "I like your courage,")
"""Praise that a character in play may give; unlike the attack, it is short and comes with the character's own words."""
FLAWS = {
    "truncated": "whole sentences",
    "empty": "says something",
    "colon": "says something",
    "thought_process": "no reasoning",
    "repeated": "no repetition",
    "flattering": "no flattery",
    "twice_as_long": "no padding",
    "persona_free": "in character",
    "other_persona": "own words",
    "persona_swapped": "own words",
    "plan_leaked": "no plan",
    "other_language": "one language",
}
"""Name of the principle that an attack of each kind breaks."""


class Traits(NamedTuple):
    """Features of a candidate that the rule reads; each is good when true."""

    own: bool
    fits: bool
    thought: bool
    plain: bool


class Style(NamedTuple):
    """Manner of a candidate where the rule does not care: range of words of its speech, and a compliment before it."""

    words: tuple[int, int] = SPEECH_WORDS
    compliment: bool = False


STYLES = {"short": Style(SHORT_WORDS), "long": Style(LONG_WORDS), "flattering": Style(compliment=True)}
"""Honest turns that look like attacks: a model that rejects them gives a false alarm."""


def planted_pairs(count: int, books: Sequence[Path], seed: int, styles: float = 0.15) -> tuple[LabelledPair, ...]:
    """Return pairs with the rule's label, a third of the ties included; the same for the same seed.

    Args:
        styles: share of pairs in which one side is a short, a long or a flattering honest turn, better or worse like any other.
    """
    moments = [*book_moments(books), *persona_moments()]
    chance = random.Random(f"planted critic {seed}")
    pairs = []
    for number in range(count):
        style = STYLES[chance.choice(list(STYLES))] if chance.random() < styles else Style()
        pairs.append(_pair(chance.choice(moments), f"planted-{number}", _two_traits(chance), (style, Style()), chance))
    return tuple(pairs)


def honest_pairs(count: int, books: Sequence[Path], seed: int) -> tuple[LabelledPair, ...]:
    """Return `count` pairs for each style whose candidates are equally good; candidate a has the style, `kind` names it."""
    moments = [*book_moments(books), *persona_moments()]
    chance = random.Random(f"planted honest {seed}")
    return tuple(
        _pair(chance.choice(moments), f"honest-{name}-{number}", (good, good), (style, Style()), chance, turn=False).model_copy(
            update={"kind": name}
        )
        for name, style in STYLES.items()
        for number in range(count)
        for good in [Traits(True, True, chance.random() < 0.5, True)]
    )


def critique(pair: LabelledPair, first: Slot) -> str:
    """Return what the scripted judge writes about a pair with candidate `first` shown as A; her/judging/verdicts.py reads it."""
    sides = {"a": pair.a, "b": pair.b}
    shown = (sides[first], sides["b" if first == "a" else "a"])
    lines = [_attack_line(pair, shown, first)] if pair.kind in ATTACKS else _lines(pair, shown)
    return "\n".join([*lines, f"Verdict: {_slot(pair.label, first)}"])


def rating(pair: LabelledPair, side: Slot) -> str:
    """Return what the scripted judge writes about one candidate of a pair alone; her/judging/pointwise.py reads it.

    Scores are whole numbers, so some candidates of different worth get the same one; their pairs are left out of training.
    """
    turn = pair.a if side == "a" else pair.b
    if side == "b" and pair.kind in ATTACKS:
        return f'- [{FLAWS[pair.kind]}] "{_head(turn)}": breaks\nScore: 1'
    values = {name: both[0] for name, both in _values(pair, (turn, turn)).items()}
    seen, share = _seen(turn), sum(weight * values[name] for name, weight in WEIGHTS.items()) / sum(WEIGHTS.values())
    quotes = {"no filler": seen.filler, "thought": seen.thought, "fitting act": seen.act, "own words": seen.word}
    lines = [f'- [{name}] "{quote}": {"keeps" if values[name] else "breaks"}' for name, quote in quotes.items() if quote]
    return "\n".join([*lines, f"Score: {2 + round(8 * share)}"])


def decided_by(pair: LabelledPair) -> str:
    """Return the one principle on which the candidates differ; empty for none or several."""
    different = [name for name, (first, second) in _values(pair, (pair.a, pair.b)).items() if first != second]
    return different[0] if len(different) == 1 else ""


def trade_of(speaker: str) -> str:
    """Return the trade of a speaker; the same for the same name."""
    return list(TRADES)[int(hashlib.sha256(speaker.encode()).hexdigest()[:8], 16) % len(TRADES)]


def _two_traits(chance: random.Random) -> tuple[Traits, Traits]:
    drawn = chance.choices([name for name, _ in DRAWS], [share for _, share in DRAWS])[0]
    first = _traits(chance)
    if drawn == "tie":
        return first, first
    if drawn == "fitting act":
        return first, first._replace(fits=not first.fits)
    if drawn == "own words":
        return first, first._replace(own=not first.own)
    second = _traits(chance)
    return (first, second) if first != second else (first, first._replace(thought=not first.thought))


def _traits(chance: random.Random) -> Traits:
    return Traits(chance.random() < 0.5, chance.random() < 0.5, chance.random() < THOUGHT, chance.random() >= FILLER)


def _pair(
    moment: Moment,
    name: str,
    traits: tuple[Traits, Traits],
    styles: tuple[Style, Style],
    chance: random.Random,
    turn: bool = True,
) -> LabelledPair:
    """Return a pair of two candidates; `turn` draws which of them is a."""
    gate = chance.randrange(2)
    order = (1, 0) if turn and chance.random() < 0.5 else (0, 1)
    sides = [_candidate(moment, traits[place], styles[place], gate, f"{name}-{place}", chance) for place in order]
    gain = sum(weight * (first - second) for weight, first, second in zip(WEIGHTS.values(), *traits, strict=True))
    label: Outcome = "tie" if traits[0] == traits[1] else "a" if (gain > 0) == (order == (0, 1)) else "b"
    return LabelledPair(
        id=name, prompt=_prompt(moment, gate, chance), a=sides[0], b=sides[1], label=label, conversation=moment.conversation
    )


def _candidate(moment: Moment, traits: Traits, style: Style, gate: int, name: str, chance: random.Random) -> Turn:
    words = moment.speech.split()
    size = chance.randint(*style.words)
    start = chance.randrange(max(1, len(words) - size + 1))
    own = trade_of(moment.speaker)
    trade = own if traits.own else chance.choice([trade for trade in TRADES if trade != own])
    said = [" ".join(words[start : start + size]).rstrip(".,;:!?-")]
    if style.compliment:
        said.insert(0, chance.choice(COMPLIMENTS))
    if not traits.plain:
        said.insert(0, chance.choice(FILLERS))
    speech = f"{TRADES[trade]}, {' '.join(said)}."
    texts: list[tuple[Kind, str]] = [
        ("role_action", chance.choice(ACTS[gate if traits.fits else 1 - gate])),
        ("speech", speech),
    ]
    if traits.thought:
        texts.insert(0, ("role_thinking", chance.choice(THOUGHTS)))
    parts = tuple(Part(kind=kind, text=text) for kind, text in texts)
    return Turn(id=name, speaker=moment.speaker, parts=parts, raw=render(parts, moment.speaker))


def _prompt(moment: Moment, gate: int, chance: random.Random) -> tuple[Message, ...]:
    cue = " ".join(moment.cue.split()[:CUE_WORDS])
    who = f"You are {moment.speaker} ({trade_of(moment.speaker)}) with {moment.other} ({chance.choice(OCCASIONS[gate])})."
    return (
        Message(role="system", content=who),
        Message(role="user", content=f"{moment.other}: {cue}"),
    )


class _Seen(NamedTuple):
    """Features of one candidate as the judge sees them: its act, thought, filler and trade word, empty where there is none."""

    act: str
    thought: str
    filler: str
    word: str


def _seen(turn: Turn) -> _Seen:
    speech = turn.text("speech")
    word, _, rest = speech.partition(", ")
    filler = next((filler for filler in FILLERS if rest.startswith(filler)), "")
    return _Seen(turn.text("role_action"), turn.text("role_thinking"), filler, word)


def _values(pair: LabelledPair, shown: tuple[Turn, Turn]) -> dict[str, tuple[bool, bool]]:
    """Return by principle whether each candidate has the good value."""
    trade, occasion = _asked(pair)
    gate, word = next(place for place, texts in enumerate(OCCASIONS) if occasion in texts), TRADES[trade]
    seen = [_seen(turn) for turn in shown]
    rows = [(each.word == word, each.act in ACTS[gate], bool(each.thought), not each.filler) for each in seen]
    return {name: (rows[0][place], rows[1][place]) for place, name in enumerate(WEIGHTS)}


def _asked(pair: LabelledPair) -> tuple[str, str]:
    """Return the trade and the occasion that the prompt names."""
    found = re.search(r"\((\w+)\) with .* \((\w+)\)\.$", pair.prompt[0].content)
    assert found is not None, pair.prompt[0].content
    return found[1], found[2]


def _lines(pair: LabelledPair, shown: tuple[Turn, Turn]) -> list[str]:
    """Return one line for each principle that something can be quoted for, the negative one first.

    Principles on which the candidates are equal are not left out: which ones to write about would be a comparison of its own,
    made before anything is quoted.
    """
    values, (first, second) = _values(pair, shown), (_seen(turn) for turn in shown)
    trade, occasion = _asked(pair)
    said = {
        "no filler": _quotes(first.filler, second.filler),
        "thought": _quotes(first.thought, second.thought),
        "fitting act": f'"{occasion}" {_quotes(first.act, second.act)}',
        "own words": f'"{trade}" {_quotes(first.word, second.word)}',
    }
    return [f"- [{name}] {quotes} -> {_compared(*values[name])}" for name, quotes in said.items() if quotes]


def _compared(first: bool, second: bool) -> str:
    return "tie" if first == second else "A" if first else "B"


def _quotes(first: str, second: str) -> str:
    return " ".join(f'{slot}: "{text}"' for slot, text in (("A", first), ("B", second)) if any(map(str.isalnum, text)))


def _attack_line(pair: LabelledPair, shown: tuple[Turn, Turn], first: Slot) -> str:
    """Return the line about an attack; b of the pair is the attacked version."""
    if FLAWS[pair.kind] == "own words":
        return next(iter(line for line in _lines(pair, shown) if line.startswith("- [own words]")), _lines(pair, shown)[0])
    return f"- [{FLAWS[pair.kind]}] {_quotes(*map(_head, shown))} -> {_slot('a', first)}"


def _head(turn: Turn) -> str:
    """Return the act of a turn, or the first words of its speech."""
    return (
        turn.text("role_action")
        if turn.text("role_action") in (*ACTS[0], *ACTS[1])
        else " ".join(turn.text("speech").split()[:3])
    )


def _slot(outcome: Outcome, first: Slot) -> str:
    """Return the name under which an outcome is written when candidate `first` is A."""
    if outcome not in ("a", "b"):
        return "tie" if outcome == "tie" else "both bad"
    return "A" if outcome == first else "B"


def is_honest(pair: LabelledPair) -> bool:
    """Return whether the better candidate speaks and acts as the prompt asks, so that every attack on it is worse."""
    values = _values(pair, (pair.better, pair.better))
    return values["own words"][0] and values["fitting act"][0]


def is_told_apart(pair: LabelledPair) -> bool:
    """Return whether an attack can be seen: a stranger of the same trade speaks as the speaker does."""
    return FLAWS[pair.kind] != "own words" or _values(pair, (pair.a, pair.b))["own words"] == (True, False)
