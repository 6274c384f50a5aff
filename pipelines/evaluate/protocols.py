"""Name the protocols of given-circumstance acting: settings of one code, so that two protocols differ by these switches alone.

CoSER (arXiv:2502.09082) has models play all characters of a book's scene and a judge name their flaws. Its paper, its later
code and HER (arXiv:2601.21459) differ in what the judge sees, how speakers are chosen and how models are sampled: GPT-4o scores
59.95 under one and 27.69 under another. Scores compare only within one protocol and one judge. docs/protocols.md lists where
ours departs from the published code: a failed judgement is missing everywhere, and system_thinking is in nobody's history.
"""

from typing import Any, Literal

from pydantic import Field

from her.errors import InputError
from her.types import Sampling, Value
from pipelines.evaluate.judgements import SeverityRule
from pipelines.evaluate.scores import Thoughts


class ActingProtocol(Value):
    """Switches of one protocol.

    Args:
        name: as it stands beside every score.
        prompt: of the actors: `layers` is the prompt of the playground and of training, `coser` asks for `[thought] (action)
            speech` in at most 60 words.
        motivations: which spelling of a character's motivation is read; CoSER's later code reads `motivation` only, and the
            released cases spell it `thought`, so its actors see none.
        first: who begins: the `book`'s first speaker, or the first of the case's list, which is the most `frequent` one.
        question: what the next-speaker model is asked for: a `bare` name, or `reasoned`, a sentence and then the name.
        reader: of its answer: `tolerant`, or as published: `before_colon` (paper) or `last_marker` (later code).
        asks: how often it is asked before a speaker is drawn.
        earliest_end: turns before which it may not end the scene.
        rounds: most turns, the environment's included.
        thoughts: what the judge sees; each is a judgement of its own.
        reference_thoughts: whether the judge sees the thoughts of the book's scene; `same` as those of the simulation.
        labels: whether names stand before the lines that the judge reads.
        numbered: whether turns are numbered for the judge, who then names the turn of each flaw.
        severities: see `pipelines.evaluate.judgements.SeverityRule`.
        credit: whether turns in which the judge sees nothing earn the credit for length.
        actor, environment, next_speaker, judge: samplings.
        judge_asks: attempts at a judgement before it is missing; the first by `judge`, further ones at temperature 1.
    """

    name: str
    prompt: Literal["layers", "coser"] = "layers"
    motivations: Literal["both", "new", "none"] = "both"
    first: Literal["book", "frequent"] = "book"
    question: Literal["bare", "reasoned"] = "reasoned"
    reader: Literal["tolerant", "before_colon", "last_marker"] = "tolerant"
    asks: int = Field(default=2, ge=1)
    earliest_end: int = Field(default=6, ge=0)
    rounds: int = Field(default=20, ge=1)
    thoughts: tuple[Thoughts, ...] = Field(default=("hidden", "visible"), min_length=1)
    reference_thoughts: Literal["same", "visible"] = "same"
    labels: bool = True
    numbered: bool = True
    severities: SeverityRule = "rubric"
    credit: Literal["seen", "all"] = "seen"
    actor: Sampling = Sampling(temperature=0.7, max_tokens=2048)
    environment: Sampling = Sampling(temperature=0.7, max_tokens=1024)
    next_speaker: Sampling = Sampling(temperature=0.0, max_tokens=1024)
    judge: Sampling = Sampling(temperature=0.0, max_tokens=8192)
    judge_asks: int = Field(default=3, ge=1)


_COLD = Sampling(temperature=0.0, top_p=1.0, max_tokens=512)
_HER = Sampling(temperature=0.7, top_p=1.0, max_tokens=4096)
_PAPER: dict[str, Any] = {
    "prompt": "coser",
    "first": "frequent",
    "question": "bare",
    "reader": "before_colon",
    "asks": 1,
    "thoughts": ("hidden",),
    "numbered": False,
    "severities": "coser",
    "credit": "all",
    "actor": _COLD,
    "environment": _COLD,
    "next_speaker": _COLD,
    "judge": Sampling(temperature=0.0, top_p=1.0, max_tokens=8196),
    "judge_asks": 6,
}
_LATER = {"motivations": "new", "question": "reasoned", "reader": "last_marker", "labels": False}
_OF_HER = {
    "prompt": "layers",
    "question": "reasoned",
    "reader": "tolerant",
    "thoughts": ("visible",),
    "severities": "her",
    "actor": _HER,
    "environment": _HER,
    "next_speaker": _HER,
    "judge": Sampling(temperature=0.0, top_p=1.0, max_tokens=2048),
    "judge_asks": 1,
}
PROTOCOLS = {
    "corrected": ActingProtocol(name="corrected"),
    "coser-paper": ActingProtocol(name="coser-paper", **_PAPER),
    "coser-head": ActingProtocol(name="coser-head", **{**_PAPER, **_LATER}),
    "her": ActingProtocol(name="her", **{**_PAPER, **_OF_HER}),
}
"""Protocols by name."""


def protocol_named(name: str) -> ActingProtocol:
    """Return a protocol.

    Raises:
        InputError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
