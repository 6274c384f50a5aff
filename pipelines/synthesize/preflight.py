"""The preflight's encoder for a Hugging Face tokenizer, and its report as a file for people.

Encodes as TRL does for prompt-completion rows: the chat template over the prompt with a generation prompt, and over all.
"""

from collections.abc import Sequence
from typing import Any

from her.errors import InputError
from her.preflight import Encoder, Encoding, Estimate, Report, Stop
from her.types import Message, Sample


class ChatTemplate:
    """Encodes with a model's own tokenizer and chat template.

    Args:
        source: a folder or repository that holds a tokenizer with a chat template.

    Raises:
        InputError: there is none, or it has no chat template or no end-of-turn token.
    """

    exact = True

    def __init__(self, source: str) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise InputError(f"no tokenizer in {source!r} ({str(error).splitlines()[0]}); give a model's folder") from error
        if not self._tokenizer.chat_template:
            raise InputError(f"the tokenizer in {source!r} has no chat template; give that of a chat model")
        if self._tokenizer.eos_token_id is None:
            raise InputError(f"the tokenizer in {source!r} has no end-of-sequence token; set the one that ends a turn")
        self.name = source.rstrip("/").rpartition("/")[2]

    def encode(self, sample: Sample) -> Encoding:
        """The sample's tokens as TRL makes them."""
        prompt = self._ids(sample.messages[:-1], ask=True)
        whole = self._ids(sample.messages, ask=False)
        prefix = whole[: len(prompt)] == prompt
        target = whole[len(prompt) :]
        return Encoding(
            prompt=len(prompt),
            target=len(target),
            stop=self._stop(target),
            prefix=prefix,
            decoded=self._tokenizer.decode(target),
        )

    def _ids(self, messages: Sequence[Message], ask: bool) -> list[int]:
        rows = [message.model_dump() for message in messages]
        encoded = self._tokenizer.apply_chat_template(rows, tokenize=True, add_generation_prompt=ask, return_dict=True)
        return list(encoded["input_ids"])

    def _stop(self, target: list[int]) -> Stop:
        """A template may put white space after the stop token; that is trained as well and does no harm."""
        stop = self._tokenizer.eos_token_id
        if stop not in target:
            return "missing"
        after = target[target.index(stop) + 1 :]
        return "inside" if self._tokenizer.decode(after).strip() else "end"


def encoder(tokenizer: str) -> Encoder:
    """The encoder for a tokenizer's folder or repository; an honest estimate for none."""
    return ChatTemplate(tokenizer) if tokenizer else Estimate()


def to_markdown(reports: Sequence[Report]) -> str:
    """The reports for people."""
    lines = ["# Preflight", ""]
    for report in reports:
        lines += [*_summary(report), *_examples(report)]
    return "\n".join(lines) + "\n"


def _summary(report: Report) -> list[str]:
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


def _examples(report: Report) -> list[str]:
    shown = [f"~~~~text\n{example.replace('~~~~', '~ ~ ~ ~')}\n~~~~\n" for example in report.examples]
    return ["What is trained, decoded:" if report.exact else "What is trained:", "", *shown]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
