"""Labelled pairs, and what a judge wrote about each: what a generative reward model is trained on."""

import hashlib
from collections.abc import Iterable

from her.judging.judge import PairQuestion
from her.judging.verdicts import Slot
from her.types import Language, Message, NonEmpty, Outcome, Preference, Turn, Value, Verdict

SIDES: tuple[Slot, Slot] = ("a", "b")
_WIDE = range(0x3400, 0xA000)


class LabelledPair(Value):
    """Two candidates for one moment with the label of people or of a judge.

    Args:
        prompt: the messages from which both were written, system message first.
        kind: kind of the attack that b is, or of the honest turn that a is; empty for an ordinary pair.
        conversation: id of the transcript; pairs of one conversation are trained on or evaluated on together.
    """

    id: NonEmpty
    prompt: tuple[Message, ...]
    a: Turn
    b: Turn
    label: Outcome
    kind: str = ""
    conversation: str = ""
    language: Language = "en"

    @property
    def question(self) -> PairQuestion:
        """The question that a judge is asked."""
        return PairQuestion(self.id, self.prompt, self.a, self.b, self.language)

    @property
    def better(self) -> Turn:
        """The candidate that won; a where neither did."""
        return self.b if self.label == "b" else self.a


class Critique(Value):
    """Text that a model wrote about a pair, byte for byte.

    Args:
        side: of a pairwise judge the candidate that was shown first, of a pointwise one the candidate that was rated.
        judge: name of the model.
    """

    pair: LabelledPair
    side: Slot
    text: str
    judge: NonEmpty


def from_preferences(preferences: Iterable[Preference], name: str) -> tuple[LabelledPair, ...]:
    """Return preferences as labelled pairs with ids that begin with `name`.

    Which candidate is a follows from a hash of both, so that neither side wins more often.
    """
    return tuple(_labelled(each, f"{name}-{number}") for number, each in enumerate(preferences))


def as_preference(pair: LabelledPair) -> Preference:
    """Return a pair as a preference; of a tie a is the chosen candidate, with its tie in the verdict."""
    chosen, rejected = (pair.b, pair.a) if pair.label == "b" else (pair.a, pair.b)
    winner: Outcome = "a" if pair.label in ("a", "b") else pair.label
    verdict = Verdict(winner=winner, judge="label")
    return Preference(prompt=pair.prompt, chosen=chosen, rejected=rejected, verdict=verdict, conversation=pair.conversation)


def language_of(turn: Turn) -> Language:
    """Return the language of a turn's speech."""
    return "zh" if any(ord(letter) in _WIDE for letter in turn.text("speech")) else "en"


def _labelled(preference: Preference, name: str) -> LabelledPair:
    texts = "\0".join((*(message.content for message in preference.prompt), preference.chosen.raw, preference.rejected.raw))
    turned = hashlib.sha256(texts.encode("utf-8", "replace")).digest()[0] % 2
    sides = (preference.rejected, preference.chosen) if turned else (preference.chosen, preference.rejected)
    return LabelledPair(
        id=name,
        prompt=preference.prompt,
        a=sides[0],
        b=sides[1],
        label="b" if turned else "a",
        conversation=preference.conversation,
        language=language_of(preference.chosen),
    )
