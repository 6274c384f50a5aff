"""Runs of `her run rl` over tiny models, through the command line, and what stops them."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.whole

from her.config import load  # noqa: E402
from her.files import jsonl  # noqa: E402
from her.runs.folder import read_curve, run_folder  # noqa: E402
from her.types import Message, Sample  # noqa: E402
from pipelines.models.sample_rows import read_file  # noqa: E402
from pipelines.rl.__main__ import main  # noqa: E402
from pipelines.rl.ablation.kit import run_ablation  # noqa: E402
from pipelines.rl.ablation.presets import AblationOptions  # noqa: E402
from pipelines.rl.panel import read_looks  # noqa: E402
from tests.tiny import make_tiny, teach  # noqa: E402

ANSWERS = ("Ann: Come in.", "Ann: Come in, sit down.", "Ann: Who is it? Good evening, come in, sit down.")


def messages(question: str, answer: str) -> tuple[Message, ...]:
    rows = (("system", "You are Ann."), ("user", f"Bell: {question}"), ("assistant", answer))
    return tuple(Message(role=role, content=content) for role, content in rows)


QUESTIONS = ("May I?", "Is it you?", "Are you in?", "Good day?")
DIALOGUES = [messages(question, answer) for question in QUESTIONS for answer in ANSWERS]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that answers in three ways, short and long."""
    folder = make_tiny(tmp_path_factory.mktemp("taught"), context=256)
    teach(folder, DIALOGUES, steps=120)
    return folder


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Settings of a small run in a home of its own."""
    monkeypatch.setenv("HER_HOME", str(tmp_path / "home"))
    samples = tmp_path / "samples.jsonl"
    chats = [
        Sample(messages=messages(question, ANSWERS[0]), trained=(2,), transcript=f"c{number}", turn=f"t{number}", speaker="Ann")
        for number, question in enumerate(QUESTIONS)
    ]
    jsonl.write(samples, chats)
    yield [
        *("device=cpu", "name=first", f"prompts.files=['{samples}']", "rollout.answers=4", "rollout.tokens=24", "batch=8"),
        *("rows=4", "steps=2", "save_every=1", "learning_rate=1e-3", "reward.plans=false", "panel.every=0"),
        *("rollout.most_dropped=1", "format_check.answers=4", "reward.planted=short"),
    ]


def sentence(name: str = "first") -> str:
    return str(json.loads((run_folder(name) / "status.json").read_text())["reason"])


def test_a_policy_is_trained_saved_and_left_alone_when_done(taught: Path, words: list[str]) -> None:
    words.append(f"model.base={taught}")
    assert main(words) == 0
    folder = run_folder("first")
    steps = [line for line in read_curve("first") if "groups/dropped" in line]
    assert [line["step"] for line in steps] == [1, 2] and all("reward" in line and "groups/redrawn" in line for line in steps)
    assert (folder / "model" / "model.safetensors").is_file() and list((folder / "replay").glob("*.parquet"))
    judged = (folder / "judged-0.jsonl").read_text()
    assert main(words) == 0 and (folder / "judged-0.jsonl").read_text() == judged


def test_light_checkpointing_stays_light_after_sampling_and_weights_of_tokens_train(
    taught: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.models import activation_checkpointing

    seen: list[str] = []
    policy = activation_checkpointing._policy

    def watched(context: Any, operator: Any, *inputs: Any, **named: Any) -> Any:
        seen.append(str(operator))
        return policy(context, operator, *inputs, **named)

    monkeypatch.setattr(activation_checkpointing, "_policy", watched)
    extra = ["checkpointing=light", "rollout.token_weights.strength=1", "lora.rank=4", "kl=0.01", "method=gspo"]
    assert main([*words, *extra, f"model.base={taught}"]) == 0
    assert seen
    assert any("token_weight_largest" in line and "kl" in line for line in read_curve("first"))


def test_the_panel_looks_and_its_page_is_written(taught: Path, words: list[str]) -> None:
    panel = ["panel.every=1", "panel.prompts=2", "panel.turns=4", "panel.stop=['none']", "panel.guard=0"]
    assert main([*words, *panel, f"model.base={taught}"]) == 0
    folder = run_folder("first")
    assert (folder / "panel.html").is_file() and (folder / "model").is_dir()
    assert {line["step"] for line in read_curve("first") if "panel/alarms" in line} == {1, 2}
    logged = [line["entropy"] for line in read_curve("first") if "entropy" in line]
    assert read_looks(folder)[1].training.entropy == pytest.approx(logged[0])  # that of step 1 is logged after its look


def test_a_collapsed_run_says_so_and_exits_with_4(taught: Path, words: list[str]) -> None:
    alarm = ["panel.every=1", "panel.prompts=2", "panel.turns=4", "panel.alarms.least_turns=2", "panel.alarms.entropy_floor=9"]
    alarm += ["panel.alarms.entropy_drop=0.000001", "panel.alarms.malformed_rise=0.000001", "panel.alarms.longer=0.000001"]
    alarm += ["panel.alarms.phrase_rise=0.000001", "panel.alarms.diversity_fall=0.000001", "learning_rate=0.05", "steps=6"]
    assert main([*words, *alarm, f"model.base={taught}"]) == 4
    assert json.loads((run_folder("first") / "status.json").read_text())["state"] == "collapsed"
    assert sentence().startswith("at step ")


def test_a_checkpoint_that_knows_no_format_is_refused_before_training(tmp_path: Path, words: list[str]) -> None:
    base = make_tiny(tmp_path / "raw", context=256)
    assert main([*words, f"model.base={base}"]) == 2
    assert "0 of 4 answers" in sentence() and "no checkpoint that was fine-tuned on the format" in sentence()
    assert not list((run_folder("first") / "checkpoints").glob("*"))


def test_a_dead_reward_service_stops_the_run_which_can_be_resumed(taught: Path, words: list[str]) -> None:
    served = ["reward.sources=[{kind='pairwise', url='http://127.0.0.1:9'}]", "reward.deadline=0.2", f"model.base={taught}"]
    assert main([*(word for word in words if "planted" not in word), *served]) == 3
    assert "no judge answered" in sentence() and "127.0.0.1" not in sentence().split("(")[0]


def test_prompts_longer_than_the_context_are_refused(taught: Path, words: list[str]) -> None:
    assert main([*words, "rollout.tokens=250", f"model.base={taught}"]) == 2
    assert "no prompt is left to answer" in sentence()


def test_equal_rewards_for_every_answer_stop_the_run(taught: Path, words: list[str]) -> None:
    assert main([*words, "rollout.most_dropped=0.5", "rollout.temperature=0.01", f"model.base={taught}"]) == 2
    assert re.search(r"2 of 2 groups of step \d have equal or missing rewards after 2 more tries", sentence())


def test_the_best_of_n_become_samples_for_fine_tuning(taught: Path, words: list[str]) -> None:
    assert main([*words, "method=best_of_n", f"model.base={taught}"]) == 0
    samples = list(read_file(run_folder("first") / "samples.jsonl"))
    assert samples and all(sample.speaker == "Ann" and sample.messages[-1].content.startswith("Ann:") for sample in samples)


def test_presets_are_compared_by_whole_runs(taught: Path, words: list[str]) -> None:
    def start(launcher: Sequence[str], settings: Path) -> int:
        return main([f"@{settings}"])

    more = ["steps=1", "panel.every=1", "panel.prompts=2", "panel.turns=2", "ablation.presets=['addend']", "ablation.seeds=[1,2]"]
    options, _ = load(AblationOptions, [*words, *more, f"model.base={taught}"])
    group, addend = json.loads(run_ablation(options, start).with_suffix(".json").read_text("utf-8"))
    assert [run["state"] for run in group["runs"] + addend["runs"]] == ["done"] * 4 and addend["difference"] is not None
