"""Audit what a run would train, with its own tokenizer, before the first step (her/training_data/audit.py)."""

from collections.abc import Sequence
from typing import NamedTuple

from her.errors import InputError
from her.training_data.audit import Audit, AuditLimits, AuditReport, require
from her.types import Sample
from pipelines.models.template import ChatTemplate
from pipelines.sft.options import TrainingOptions


class Checked(NamedTuple):
    """A report for each split, and the samples without those that were too long; nothing is ever cut."""

    reports: list[AuditReport]
    train: list[Sample]
    held_out: list[Sample]


def check(
    train: Sequence[Sample], held_out: Sequence[Sample], template: ChatTemplate, options: TrainingOptions, context: int
) -> Checked:
    """Count everything, and go on only when training would see what was meant.

    Args:
        context: most positions of the model.

    Raises:
        InputError: there is nothing to learn; more than `samples.dropped` of a split is longer than `samples.most_tokens`; the
            stop token is not at the end of a target alone, or a prompt not the beginning of its sample; a target departs from
            the format, or a plan stands in a history; or a sample is longer than `context`. All that is wrong is said at once.
    """
    wanted = options.samples
    # Samples stay whole, so what is kept of the target tokens follows from how many samples are.
    limits = AuditLimits(most_tokens=wanted.most_tokens, kept=0, dropped=wanted.dropped, plans=wanted.plans)
    kept_train, learned = _flown("train", train, template, limits)
    kept_held_out, evaluated = _flown("held_out", held_out, template, limits)
    reports = [learned, evaluated] if held_out else [learned]
    require(reports)
    if (longest := max(report.longest for report in reports)) > context:
        raise InputError(
            f"the longest sample has {longest} tokens and the model has {context} positions; set samples.most_tokens={context} "
            "and samples.dropped to the share that may be left out, or take a model with a longer context"
        )
    return Checked(reports, kept_train, kept_held_out)


def _flown(name: str, samples: Sequence[Sample], template: ChatTemplate, limits: AuditLimits) -> tuple[list[Sample], AuditReport]:
    audit = Audit(name, template, limits)
    encoded = zip(samples, template.encodings(samples), strict=True)
    return [sample for sample, encoding in encoded if audit.add(sample, encoding)], audit.report()
