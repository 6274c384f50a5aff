"""pipelines/rl/ablation/: refusals, what is run and resumed, the services, and intervals over seeds."""

import json
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from her import config
from her.errors import HerError, InputError
from her.files import jsonl
from her.runs.folder import RunStatus, run_folder
from her.runs.open_run import RunStopped
from her.statistics import Interval
from pipelines.rl.ablation.kit import COLLAPSED, STOPPED, run_ablation, service_command
from pipelines.rl.ablation.presets import PRESETS, AblationOptions, run_options
from pipelines.rl.panel import FOLDER
from tests.pipelines.rl.test_panel_page import look
from tests.playground import free_port
from tests.servers import ModelServer, Script

PLANTED = ("reward.planted=short", "ablation.presets=['addend']", "ablation.seeds=[1,2,3]")
HELD_OUT = (
    "panel.held_out=['scripted:']",
    *(f"panel.{who}_family={family}" for who, family in (("held_out", "gpt"), ("policy", "qwen"), ("judge", "llama"))),
)
JUDGED = ("ablation.judge=['openai:http://127.0.0.1:1/v1#j']", *HELD_OUT)
BASE = ("name=kit", "model.base=somewhere", "prompts.personas=['bundled']", "panel.every=10")


def options(*words: str) -> AblationOptions:
    return config.load(AblationOptions, [*BASE, *words])[0]


class Runs:
    """Runs that end as they are told to, in place of the pipeline; `started` are the settings of each."""

    def __init__(self, shares: dict[str, float], codes: dict[str, int] | None = None) -> None:
        self.shares, self.codes = shares, codes or {}
        self.started: list[dict[str, Any]] = []

    def __call__(self, launcher: Sequence[str], settings: Path) -> int:
        self.started.append(tomllib.loads(settings.read_text("utf-8")))
        name = settings.stem
        code = self.codes.get(name, 0)
        if code not in (0, COLLAPSED):
            return code
        folder = run_folder(name)
        share = self.shares[name]
        held_out = None if math.isnan(share) else Interval(share, 0.0, 1.0)
        jsonl.write(folder / FOLDER / "looks.jsonl", [look(5), look(10, held_out=held_out, reward=share)])
        state = "done" if code == 0 else "collapsed"
        (folder / "status.json").write_text(RunStatus.model_validate({"pipeline": "rl", "state": state}).model_dump_json())
        return code


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HER_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("reward.planted=short",), "preset 'paper' is about judges"),
        (("reward.planted=short", "ablation.presets=[]", "ablation.seeds=[1]"), "give no interval"),
        (("reward.planted=short", "ablation.presets=[]", "ablation.seeds=[1,1]"), "give no interval"),
        ((*PLANTED, "panel.every=0"), "set panel.every"),
        ((*PLANTED, "method=best_of_n"), "asks for none"),
        (("reward.sources=[{url='http://x'}]", *HELD_OUT), "preset 'group' has no judge"),
        (("reward.sources=[{url='http://x'}]", JUDGED[0]), "different scales; give panel.held_out"),
        ((*PLANTED, "ablation.presets=['harder']"), "harder"),
    ],
)
def test_what_could_not_be_compared_is_refused(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        options(*words)


def test_presets_are_compared_seed_by_seed(home: Path) -> None:
    shares = {f"kit-group-{seed}": 0.5 + 0.1 * seed for seed in (1, 2, 3)}
    shares |= {f"kit-addend-{seed}": 0.4 + 0.1 * seed + 0.01 * (seed - 2) for seed in (1, 2, 3)}
    runs = Runs(shares, {"kit-addend-3": COLLAPSED})
    path = run_ablation(options(*PLANTED), runs)
    group, addend = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert group["mean"][0] == pytest.approx(0.7) and group["difference"] is None
    value, low, high = addend["difference"]
    half = 4.302653 * 0.01 / math.sqrt(3)  # Student's t of 2 degrees of freedom, .975
    assert (value, low, high) == pytest.approx((-0.1, -0.1 - half, -0.1 + half), abs=1e-6)
    assert group["mean"][2] - group["mean"][1] > 0.4 > high - low, "seeds vary together, which the paired difference uses"
    text = path.read_text("utf-8")
    assert "| addend |" in text and "training reward" in text and "| kit-addend-3 | collapsed |" in text
    assert [each["reward"]["gate"] for each in runs.started] == [True] * 3 + [False] * 3
    again = Runs(shares)
    assert run_ablation(options(*PLANTED), again) == path and not again.started


def test_a_run_without_a_verdict_is_missing_and_no_number(home: Path) -> None:
    shares = {f"kit-{preset}-{seed}": 0.6 for preset in ("group", "addend") for seed in (1, 2, 3)} | {"kit-addend-2": math.nan}
    path = run_ablation(options(*PLANTED, *HELD_OUT), Runs(shares))
    group, addend = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert addend["runs"][1]["held_out"] is None and addend["mean"][0] == group["mean"][0] == pytest.approx(0.6)
    assert "missing" in path.read_text("utf-8")


@pytest.mark.parametrize(("code", "error"), [(STOPPED, RunStopped), (2, HerError)])
def test_a_run_that_stops_or_fails_stops_the_kit_which_resumes(code: int, error: type[Exception]) -> None:
    shares = {f"kit-{preset}-{seed}": 0.6 for preset in ("group", "addend") for seed in (1, 2, 3)}
    with pytest.raises(error, match="kit-group-2"):
        run_ablation(options(*PLANTED), Runs(shares, {"kit-group-2": code}))
    again = Runs(shares)
    run_ablation(options(*PLANTED), again)
    assert [each["name"] for each in again.started] == [*list(shares)[1:]]


def test_each_preset_changes_what_it_is_about() -> None:
    given = options("reward.sources=[{url='http://x'}]", "rollout.answers=4", *JUDGED)
    services = {}
    for preset in given.ablation.compared:
        settings = run_options(given, preset, 7, "http://127.0.0.1:8190")
        assert settings.reward is not None and settings.seed == 7 and settings.rollout.answers == 4
        (source,) = settings.reward.sources
        assert (source.kind, source.url) == (PRESETS[preset].kind, "http://127.0.0.1:8190")
        words = service_command(given, preset, Path("folder"))
        services[preset] = (settings.reward.gate, source.kind, *words[words.index("--design") + 1 :][:4])
    assert len(set(services.values())) == len(PRESETS) == 6


@pytest.mark.whole
def test_the_service_of_a_preset_runs_for_its_runs_and_ends(home: Path) -> None:
    answered: list[int] = []

    class Asking(Runs):
        def __call__(self, launcher: Sequence[str], settings: Path) -> int:
            code = super().__call__(launcher, settings)
            (source,) = self.started[-1]["reward"]["sources"]
            answered.append(httpx.get(f"{source['url']}/health").status_code)
            return code

    with ModelServer(Script()) as server:
        judge = f"ablation.judge=['openai:{server.url}#test-her']"
        words = ("reward.sources=[{url='http://x'}]", "ablation.seeds=[1,2]", "ablation.presets=[]", judge, *HELD_OUT)
        runs = Asking({"kit-group-1": 0.6, "kit-group-2": 0.7})
        port = free_port()
        given = options(*words, f"ablation.port={port}")
        run_ablation(given, runs)
        assert answered == [200, 200]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/health")
        (run_folder("kit-group-1") / "status.json").unlink()  # so that the kit needs its service again
        (home / "ablations/kit/service").rename(home / "old")
        (home / "ablations/kit/service").write_text("in the way")
        with pytest.raises(InputError, match="did not start"):
            run_ablation(given, Runs({}))
