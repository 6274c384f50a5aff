"""What training would really see, counted before it starts; what is wrong is said loudly.

Trainers cut, drop and mask in silence (training.md section 3). This counts, with the tokenizer that will train: target
tokens kept, rows dropped and why, lengths, whether the stop token is trained and stands nowhere else, whether the prompt
is a prefix of the whole, plans in every target and in no history; and it shows targets as they decode.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, Protocol

from her.errors import InputError
from her.format import parse
from her.format.tags import WRITTEN
from her.tokens import estimate_tokens
from her.training_data.samples import Dropped
from her.types import Sample, Value

Stop = Literal["end", "missing", "inside", "unknown"]
"""Where the stop token is in a target: at its end and nowhere else, not there, before its end, or nobody can say."""
EXAMPLES = 3
NAMED = 5


class Encoding(Value):
    """A sample as a trainer encodes it.

    Args:
        prompt: tokens of the prompt; `target` those that are trained.
        stop: where the stop token is in the target.
        prefix: whether the prompt's tokens are the beginning of the whole sample's.
        decoded: the target, decoded from its tokens; empty when they were only estimated.
    """

    prompt: int
    target: int
    stop: Stop = "unknown"
    prefix: bool = True
    decoded: str = ""


class Encoder(Protocol):
    """Encodes samples as the trainer will. `name` says with what; `exact` whether these are its own tokens."""

    name: str
    exact: bool

    def encode(self, sample: Sample) -> Encoding:
        """Count one sample."""
        ...


class EstimatedEncoder:
    """Counts where no tokenizer is at hand, and says so: `stop` is unknown and nothing is decoded."""

    name = "estimate (1 token a CJK character, 1 for 3.6 others)"
    exact = False

    def encode(self, sample: Sample) -> Encoding:
        """Estimated lengths."""
        return Encoding(prompt=estimate_tokens(sample.messages[:-1]), target=estimate_tokens(sample.messages[-1:]))


class AuditLimits(Value):
    """What is still well.

    Args:
        most_tokens: longest sample; a longer one is dropped whole, never cut.
        kept: least share of target tokens that are kept.
        dropped: most of the turns that may become no sample, as a share.
        plans: whether every target has to have a plan.
    """

    most_tokens: int = 8192
    kept: float = 0.98
    dropped: float = 0.1
    plans: bool = True


class AuditReport(Value):
    """What was found; well when there are no `problems`.

    Args:
        name: of the split.
        encoder: what counted; `exact` whether these are the trainer's own tokens.
        samples: rows kept; `dropped` turns that became none, by reason.
        target_tokens: of all rows, those dropped for their length included; `kept_tokens` of the rows kept.
        prompt_tokens: of the rows kept.
        longest: tokens of the longest row kept.
        histogram: upper bounds in tokens (powers of two) and how many rows have at most so many, and more than the one before.
        stops: rows by where their stop token is.
        defects: rows by what is wrong with them.
        examples: targets as they decode, or as they are written where nothing was decoded.
        problems: what is not well, one sentence each.
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


class Preflight:
    """Collects one split's rows, one at a time; memory does not grow with them."""

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
        """A turn that became no sample."""
        self._dropped[dropped.reason] += 1

    def add(self, sample: Sample, encoding: Encoding | None = None) -> bool:
        """A sample; False when it is too long and has to be left out. `encoding`: its own, where many were made at once."""
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
        self._lengths[max(length - 1, 1).bit_length()] += 1
        self._stops[encoding.stop] += 1
        for defect in self._looked_at(sample, encoding):
            self._defects[defect] += 1
            if len(known := self._where.setdefault(defect, [])) < NAMED:
                known.append(sample.turn or str(self._samples))
        if len(self._examples) < EXAMPLES:
            self._examples.append(encoding.decoded or sample.messages[-1].content)
        return True

    def report(self) -> AuditReport:
        """What was found so far."""
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

    def _looked_at(self, sample: Sample, encoding: Encoding) -> list[str]:
        """What is wrong with one row, by name."""
        found = [f"stop_{encoding.stop}"] if encoding.stop in ("missing", "inside") else []
        if not encoding.prefix:
            found.append("prompt_not_prefix")
        if not encoding.target:
            found.append("nothing_trained")
        last = len(sample.messages) - 1
        if sample.trained != (last,) or sample.messages[last].role != "assistant":
            return [*found, "trains_another_message"]
        if any(WRITTEN["system_thinking"][0] in message.content for message in sample.messages[1:-1]):
            found.append("plan_in_history")
        defects = {defect.name for defect in parse(sample.messages[last].content, sample.speaker, notation="her").defects}
        if not self._limits.plans:
            defects.discard("plan_missing")
        return [*found, *sorted(f"target_{name}" for name in defects)]

    def _problems(self) -> list[str]:
        found = [] if self._samples else [f"split '{self.name}' has no sample"]
        if self._target and self._kept < self._limits.kept * self._target:
            share = self._kept / self._target
            found.append(
                f"split '{self.name}': {share:.1%} of the target tokens are kept, at least {self._limits.kept:.0%} have to be; "
                f"raise the longest sample above {self._limits.most_tokens} tokens"
            )
        turns = self._samples + sum(self._dropped.values())
        if turns and (lost := sum(self._dropped.values())) > self._limits.dropped * turns:
            why = ", ".join(f"{name} {count}" for name, count in self._dropped.most_common())
            if self._too_long:
                why += f" (up to {self._too_long} tokens where {self._limits.most_tokens} are the most)"
            found.append(
                f"split '{self.name}': {lost} of {turns} turns became no sample, at most {self._limits.dropped:.0%} may; {why}"
            )
        for name, count in sorted(self._defects.items()):
            found.append(f"split '{self.name}': {name} in {count} samples, such as {', '.join(self._where[name])}")
        return found


def require(reports: Sequence[AuditReport]) -> None:
    """Go no further when something is not well.

    Raises:
        InputError: every problem, one sentence each.
    """
    if problems := [problem for report in reports for problem in report.problems]:
        raise InputError("preflight: " + "; ".join(problems))


def to_markdown(reports: Sequence[AuditReport]) -> str:
    """The reports for people."""
    lines = ["# Preflight", ""]
    for report in reports:
        lines += [*_summary(report), *_examples(report)]
    return "\n".join(lines) + "\n"


def _summary(report: AuditReport) -> list[str]:
    kept = report.kept_tokens / report.target_tokens if report.target_tokens else 0.0
    counted = "" if report.exact else " (estimated, not the trainer's own tokens)"
    lines = [f"## {report.name}: {'not well' if report.problems else 'well'}", ""]
    lines += [f"- **{problem}**" for problem in report.problems]
    lines += [
        f"- {report.samples} samples, counted with {report.encoder}{counted}",
        f"- target tokens kept: {report.kept_tokens} of {report.target_tokens} ({kept:.1%}); prompts: {report.prompt_tokens}",
        f"- longest sample: {report.longest} tokens",
        f"- turns that became no sample: {_counts(report.dropped)}",
        f"- stop token: {_counts(report.stops)}",
        f"- defects: {_counts(report.defects)}",
        "",
        "| tokens, at most | samples |",
        "| --- | --- |",
        *(f"| {upper} | {count} |" for upper, count in report.histogram),
        "",
    ]
    return lines


def _examples(report: AuditReport) -> list[str]:
    shown = [f"~~~~text\n{example.replace('~~~~', '~ ~ ~ ~')}\n~~~~\n" for example in report.examples]
    return ["What is trained, decoded:" if report.exact else "What is trained:", "", *shown]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
