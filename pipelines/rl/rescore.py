"""Score the rollouts of a run again by other judges, or only those whose judge failed; the run itself is not changed.

    python -m pipelines.rl.rescore run=rl as=other reward.sources="[{kind='pairwise', url='http://127.0.0.1:8100'}]"
    python -m pipelines.rl.rescore run=rl as=mended failed=true reward.sources=...

The new rewards are in `RUN/replay-AS/`, with a page `replay-AS.html` and `replay-AS.json`: how they agree with the old ones.
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean

from pydantic import Field

from her.errors import InputError
from her.files.atomic import replacing
from her.runs.command_line import run_command_line
from her.runs.folder import run_folder
from her.types import NonEmpty, Value
from pipelines.rl.judge_sources import open_judges
from pipelines.rl.replay import FOLDER, ReplayGroup, ReplayRow, read_groups, replay_rows, write_page, write_rows
from pipelines.rl.reward import GroupReward, JudgedGroup, WeightedJudge
from pipelines.rl.reward_options import RolloutRewardOptions

AT_ONCE = 16
"""Groups that are judged together and written as one file."""


class RescoreOptions(Value):
    """Settings of a rescoring.

    Args:
        run: name of the run whose rollouts are scored again.
        as_: name of the result, such as the judge's; `as` on the command line.
        failed: only groups in which a judge failed; a relative reward needs its whole group again.
        reward: the judges, gate and shaping.
    """

    run: NonEmpty
    as_: NonEmpty = Field(alias="as", pattern=r"^[A-Za-z0-9._-]+$")
    failed: bool = False
    reward: RolloutRewardOptions


class Agreement(Value):
    """Agreement of new rewards with old ones.

    Args:
        groups: scored again; `answers` in them.
        mended: answers that had no reward and have one now; `missing` those that still have none.
        same_order: share of pairs within groups, both known and different twice, whose order is the same; None without pairs.
    """

    groups: int
    answers: int
    mended: int
    missing: int
    same_order: float | None


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, RescoreOptions, run, "rescore")


def run(options: RescoreOptions) -> Path:
    """Score again and return the folder of the new replay.

    Raises:
        InputError: there are no rollouts, or none whose judge failed, or the name is taken.
    """
    return rescore(options, open_judges(options.reward))


def rescore(options: RescoreOptions, judges: Sequence[WeightedJudge]) -> Path:
    """Score again by these judges; see `run`."""
    folder = run_folder(options.run)
    out = folder / f"{FOLDER}-{options.as_}"
    if out.exists():
        raise InputError(f"'{out}' exists; give the rescoring another name, or delete the folder")
    groups = (group for group in read_groups(folder / FOLDER) if group.failed or not options.failed)
    old: list[ReplayGroup] = []
    new: list[ReplayGroup] = []
    while batch := list(islice(groups, AT_ONCE)):
        rows = list(_scored(batch, judges, options.reward))
        write_rows([row for group in rows for row in group.rows], out / f"{len(old):06}.parquet")
        old += batch
        new += rows
    if not old:
        raise InputError(f"run '{options.run}' has no group whose judge failed; leave out failed=true to score all again")
    write_page(new, folder / f"{FOLDER}-{options.as_}.html", f"Rollouts of {options.run}, scored by {options.as_}")
    with replacing(folder / f"{FOLDER}-{options.as_}.json") as file:
        file.write(json.dumps(json.loads(agreement(old, new).model_dump_json()), indent=1) + "\n")
    return out


def _scored(
    batch: Sequence[ReplayGroup], judges: Sequence[WeightedJudge], options: RolloutRewardOptions
) -> Iterator[ReplayGroup]:
    judged = asyncio.run(_judged(batch, judges, options))
    for group, found in zip(batch, judged, strict=True):
        yield ReplayGroup(group.step, group.group, group.draw, tuple(replay_rows(found, group.step)))


async def _judged(
    batch: Sequence[ReplayGroup], judges: Sequence[WeightedJudge], options: RolloutRewardOptions
) -> list[JudgedGroup]:
    return list(await asyncio.gather(*(_again(group.rows, judges, options) for group in batch)))


async def _again(rows: Sequence[ReplayRow], judges: Sequence[WeightedJudge], options: RolloutRewardOptions) -> JudgedGroup:
    reward = GroupReward(judges, options, size=len(rows), stop=0)
    first = rows[0]
    column = {
        "speaker": first.speaker,
        "others": first.others,
        "language": first.language,
        "reference": first.reference,
    }
    texts, finished = [row.text for row in rows], [row.finished for row in rows]
    return await reward.judge_one(first.group, first.prompt, texts, finished, column)


def agreement(old: Sequence[ReplayGroup], new: Sequence[ReplayGroup]) -> Agreement:
    """Return how two scorings of the same groups agree."""
    same: list[bool] = []
    for before, after in zip(old, new, strict=True):
        pairs = [(a.reward, b.reward) for a, b in zip(before.rows, after.rows, strict=True)]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        same += [(a - c > 0) == (b - d > 0) for at, (a, b) in enumerate(known) for c, d in known[at + 1 :] if a != c and b != d]
    rows = [pair for before, after in zip(old, new, strict=True) for pair in zip(before.rows, after.rows, strict=True)]
    return Agreement(
        groups=len(old),
        answers=len(rows),
        mended=sum(a.reward is None and b.reward is not None for a, b in rows),
        missing=sum(b.reward is None for _, b in rows),
        same_order=fmean(same) if same else None,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
