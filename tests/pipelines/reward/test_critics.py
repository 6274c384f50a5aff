"""Critiques of a judge and candidates of a model over HTTP: what was written is kept byte for byte, what failed is counted."""

from pathlib import Path
from typing import Any

import pytest

from her.files import jsonl
from her.types import Message, Sample
from pipelines.reward.critics import label_candidates, write_critiques
from pipelines.reward.options import CandidateOptions, GenerativeOptions
from tests.pipelines.reward.critiques_for_tests import DECIDED
from tests.servers import ModelServer, Script

PROMPT = (Message(role="system", content="You are Mara."), Message(role="user", content="Tom: May I?"))


def kind_judge(body: dict[str, Any]) -> str:
    """Prefer the candidate that says "come", and quote it."""
    first = body["messages"][-1]["content"].partition("===Candidate A===")[2].partition("===Candidate B===")[0]
    winner = "A" if "come" in first.lower() else "B"
    return f'- [warmth] {winner}: "come in" -> {winner} (clear): it is kind\nVerdict: {winner}'


def test_a_judges_words_are_kept_as_they_are(tmp_path: Path) -> None:
    def stubborn(body: dict[str, Any]) -> str:
        return "Verdict: A" if len(body["messages"]) > 2 else "I cannot say."

    with ModelServer(Script(text=stubborn)) as server:
        options = GenerativeOptions(judges=(f"openai:{server.url}#judge",))
        written = write_critiques(options, DECIDED[:2], tmp_path)
        again = write_critiques(options, DECIDED[:2], tmp_path)
        asked = len(server.chats)
    assert [critique.text for critique in written.critiques] == ["Verdict: A"] * 4  # the answer to the second question
    assert {critique.judge for critique in written.critiques} == {"judge"} and not written.left_out["no answer"]
    assert again.critiques == written.critiques and asked == 8  # a run that starts again asks nothing twice


def test_a_failed_call_is_counted_and_no_text(tmp_path: Path) -> None:
    with ModelServer(Script(status=400)) as server:
        written = write_critiques(GenerativeOptions(judges=(f"openai:{server.url}#judge",)), DECIDED[:1], tmp_path)
    assert not written.critiques and written.left_out["no answer"] == 2


def test_candidates_are_labelled_in_both_orders_and_failures_counted(tmp_path: Path) -> None:
    samples = [
        Sample(messages=(*PROMPT, Message(role="assistant", content="-")), trained=(2,), transcript=f"t{n}", speaker="Mara")
        for n in range(2)
    ]
    jsonl.write(tmp_path / "samples.jsonl", samples)
    texts = iter(
        ["<system_thinking>Be kind.</system_thinking>Mara: Come in.", "Mara: Go away.", "Mara: Come in, Tom.", "Mara: No."]
    )
    with ModelServer(Script(text=lambda body: next(texts))) as writer, ModelServer(Script(text=kind_judge)) as judge:
        options = GenerativeOptions(
            judges=(f"openai:{judge.url}#judge",),
            candidates=CandidateOptions(
                samples=(tmp_path / "samples.jsonl",), endpoints=(f"openai:{writer.url}#writer",), answers=2, pairs=1
            ),
        )
        written = label_candidates(options, tmp_path)
        shown = "".join(message["content"] for body in judge.chats for message in body["messages"])
    assert "Be kind" not in shown  # the plan is hidden from the judge
    assert len(written.critiques) == 4
    for critique in written.critiques:
        assert "Come" in critique.pair.better.text("speech") and critique.pair.label in ("a", "b")
        assert critique.pair.conversation.startswith("t")


def test_candidates_need_a_judge() -> None:
    with pytest.raises(ValueError, match="both samples and endpoints"):
        CandidateOptions(samples=(Path("s.jsonl"),))
