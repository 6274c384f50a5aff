"""Audit what a run would train, with its own tokenizer, before the first step (her/training_data/audit.py)."""

from collections.abc import Sequence
from typing import NamedTuple

from her.errors import InputError
from her.training_data.audit import Audit, AuditLimits, AuditReport, require
from her.types import Sample
from pipelines.models.chat_template import ChatTemplate
from pipelines.sft.options import TrainingOptions


class AuditedSamples(NamedTuple):
    """Reports of both splits, and the samples that are kept: those that are not too long, unchanged."""

    reports: list[AuditReport]
    train: list[Sample]
    held_out: list[Sample]


def audit_samples(
    train: Sequence[Sample], held_out: Sequence[Sample], template: ChatTemplate, options: TrainingOptions, context: int
) -> AuditedSamples:
    """Count all samples as the trainer would see them.

    Args:
        context: most positions of the model.

    Raises:
        InputError: nothing to learn; more than `samples.dropped` of a split is longer than `samples.most_tokens`; a stop token
            that is not at the end of its target only; a prompt that is not a prefix of its sample; a target with a format
            defect; a plan in a history; or a sample longer than `context`. The sentence names all problems.
    """
    wanted = options.samples
    # kept=0: samples stay whole, so the share of target tokens that is kept follows from `dropped`.
    limits = AuditLimits(
        most_tokens=wanted.most_tokens, kept=0, dropped=wanted.dropped, plans=wanted.plans, changes=options.model.changes
    )
    kept_train, train_report = _audit_split("train", train, template, limits)
    kept_held_out, held_out_report = _audit_split("held_out", held_out, template, limits)
    reports = [train_report, held_out_report] if held_out else [train_report]
    require(reports)
    # Positions beyond the context were never trained, and using them raises no error.
    if (longest := max(report.longest for report in reports)) > context:
        raise InputError(
            f"the longest sample has {longest} tokens and the model has {context} positions; set samples.most_tokens={context} "
            "and samples.dropped to the share that may be left out, or take a model with a longer context"
        )
    return AuditedSamples(reports, kept_train, kept_held_out)


def _audit_split(
    name: str, samples: Sequence[Sample], template: ChatTemplate, limits: AuditLimits
) -> tuple[list[Sample], AuditReport]:
    audit = Audit(name, template, limits)
    encoded = zip(samples, template.encodings(samples), strict=True)
    return [sample for sample, encoding in encoded if audit.add(sample, encoding)], audit.report()
