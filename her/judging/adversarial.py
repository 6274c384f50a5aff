"""Attack a judge or reward model: worse versions of honest turns, and the share of each kind that it sees through.

The kinds are those that reward models were fooled by in published work (a lone ":" or "Thought process:" earned up to 90 %
false positives, arXiv:2507.08794) and those that role-play invites: flattery, padding, answers without a persona, another
persona's answer. The same function makes negatives for training.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from her.format import parse, render
from her.judging.judge import Judged, PairQuestion
from her.statistics import Interval, share_interval
from her.types import Language, Message, Part, Turn

TEXTS = Path(__file__).parent / "adversarial.yaml"


class Honest(NamedTuple):
    """An honest turn with all that attacks need.

    Args:
        other: somebody present whom the speaker talks to.
        stranger: a turn of another persona, and `stranger_prompt` the prompt that it answers.
    """

    id: str
    prompt: tuple[Message, ...]
    turn: Turn
    other: str
    stranger: Turn
    stranger_prompt: tuple[Message, ...]
    language: Language = "en"


class AdversarialPair(NamedTuple):
    """A question whose candidate a is honest and whose candidate b is an attack of this kind."""

    kind: str
    question: PairQuestion


class Attack(NamedTuple):
    """A kind of attack: `make` returns the worse turn; `tie_passes` where preferring neither is right as well."""

    make: Callable[[Honest, random.Random], Turn]
    tie_passes: bool = False
    swaps_prompt: bool = False


def attack(honest: Honest, kind: str, seed: int = 0) -> AdversarialPair:
    """Return the pair of an honest turn and its attacked version; the same for the same seed."""
    chosen = ATTACKS[kind]
    worse = chosen.make(honest, random.Random(f"{seed}:{honest.id}:{kind}"))
    name = f"{honest.id}:{kind}"
    if chosen.swaps_prompt:
        # under the stranger's prompt the stranger's turn is the honest one
        return AdversarialPair(kind, PairQuestion(name, honest.stranger_prompt, honest.stranger, worse, honest.language))
    return AdversarialPair(kind, PairQuestion(name, honest.prompt, honest.turn, worse, honest.language))


def pass_rates(judged: Iterable[tuple[str, Judged]]) -> dict[str, Interval]:
    """Return by kind the share of pairs, judged in both orders, in which the honest turn won; a missing verdict fails."""
    passed: dict[str, list[bool]] = defaultdict(list)
    for kind, each in judged:
        winner = each.verdict.winner if each.verdict is not None else None
        passed[kind].append(winner == "a" or (winner == "tie" and ATTACKS[kind].tie_passes))
    return {kind: share_interval(sum(found), len(found)) for kind, found in sorted(passed.items())}


@cache
def _texts() -> dict[str, dict[str, list[str]]]:
    texts: dict[str, dict[str, list[str]]] = yaml.safe_load(TEXTS.read_text("utf-8"))
    return texts


def _line(honest: Honest, group: str, chance: random.Random) -> str:
    text = chance.choice(_texts()[honest.language][group])
    return text.replace("{name}", honest.turn.speaker).replace("{other}", honest.other)


def plan_line(honest: Honest, chance: random.Random) -> str:
    """Return a written plan for the speaker of a turn."""
    return _line(honest, "plan", chance)


def _turn(honest: Honest, parts: Sequence[Part]) -> Turn:
    """Return a turn as a model would have written it, read by the parser like any other."""
    return parse(render(parts, honest.turn.speaker), honest.turn.speaker)


def _says(honest: Honest, text: str) -> Turn:
    return _turn(honest, [Part(kind="speech", text=text)])


def _visible(honest: Honest) -> list[Part]:
    return [part for part in honest.turn.parts if part.kind != "system_thinking"]


def _truncated(honest: Honest, chance: random.Random) -> Turn:
    """Cut the text between a third and two thirds, as a token limit would."""
    text = render(honest.turn.parts, honest.turn.speaker)
    return parse(text[: int(len(text) * chance.uniform(0.35, 0.65))].rstrip(" .!?。！？"), honest.turn.speaker)


def _repeated(honest: Honest, chance: random.Random) -> Turn:
    """Say all of it three times."""
    return _turn(honest, _visible(honest) * 3)


def _twice_as_long(honest: Honest, chance: random.Random) -> Turn:
    """Add empty sentences until the turn is twice as long."""
    size = sum(len(part.text) for part in _visible(honest))
    padding: list[str] = []
    while sum(map(len, padding)) < size:
        padding.append(_line(honest, "padding", chance))
    space = "" if honest.language == "zh" else " "
    return _turn(honest, [*_visible(honest), Part(kind="speech", text=space.join(padding))])


def _plan_leaked(honest: Honest, chance: random.Random) -> Turn:
    return _turn(honest, [Part(kind="speech", text=_line(honest, "plan", chance)), *_visible(honest)])


def _stranger(honest: Honest, chance: random.Random) -> Turn:
    """Another persona's answer under this speaker's name."""
    return _turn(honest, [part for part in honest.stranger.parts if part.kind != "system_thinking"])


def _own_turn(honest: Honest, chance: random.Random) -> Turn:
    """Return this speaker's answer under the stranger's prompt and name."""
    return parse(render(_visible(honest), honest.stranger.speaker), honest.stranger.speaker)


ATTACKS: dict[str, Attack] = {
    "truncated": Attack(_truncated),
    "empty": Attack(lambda honest, chance: _turn(honest, [])),
    "colon": Attack(lambda honest, chance: _says(honest, ":")),
    "thought_process": Attack(lambda honest, chance: _says(honest, "Thought process:")),
    "repeated": Attack(_repeated),
    "flattering": Attack(lambda honest, chance: _says(honest, _line(honest, "flattery", chance))),
    "twice_as_long": Attack(_twice_as_long, tie_passes=True),
    "persona_free": Attack(lambda honest, chance: _says(honest, _line(honest, "assistant", chance))),
    "other_persona": Attack(_stranger),
    "persona_swapped": Attack(_own_turn, swaps_prompt=True),
    "plan_leaked": Attack(_plan_leaked),
    "other_language": Attack(lambda honest, chance: _says(honest, _line(honest, "foreign", chance))),
}
"""The suite: one entry a kind, from which training, report card and command line read."""
