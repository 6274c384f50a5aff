"""pipelines/rl/replay.py and rescore.py: every rollout is kept, shown, and can be judged again."""

import json
from pathlib import Path

import pytest

from her.errors import InputError
from her.judging.groups import Group, GroupRewards, PairVerdict
from her.runs.folder import run_folder
from her.types import Comparison, Verdict
from pipelines.rl.replay import FOLDER, ReplayWriter, read_groups, read_rows, write_page
from pipelines.rl.rescore import RescoreOptions, rescore
from pipelines.rl.reward import GroupReward, WeightedJudge
from pipelines.rl.reward_options import RewardSourceOptions, RolloutRewardOptions
from tests.pipelines.rl.test_reward import OPTIONS, PLANNED, STOP

pytestmark = pytest.mark.whole
TEXTS = [PLANNED + "Good evening.", PLANNED + "Well met.", PLANNED + "Hm.", "Mara: <b>No</b> plan."]


async def half(group: Group) -> GroupRewards:
    """Fail on the second candidate of the first prompt."""
    comparison = Comparison(principle="own-voice", winner="a", reason="more <i>hers</i>", evidence=("Good",))
    verdict = Verdict(winner="a", judge="j", reason="clearer", comparisons=(comparison,), principles="abc")
    second = None if group.id == "p0" else 0.0
    return GroupRewards((1.0, second, -1.0, None), 3, 1, (PairVerdict(0, 1, verdict), PairVerdict(1, 2, None, "unreadable")))


def judged(folder: Path, texts: list[str], step: int = 7) -> None:
    count = len(texts)
    reward = GroupReward([WeightedJudge("paper", half)], OPTIONS, size=4, stop=STOP, watch=[ReplayWriter(folder)])
    reward(
        prompts=[[{"role": "user", "content": "Tom: <script>x</script>"}]] * count,
        completions=texts,
        completion_ids=[[STOP]] * count,
        id=[f"p{place // 4}" for place in range(count)],
        speaker=["Mara"] * count,
        others=[["Tom"]] * count,
        language=["en"] * count,
        trainer_state=type("State", (), {"global_step": step}),
    )


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HER_HOME", str(tmp_path))
    folder = run_folder("rl")
    folder.mkdir(parents=True)
    judged(folder, TEXTS * 2)
    return folder


def test_every_rollout_comes_back_with_its_judgements(folder: Path) -> None:
    rows = list(read_rows(folder / FOLDER))
    assert [row.reward for row in rows] == [1, None, -1, -1, 1, 0, -1, -1]
    assert rows[3].fault == "plan_missing" and rows[0].step == 7 and rows[0].text == TEXTS[0]
    (judgement,) = rows[0].judgements
    assert judgement.verdict and judgement.verdict.comparisons[0].principle == "own-voice"
    assert rows[1].judgements[0].problem == "unreadable"
    judged(folder, TEXTS * 2)  # a step that is repeated after a kill
    assert len(list((folder / FOLDER).iterdir())) == 1


def test_the_page_shows_groups_and_escapes_texts(folder: Path) -> None:
    page = folder / "replay.html"
    assert write_page(read_groups(folder / FOLDER), page, "Rollouts") == 2
    text = page.read_text()
    assert "judge failed" in text and "own-voice" in text and "plan_missing" in text
    assert "<script>" not in text and "<b>No</b>" not in text and "<i>hers" not in text


def options(**changes: object) -> RescoreOptions:
    sources = (RewardSourceOptions(kind="paper", url="http://x"),)
    return RescoreOptions.model_validate({"run": "rl", "as": "new", "reward": RolloutRewardOptions(sources=sources), **changes})


def test_old_rollouts_are_scored_again_or_only_those_whose_judge_failed(folder: Path) -> None:
    asked: list[str] = []

    async def other(group: Group) -> GroupRewards:
        asked.append(group.id)
        return GroupRewards((-1.0, 0.0, 1.0, None), 3, 0)

    out = rescore(options(), [WeightedJudge("paper", other)])
    assert [row.reward for row in read_rows(out)] == [-1, 0, 1, -1] * 2
    found = json.loads((folder / "replay-new.json").read_text())
    assert (found["groups"], found["mended"], found["missing"]) == (2, 1, 0) and 0 <= found["same_order"] < 0.5
    assert (folder / "replay-new.html").is_file() and len(list(read_rows(folder / FOLDER))) == 8
    asked.clear()
    rescore(options(**{"as": "mended", "failed": True}), [WeightedJudge("paper", other)])
    assert asked == ["p0"]
    with pytest.raises(InputError, match="another name"):
        rescore(options(), [WeightedJudge("paper", other)])


def test_a_run_without_rollouts_or_with_a_damaged_file_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="no rollouts"):
        list(read_rows(folder / "nothing"))
    next((folder / FOLDER).iterdir()).write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        list(read_rows(folder / FOLDER))
