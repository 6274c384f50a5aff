"""DPO, KTO and best of n: the same preferences and the same reward, without a loop of sampling."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.files import jsonl
from her.format import parse
from her.types import Message, Preference, Verdict
from pipelines.rl.best_of_n import best_answer
from pipelines.rl.preference_training import label_rows, pair_row
from pipelines.rl.prompts import RolloutPrompt

PROMPT = (Message(role="system", content="You are Ann."), Message(role="user", content="Bell: May I?"))
GOOD = "<system_thinking>I need to portray Ann.</system_thinking>Ann: <role_action>nods</role_action>Come in."
BAD = "<system_thinking>I need to portray Ann.</system_thinking>Ann: Go away, and never come to this house again."
EXPORTED = Preference(
    prompt=PROMPT,
    chosen=parse(GOOD, "Ann", ()),
    rejected=parse(BAD, "Ann", ()),
    verdict=Verdict(comparisons=(), winner="a", reason="", judge="rater"),
    conversation="c1",
)


def test_rows_hold_both_answers_with_their_plans() -> None:
    row = pair_row(EXPORTED)
    assert row["chosen"] == [{"role": "assistant", "content": GOOD}] and row["rejected"][0]["content"] == BAD
    assert row["prompt"][0]["content"] == "You are Ann."
    assert [(each["completion"][0]["content"], each["label"]) for each in label_rows(EXPORTED)] == [(GOOD, True), (BAD, False)]


@pytest.mark.parametrize(
    ("rewards", "texts", "expected"),
    [
        ([0.1, 0.9], [BAD, GOOD], GOOD),
        ([None, 0.2, 0.1], [BAD, GOOD, BAD], GOOD),
        ([0.5, 0.5], [BAD, GOOD], "without a difference"),
        ([None, 0.5], [BAD, GOOD], "without a difference"),
        ([0.5, 0.9], [GOOD, "Come in."], "malformed at best"),
    ],
)
def test_the_best_answer_is_kept_or_a_reason_given(rewards: list[float | None], texts: list[str], expected: str) -> None:
    pytest.importorskip("torch")
    from pipelines.models.sampled_turns import SampledTurn

    prompt = RolloutPrompt(id="p", messages=PROMPT, speaker="Ann", conversation="c1")
    best = best_answer(prompt, [SampledTurn(text, True, False) for text in texts], rewards)
    assert best == expected if isinstance(best, str) else best.messages[-1].content == expected


@pytest.mark.whole
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_preferences_train_a_model_that_prefers_the_chosen(tmp_path: Path, method: str, monkeypatch: Any) -> None:
    pytest.importorskip("trl")
    from her.runs.folder import read_curve, run_folder
    from pipelines.rl.__main__ import main
    from tests.tiny import make_tiny

    monkeypatch.setenv("HER_HOME", str(tmp_path / "home"))
    base, file = make_tiny(tmp_path / "base"), tmp_path / "preferences.jsonl"
    jsonl.write(file, [EXPORTED.model_copy(update={"conversation": f"c{number}"}) for number in range(8)])
    words = [f"model.base={base}", "device=cpu", f"method={method}", f"preferences.files=['{file}']", "rows=4", "batch=4"]
    assert main([*words, "name=first", "steps=4", "learning_rate=1e-3", "checkpointing=light", "warmup=0", "save_every=4"]) == 0
    margins = [line["rewards/margins"] for line in read_curve("first") if "rewards/margins" in line]
    assert margins[-1] > margins[0]
    assert (run_folder("first") / "model" / "model.safetensors").is_file()
    assert json.loads((run_folder("first") / "status.json").read_text())["state"] == "done"
