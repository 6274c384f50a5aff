"""Define one score of one case, a line of `scores.jsonl` in the folder of an evaluation run, beside `transcripts.jsonl`.

Statistics, reports and comparisons read these lines and nothing else. A failed judgement has no score: `score` is None and
`missing` says why. The rates of failures stand beside every score.
"""

from typing import Literal

from pydantic import Field, model_validator

from her.types import Language, NonEmpty, Value

SCORES_FILE, TRANSCRIPTS_FILE = "scores.jsonl", "transcripts.jsonl"
JUDGED_DIMENSIONS = ("storyline_consistency", "anthropomorphism", "character_fidelity", "storyline_quality")
"""Dimensions of given-circumstance acting (CoSER, arXiv:2502.09082, section 5), 0 to 100."""
TEXT_METRICS = ("bleu", "rouge_l")
"""Overlap with the book's conversation, 0 to 1; they need no judge."""
Split = Literal["", "id", "ood"]
Thoughts = Literal["hidden", "visible"]


class Flaw(Value):
    """One flaw that a judge named.

    Args:
        turn: id of the turn it belongs to; empty when it quotes no turn.
        kind: group of the flaw, in the judge's words.
        severity: 1 to 5, mechanical repetition up to 10; None when the judge gave none that the protocol counts.
        text: the instance, in the judge's words.
    """

    turn: str = ""
    kind: str = ""
    severity: float | None = None
    text: str = ""


class CaseScore(Value):
    """Score of one dimension of one simulated case.

    Args:
        case: stable key, such as `King Lear-17-0`.
        book: title of the book, by which intervals are clustered; the seed's id where there is no book.
        run: number of the simulation of this case, from 0.
        protocol: name of the protocol, such as `corrected`.
        model: model and revision of the actor.
        judge: model and revision of the judge; empty for a text metric.
        dimension: one of `JUDGED_DIMENSIONS` or `TEXT_METRICS`; other suites have their own.
        thoughts: whether the judge saw the characters' inner thoughts.
        score: None when the judgement is missing.
        missing: why there is no score; None with a score.
        flaws: what the judge named, in its order.
        rounds: turns of characters in the simulation; turns of the environment do not count.
        characters: speaking characters of the case, without the environment.
        split: whether the book is in CoSER's training books; empty where the case does not say.
        refused: turns of the actor that refuse to play.
        truncated: turns of the actor that ended at the limit of tokens.
        empty: turns in which the actor said nothing.
        failed: turns of the actor whose call failed.
        fallbacks: next speakers that were drawn because the answer named nobody who may speak.
        choices: next speakers that a model was asked for.
        reasked: answers of the judge that were asked for again.
        words: words of the characters' turns in all.
        ended: whether the next-speaker model ended the scene before the last round.
        leaked: whether plots after the split of the book, this case's own included, could be retrieved.
    """

    case: NonEmpty
    book: NonEmpty
    run: int = Field(default=0, ge=0)
    protocol: NonEmpty
    model: NonEmpty
    judge: str = ""
    dimension: NonEmpty
    thoughts: Thoughts = "hidden"
    score: float | None
    missing: str | None = None
    flaws: tuple[Flaw, ...] = ()
    rounds: int = Field(ge=0)
    characters: int = Field(ge=0)
    language: Language = "en"
    split: Split = ""
    refused: int = Field(default=0, ge=0)
    truncated: int = Field(default=0, ge=0)
    empty: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)
    fallbacks: int = Field(default=0, ge=0)
    choices: int = Field(default=0, ge=0)
    reasked: int = Field(default=0, ge=0)
    words: int = Field(default=0, ge=0)
    ended: bool = False
    leaked: bool = False

    @model_validator(mode="after")
    def _score_or_reason(self) -> "CaseScore":
        if (self.score is None) != bool(self.missing):
            raise ValueError("a score that is missing has a reason in 'missing', and any other has none")
        return self


def transcript_id(case: str, run: int, model: str) -> str:
    """Return the id that the transcript of a simulated case has in `transcripts.jsonl`, by which reports find it."""
    return f"{case} | run {run} | {model}"
