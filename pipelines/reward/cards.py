"""Make the report card of a trained reward model, the same figures as those of any judge (her/judging/report_card.py).

A scalar model knows no order: its verdict is the difference of two scores, whose sigmoid is the probability that a wins.
"""

from collections.abc import Sequence

from her.judging.labelled import LabelledQuestion, judged_pair, label_preferences
from her.judging.report_card import CardSettings, ReportCard, report_card
from her.judging.reward_models import sigmoid
from her.statistics import Interval
from her.types import Outcome, Verdict
from pipelines.reward.evaluation import HeldOutSet, ModelFigures, ScoreCandidates
from pipelines.reward.generative_evaluation import Answered, GenerativeFigures, HeldOutTests


def scalar_card(
    figures: ModelFigures, score: ScoreCandidates, held_out: HeldOutSet, name: str, ceiling: Interval | None
) -> ReportCard:
    """Return the card of a scalar model on the pairs that its figures are of.

    Args:
        name: of the model in the card.
        ceiling: agreement of two people, where people voted.
    """
    pairs = label_preferences(held_out.preferences).pairs
    prompts = [pair.question.prompt for pair in pairs]
    first = score(list(zip(prompts, (pair.question.a for pair in pairs), strict=True)))
    second = score(list(zip(prompts, (pair.question.b for pair in pairs), strict=True)))
    verdicts = [_verdict(a - b, name) for a, b in zip(first, second, strict=True)]
    judged = [judged_pair(pair, verdict, verdict) for pair, verdict in zip(pairs, verdicts, strict=True)]
    settings = CardSettings(
        judge=(name, name),
        ceiling=ceiling,
        adversarial=figures.attacks,
        resamples=held_out.resamples,
        seed=held_out.seed,
    )
    return report_card(judged, settings)


def generative_model_card(figures: GenerativeFigures, answered: Sequence[Answered], tests: HeldOutTests, name: str) -> ReportCard:
    """Return the card of a generative model on the pairs that it answered."""
    judged = [
        judged_pair(
            LabelledQuestion(each.pair.question, each.pair.label, each.pair.conversation, tests.decided.get(each.pair.id, "")),
            each.forth,
            each.back,
        )
        for each in answered
    ]
    settings = CardSettings(judge=(name, name), adversarial=figures.attacks, resamples=tests.resamples, seed=tests.seed)
    return report_card(judged, settings)


def _verdict(difference: float, name: str) -> Verdict:
    winner: Outcome = "tie" if not difference else "a" if difference > 0 else "b"
    return Verdict(winner=winner, judge=name, model=name, probability=sigmoid(difference))
