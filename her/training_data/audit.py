"""Audit of what a trainer would see: counted with the tokenizer that will train, before the first step.

Trainers truncate long samples, drop rows and mask tokens without a word. The audit counts, for each split: target tokens
kept, rows dropped and why, lengths, whether the stop token is trained and stands at the end only, whether the prompt is a
prefix of the encoded sample, and whether each target has a plan and no history has one. It shows decoded targets.

`write_audit` writes the reports of a run: `audit.jsonl` (one `AuditReport` a line) and `audit.md` (the same for people).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.format import parse
from her.format.tags import WRITTEN
from her.kinds import PLAN
from her.tokens import estimate_tokens
from her.training_data.samples import Dropped
from her.types import Sample, Value

AUDIT_FILE = "audit.jsonl"
AUDIT_PAGE = "audit.md"
Stop = Literal["end", "missing", "inside", "unknown"]
"""Place of the stop token in a target: only at its end, not there, before its end, or not known without a tokenizer."""
Change = Literal["", "nfc", "trimmed", "think_block", "text"]
"""How a decoded target differs from its message: not, in its Unicode form, in the blanks around it, by an empty block of
reasoning before it, or otherwise."""
EXAMPLES = 3
"""Targets that a report shows."""
_ADVICE = {
    "changed_nfc": " (the tokenizer writes another Unicode form: write the samples in NFC, or declare model.changes=['nfc'])",
    "changed_trimmed": " (blanks around the target are lost: set model.template=auto, or declare model.changes=['trimmed'])",
    "changed_think_block": " (the template adds an empty block of reasoning: set model.template=auto, or declare "
    "model.changes=['think_block'])",
    "changed_text": " (the decoded target is another text than the message: set model.template=auto)",
    "prompt_not_prefix": " (the template writes a prompt otherwise than the whole chat: set model.template=auto)",
}
NAMED = 5
"""Turns that a report names for each defect."""


class Encoding(Value):
    """Token counts of one sample as the trainer encodes it.

    Args:
        prompt: tokens of the prompt.
        target: tokens that are trained.
        stop: where the stop token is in the target.
        prefix: whether the prompt's tokens are the beginning of the whole sample's tokens.
        decoded: the target, decoded from its tokens; empty when the counts are estimates.
        changed: how `decoded` differs from the message.
    """

    prompt: int
    target: int
    stop: Stop = "unknown"
    prefix: bool = True
    decoded: str = ""
    changed: Change = ""


class Encoder(Protocol):
    """Encoder of samples, as the trainer does it.

    `name` is what the report calls it; `exact` says whether it uses the tokenizer of the model that will train.
    """

    name: str
    exact: bool

    def encode(self, sample: Sample) -> Encoding:
        """Return the token counts of one sample."""
        ...


class EstimatedEncoder:
    """Encoder for a run without a tokenizer: lengths are estimates, `stop` is unknown and nothing is decoded."""

    name = "estimate (1 token a CJK character, 1 for 3.6 others)"
    exact = False

    def encode(self, sample: Sample) -> Encoding:
        """Return estimated lengths."""
        return Encoding(prompt=estimate_tokens(sample.messages[:-1]), target=estimate_tokens(sample.messages[-1:]))


class AuditLimits(Value):
    """Limits beyond which an audit reports a problem.

    Args:
        most_tokens: longest sample; a longer one is dropped whole, never truncated.
        kept: smallest share of target tokens that has to be kept, 0 to 1.
        dropped: largest share of the turns that may be without a sample, 0 to 1.
        plans: whether every target needs a plan.
        changes: changes of a target by template or tokenizer that are meant, such as `nfc`.
    """

    most_tokens: int = 8192
    kept: float = 0.98
    dropped: float = 0.1
    plans: bool = True
    changes: tuple[Change, ...] = ()


class AuditReport(Value):
    """Audit of one split; the split may be trained when `problems` is empty.

    Args:
        name: name of the split.
        encoder: name of the encoder that counted.
        exact: whether these are the trainer's own tokens.
        samples: rows kept.
        dropped: turns without a sample, by reason.
        target_tokens: target tokens of all rows, also of those dropped for their length.
        kept_tokens: target tokens of the rows kept.
        prompt_tokens: prompt tokens of the rows kept.
        longest: tokens of the longest row kept.
        histogram: pairs (upper bound in tokens, rows); bounds are powers of two, a row counts at the smallest that holds it.
        stops: rows by the place of their stop token.
        defects: rows by defect.
        examples: the first targets, decoded, or as written where nothing was decoded.
        problems: one sentence for each limit that is broken and each defect.
    """

    name: str
    encoder: str
    exact: bool
    samples: int
    dropped: dict[str, int]
    target_tokens: int
    kept_tokens: int
    prompt_tokens: int
    longest: int
    histogram: tuple[tuple[int, int], ...]
    stops: dict[str, int]
    defects: dict[str, int]
    examples: tuple[str, ...]
    problems: tuple[str, ...]


class Audit:
    """Audit of one split while its rows come in; memory does not grow with the number of rows."""

    def __init__(self, name: str, encoder: Encoder, limits: AuditLimits | None = None) -> None:
        self.name = name
        self._encoder = encoder
        self._limits = limits or AuditLimits()
        self._samples = self._target = self._kept = self._prompt = self._longest = self._too_long = 0
        self._dropped: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._stops: Counter[str] = Counter()
        self._defects: Counter[str] = Counter()
        self._where: dict[str, list[str]] = {}
        self._examples: list[str] = []

    def drop(self, dropped: Dropped) -> None:
        """Count a turn that has no sample."""
        self._dropped[dropped.reason] += 1

    def add(self, sample: Sample, encoding: Encoding | None = None) -> bool:
        """Count a sample; return False when it is too long and must be left out.

        Args:
            encoding: the sample's encoding, where the caller encoded many samples at once; None encodes it here.
        """
        encoding = encoding or self._encoder.encode(sample)
        self._target += encoding.target
        if (length := encoding.prompt + encoding.target) > self._limits.most_tokens:
            self._dropped["too_long"] += 1
            self._too_long = max(self._too_long, length)
            return False
        self._samples += 1
        self._kept += encoding.target
        self._prompt += encoding.prompt
        self._longest = max(self._longest, length)
        # ceil(log2(length)), at least 1: the bit length of n - 1 is the smallest k with n <= 2**k.
        self._lengths[max(length - 1, 1).bit_length()] += 1
        self._stops[encoding.stop] += 1
        for defect in self._row_defects(sample, encoding):
            self._defects[defect] += 1
            if len(turns := self._where.setdefault(defect, [])) < NAMED:
                turns.append(sample.turn or str(self._samples))
        if len(self._examples) < EXAMPLES:
            self._examples.append(encoding.decoded or sample.messages[-1].content)
        return True

    def report(self) -> AuditReport:
        """Return the report of the rows so far."""
        return AuditReport(
            name=self.name,
            encoder=self._encoder.name,
            exact=self._encoder.exact,
            samples=self._samples,
            dropped=dict(sorted(self._dropped.items())),
            target_tokens=self._target,
            kept_tokens=self._kept,
            prompt_tokens=self._prompt,
            longest=self._longest,
            histogram=tuple((1 << bits, count) for bits, count in sorted(self._lengths.items())),
            stops=dict(sorted(self._stops.items())),
            defects=dict(sorted(self._defects.items())),
            examples=tuple(self._examples),
            problems=tuple(self._problems()),
        )

    def _row_defects(self, sample: Sample, encoding: Encoding) -> list[str]:
        """Return the names of the defects of one row."""
        names = [f"stop_{encoding.stop}"] if encoding.stop in ("missing", "inside") else []
        if not encoding.prefix:
            names.append("prompt_not_prefix")
        if not encoding.target:
            names.append("nothing_trained")
        if encoding.changed and encoding.changed not in self._limits.changes:
            names.append(f"changed_{encoding.changed}")
        last = len(sample.messages) - 1
        if sample.trained != (last,) or sample.messages[last].role != "assistant":
            # The other checks read the last message as the target, which this row does not train.
            return [*names, "trains_another_message"]
        # The system prompt (message 0) names the tag when it explains the format; only history must be without plans.
        if any(WRITTEN[PLAN][0] in message.content for message in sample.messages[1:-1]):
            names.append("plan_in_history")
        defects = {defect.name for defect in parse(sample.messages[last].content, sample.speaker, notation="her").defects}
        if not self._limits.plans:
            defects.discard("plan_missing")
        return [*names, *sorted(f"target_{name}" for name in defects)]

    def _problems(self) -> list[str]:
        problems = [] if self._samples else [f"split '{self.name}' has no sample"]
        if self._target and self._kept < self._limits.kept * self._target:
            share = self._kept / self._target
            problems.append(
                f"split '{self.name}': {share:.1%} of the target tokens are kept, at least {self._limits.kept:.0%} have to be; "
                f"raise the longest sample above {self._limits.most_tokens} tokens"
            )
        turns = self._samples + sum(self._dropped.values())
        if turns and (lost := sum(self._dropped.values())) > self._limits.dropped * turns:
            why = ", ".join(f"{name} {count}" for name, count in self._dropped.most_common())
            if self._too_long:
                why += f" (up to {self._too_long} tokens; the limit is {self._limits.most_tokens})"
            problems.append(
                f"split '{self.name}': {lost} of {turns} turns have no sample, at most {self._limits.dropped:.0%} may; {why}"
            )
        for name, count in sorted(self._defects.items()):
            where = ", ".join(self._where[name])
            problems.append(f"split '{self.name}': {name} in {count} samples, such as {where}{_ADVICE.get(name, '')}")
        return problems


def require(reports: Sequence[AuditReport]) -> None:
    """Stop the run when a report has problems.

    Raises:
        InputError: all problems, one sentence each.
    """
    if problems := [problem for report in reports for problem in report.problems]:
        raise InputError("audit: " + "; ".join(problems))


def write_audit(folder: Path, reports: Sequence[AuditReport]) -> None:
    """Write the reports into a folder: `audit.jsonl`, one report a line, and `audit.md` for people."""
    jsonl.write(folder / AUDIT_FILE, reports)
    with replacing(folder / AUDIT_PAGE) as file:
        file.write(to_markdown(reports))


def to_markdown(reports: Sequence[AuditReport]) -> str:
    """Return the reports as one Markdown page."""
    lines = ["# Audit of the training data", ""]
    for report in reports:
        lines += [*_summary(report), *_examples(report)]
    return "\n".join(lines) + "\n"


def _summary(report: AuditReport) -> list[str]:
    kept = report.kept_tokens / report.target_tokens if report.target_tokens else 0.0
    counted = "" if report.exact else " (estimated, not the trainer's own tokens)"
    return [
        f"## {report.name}: {'problems' if report.problems else 'no problems'}",
        "",
        *(f"- **{problem}**" for problem in report.problems),
        f"- {report.samples} samples, counted with {report.encoder}{counted}",
        f"- target tokens kept: {report.kept_tokens} of {report.target_tokens} ({kept:.1%}); prompts: {report.prompt_tokens}",
        f"- longest sample: {report.longest} tokens",
        f"- turns without a sample: {_counts(report.dropped)}",
        f"- stop token: {_counts(report.stops)}",
        f"- defects: {_counts(report.defects)}",
        "",
        "| tokens, at most | samples |",
        "| --- | --- |",
        *(f"| {upper} | {count} |" for upper, count in report.histogram),
        "",
    ]


def _examples(report: AuditReport) -> list[str]:
    shown = [f"~~~~text\n{example.replace('~~~~', '~ ~ ~ ~')}\n~~~~\n" for example in report.examples]
    return ["What is trained, decoded:" if report.exact else "What is trained:", "", *shown]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
