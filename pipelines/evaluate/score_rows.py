"""Turn a judged simulation into the lines of `scores.jsonl`: one for each dimension, view of the judge, and measure of
overlap.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from her.types import ENVIRONMENT
from pipelines.evaluate.cases import ActingCase
from pipelines.evaluate.judgements import score
from pipelines.evaluate.judging import DimensionJudgement, SceneQuestion, credited_rounds, shown_turns
from pipelines.evaluate.protocols import ActingProtocol
from pipelines.evaluate.scores import CaseScore, Thoughts
from pipelines.evaluate.simulation import Played
from pipelines.evaluate.text_overlap import overlap

NOTHING_PLAYED = "nothing was played: no turn of a character has anything to see"


class JudgedCase(NamedTuple):
    """A simulation with its judgements by view and dimension; none where there was nothing to judge."""

    case: ActingCase
    played: Played
    judgements: Mapping[Thoughts, Mapping[str, DimensionJudgement]]


def unplayed(played: Played) -> str:
    """Return why a simulation cannot be judged; empty when it can."""
    if played.simulation.failed:
        return f"not played to its end: {played.simulation.failed}"
    turns = played.transcript.turns[played.simulation.given :]
    seen = any(shown.turn.speaker != ENVIRONMENT for shown in shown_turns(turns, "hidden"))
    # A judge finds no flaw in an empty scene, and a perfect score would be the actor's reward for silence.
    return "" if seen else NOTHING_PLAYED


def score_rows(judged: JudgedCase, protocol: ActingProtocol, judge: str) -> Iterator[CaseScore]:
    """Yield the lines of one simulation."""
    why = unplayed(judged.played)
    for thoughts in protocol.thoughts:
        question = question_about(judged.case, judged.played, thoughts)
        rounds = credited_rounds(question, protocol)
        row = _row(judged.case, judged.played, protocol, thoughts).model_copy(update={"judge": judge})
        for dimension, judgement in judged.judgements.get(thoughts, {}).items():
            value = None if judgement.flaws is None else score(judgement.severity, rounds)
            yield row.model_copy(
                update={
                    "dimension": dimension,
                    "score": value,
                    "missing": judgement.problem if value is None else None,
                    "flaws": judgement.flaws or (),
                    "reasked": judgement.reasked,
                }
            )
        if why:
            yield from (row.model_copy(update={"dimension": each, "missing": why}) for each in _DIMENSIONS)


def overlap_rows(judged: JudgedCase, protocol: ActingProtocol) -> Iterator[CaseScore]:
    """Yield BLEU and ROUGE-L of one simulation, thoughts as the judge first sees them. Slow: a fifth of a second a case."""
    thoughts, given = protocol.thoughts[0], judged.played.simulation.given
    played = shown_turns(judged.played.transcript.turns[given:], thoughts, labels=protocol.labels)
    book = shown_turns(judged.case.scene.turns[given:], thoughts)
    why = unplayed(judged.played)
    found = overlap("\n\n".join(each.text for each in played), "\n\n".join(each.text for each in book))
    row = _row(judged.case, judged.played, protocol, thoughts)
    for dimension, value in (("bleu", found.bleu), ("rouge_l", found.rouge_l)):
        missing = why or (None if value is not None else "a sentence is too long to be measured")
        yield row.model_copy(update={"dimension": dimension, "score": None if missing else value, "missing": missing})


def question_about(case: ActingCase, played: Played, thoughts: Thoughts) -> SceneQuestion:
    """Return what the judge is asked about a simulation."""
    return SceneQuestion(case, played.transcript, thoughts, played.simulation.given)


_DIMENSIONS = ("storyline_consistency", "anthropomorphism", "character_fidelity", "storyline_quality")


def _row(case: ActingCase, played: Played, protocol: ActingProtocol, thoughts: Thoughts) -> CaseScore:
    """Return what all lines of a simulation share; score and dimension are filled in later."""
    simulation, counters = played.simulation, played.simulation.counters
    turns = played.transcript.turns[simulation.given :]
    spoken = [shown for shown in shown_turns(turns, "hidden", labels=False) if shown.turn.speaker != ENVIRONMENT]
    return CaseScore(
        case=case.key,
        book=case.scene.book,
        run=simulation.run,
        protocol=protocol.name,
        model=simulation.model,
        dimension="-",
        thoughts=thoughts,
        score=None,
        missing="-",
        rounds=sum(turn.speaker != ENVIRONMENT for turn in turns),
        characters=len(case.speakers),
        language=case.scene.scenario.language,
        split=case.scene.split,
        refused=counters.refused,
        truncated=counters.truncated,
        empty=counters.empty,
        failed=int(bool(simulation.failed)),
        fallbacks=counters.fallbacks + counters.random,
        choices=max(0, len(turns) - (not simulation.given)) + (simulation.ended == "end"),
        words=sum(_length(shown.text) for shown in spoken),
        ended=simulation.ended == "end",
        leaked=simulation.leaked,
    )


def _length(text: str) -> int:
    """Return the words of a text; of Chinese its characters."""
    chinese = sum("\u4e00" <= letter <= "\u9fff" for letter in text)
    return chinese or len(text.split())
