"""A generative reward run, whole: from planted pairs to two chat models, and a judge of `her` over the saved one."""

import asyncio
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from her.backends.open import open_backend  # noqa: E402
from her.config import load  # noqa: E402
from her.errors import InputError  # noqa: E402
from her.inference.caller import Caller  # noqa: E402
from her.judging.judge import PairJudge  # noqa: E402
from her.runs.folder import read_status  # noqa: E402
from pipelines.reward.__main__ import run  # noqa: E402
from pipelines.reward.options import RewardOptions  # noqa: E402
from tests.pipelines.reward.critiques_for_tests import DECIDED  # noqa: E402

pytestmark = pytest.mark.whole
ROOT = Path(__file__).resolve().parents[3]
SMALL = [
    f"@{ROOT}/pipelines/configs/reward_generative_smoke.toml",
    "name=tiny",
    "steps=2",
    "model.shape.hidden=16",
    "model.shape.intermediate=32",
    "model.shape.layers=1",
    "model.shape.vocabulary=400",
    "pairs.planted.pairs=60",
    "generative.evaluated=4",
    "generative.grpo.steps=1",
    "generative.grpo.tokens=8",
    "evaluation.attacked=1",
    "evaluation.resamples=10",
]


def options(*words: str) -> RewardOptions:
    return load(RewardOptions, [*SMALL, *words])[0]


def test_a_run_leaves_chat_models_that_a_judge_can_ask(home: Path) -> None:
    folder = run(options()).parent
    assert read_status("tiny").state == "done" and "model/model.safetensors" in read_status("tiny").outputs
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert [stage["name"] for stage in report["stages"]] == ["sft", "grpo"] == [model["name"] for model in report["models"]]
    assert report["after"]["pairs"] <= report["before"]["pairs"] and report["gain"] is not None
    assert set(report["models"][1]["attacks"]) > {"empty", "truncated"} and set(report["models"][1]["false_alarms"])
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["trained"] and manifest["held_out"] and not set(manifest["trained"]) & set(manifest["held_out"])
    readme = (folder / "model" / "README.md").read_text("utf-8")
    assert 'instructions="short"' in readme and "## Report card" in readme and (folder / "report_card.html").is_file()

    async def judged() -> str:
        backend = open_backend(f"local:{folder / 'model'}")
        async with Caller([backend]) as caller:
            found = await PairJudge(caller.ask, name="genrm", instructions="short").judge(DECIDED[0].question)
        await backend.close()
        return found.problem

    assert asyncio.run(judged())  # two steps teach no form: the judgement is missing, with its reason


def test_a_model_of_random_weights_needs_critiques(home: Path) -> None:
    with pytest.raises(InputError, match=r"generative\.judges"):
        run(options("name=none", "pairs.most_tokens=400", "pairs.planted.pairs=0", f'pairs.files=["{_votes(home)}"]'))


def _votes(home: Path) -> Path:
    from her.files import jsonl
    from pipelines.reward.planted import planted_preferences

    home.mkdir(exist_ok=True)
    jsonl.write(home / "votes.jsonl", planted_preferences(40, (), seed=1))
    return home / "votes.jsonl"
