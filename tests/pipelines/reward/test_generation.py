"""Answers of a model in this process: batches, one question only, and the probability at the verdict's token."""

import asyncio
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from transformers import AutoModelForCausalLM  # noqa: E402

from her.inference.call import Answer, Call  # noqa: E402
from her.types import Message  # noqa: E402
from pipelines.models.chat_template import ChatTemplate  # noqa: E402
from pipelines.models.sampled_turns import SampledTurn  # noqa: E402
from pipelines.reward import generation  # noqa: E402
from pipelines.reward.generation import ONCE, VERDICTS, BatchAsk, verdict_probabilities  # noqa: E402
from tests.tiny import make_tiny  # noqa: E402

pytestmark = pytest.mark.whole


def call(name: str, text: str = "Which is better?") -> Call:
    return Call(name, "judge_pair", (Message(role="system", content="Compare."), Message(role="user", content=text)))


def opened(folder: Path) -> tuple[object, ChatTemplate]:
    make_tiny(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), ChatTemplate(str(folder))


def test_calls_that_wait_together_get_their_own_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, template = opened(tmp_path)
    calls = [call(f"q{n}", "word " * n) for n in (3, 1, 5, 2, 4)]
    batches: list[int] = []

    def echo(model: object, tokenizer: object, rows: list[list[int]], temperature: float, tokens: int) -> list[SampledTurn]:
        batches.append(len(rows))
        return [SampledTurn(str(len(row)), finished=len(row) % 2 == 0, has_special_token=False) for row in rows]

    async def ask_all() -> list[Answer]:
        ask = BatchAsk(model, template, at_once=2, tokens=6)
        return list(await asyncio.gather(*map(ask, calls)))

    monkeypatch.setattr(generation, "generate", echo)
    answers = asyncio.run(ask_all())
    sizes = [len(template.ids(each.messages, ask=True)) for each in calls]
    assert [answer.text for answer in answers] == list(map(str, sizes)) and batches == [2, 2, 1]
    assert [answer.truncated for answer in answers] == [size % 2 == 1 for size in sizes]


def test_a_second_question_is_refused(tmp_path: Path) -> None:
    model, template = opened(tmp_path)
    again = call("q").messages + (Message(role="assistant", content="-"), Message(role="user", content="Again."))
    answer = asyncio.run(BatchAsk(model, template, at_once=1, tokens=4)(Call("q:again", "judge_pair", again)))
    assert answer.error == ONCE


def test_the_probability_is_that_of_the_verdict_token(tmp_path: Path) -> None:
    model, template = opened(tmp_path)
    calls = [call("q1"), call("q2", "Another, longer question?"), call("q3")]
    text = '- [voice] A: "aye" -> A\nVerdict: A'
    found = verdict_probabilities(model, template, calls, [(text, True), (text, True), ("I cannot say.", True)], 2)
    assert set(found) == {"q1", "q2"} and all(0 < value < 1 for value in found.values())
    other = verdict_probabilities(model, template, calls[:1], [(text.replace("Verdict: A", "Verdict: B"), True)], 2)
    assert other["q1"] == pytest.approx(found["q1"], abs=1e-6)  # what was said does not count, only what might have been
    variants = [template.tokenizer(f"{text[:-2]} {verdict}")["input_ids"] for verdict in VERDICTS]
    same = next(at for at, tokens in enumerate(zip(*variants, strict=False)) if len(set(tokens)) > 1)
    with torch.no_grad():
        ids = torch.tensor([template.ids(calls[0].messages, ask=True) + variants[0][:same]])
        logits = model(input_ids=ids).logits[0, -1]  # type: ignore[operator]
    a, _, tie = logits[[variant[same] for variant in variants]].softmax(-1).tolist()
    assert found["q1"] == pytest.approx(a + tie / 2, abs=1e-5)
