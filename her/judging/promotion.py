"""Decide whether a checkpoint goes on stage: it must beat the one there, with a judge that was held out and without any judge.

    her promote RUN
    her promote --back

Three conditions, each with its figures or with the command that makes what is missing:

    held-out judge   it wins more games of `her eval arena` than it loses, by an interval over books that excludes zero
    free metrics     its scenes are sounder than those of the one on stage, by such an interval, and no single figure is worse
    alarms           the panel of reinforcement learning raised none up to the saved step, and the arena's judges do not part

Both checkpoints are known by a hash in the manifests of their evaluations: an evaluation of another checkpoint does not count,
whatever its name, and files that were changed since they were made are refused. The first checkpoint has nothing to beat.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from her.deploy.checkpoints import checkpoint_hash
from her.deploy.hub.selection import find_run
from her.deploy.stage_record import StageCondition, StagedModel, on_stage, put_on_stage
from her.errors import HerError, InputError
from her.judging.arena_table import ArenaGame, parted_judges
from her.judging.free_metrics import FreeMetrics, free_metrics
from her.judging.promotion_inputs import Met, StageCandidate, find_met, plain_name
from her.judging.statistics import Estimate, Observation, PairedDifference, mean_score, paired_difference, with_holm
from her.runs.folder import read_metrics, runs_folder
from her.runs.pipelines import pipeline_module
from her.types import Transcript

WORTH: Mapping[str, float] = {"a": 0.5, "tie": 0.0, "b": -0.5}
"""Winner, seen from the first side -> worth of a game; where both are bad it says nothing about either."""
DIRECTIONS: Mapping[str, int] = {
    "well_formed": 1,
    "spoken": 1,
    "first_person": 1,
    "plan_shown": -1,
    "assistant": -1,
    "thought_echoed": -1,
    "looped": -1,
    "repeated": -1,
}
"""Free metrics, all shares, that are better when higher (1) or lower (-1); figures of style, such as length, have none."""
Scene = tuple[str, str, int, FreeMetrics]
"""Case, book, number of the run and free metrics of a scene."""
SOUNDNESS = "soundness"
"""Mean of the shares with a direction, each turned so that 1 is best."""


class Promotion(NamedTuple):
    """A decision: the conditions that were looked at, and the line of the record when the checkpoint is on stage now."""

    candidate: StageCandidate
    conditions: tuple[StageCondition, ...]
    line: StagedModel | None

    @property
    def failed(self) -> tuple[str, ...]:
        """Return the names of the conditions that failed."""
        return tuple(each.name for each in self.conditions if not each.passed)


def promote(word: str, overrule: str = "", arena: Path | None = None) -> Promotion:
    """Put the checkpoint of a run on stage if every condition holds, or if a person overrules those that do not.

    Args:
        word: name of the run.
        overrule: reason, which is recorded.
        arena: folder of the arena; None looks for one in the folders of runs.

    Raises:
        InputError: no such run or checkpoint, one that is on stage already, or files that were changed since they were made; no
            reason overrules that.
    """
    candidate = find_candidate(word)
    before = on_stage()
    if before is not None and before.checkpoint == candidate.checkpoint:
        raise InputError(f"the checkpoint of run '{candidate.run}' is on stage already, since run '{before.run}' was promoted")
    conditions = tuple(stage_conditions(candidate, before, arena))
    promotion = Promotion(candidate, conditions, None)
    if promotion.failed and not overrule.strip():
        return promotion
    reason = " ".join(overrule.split()) if promotion.failed else ""
    return promotion._replace(line=put_on_stage(candidate.run, candidate.folder, conditions, reason))


def find_candidate(word: str) -> StageCandidate:
    """Return a run with a checkpoint that is done and as it was when it ended.

    Raises:
        InputError: it is not, or it has no checkpoint that plays.
    """
    run = find_run(word)
    if run.kind != "model":
        raise InputError(f"run '{word}' made a {run.kind}, and only a model that plays goes on stage; name a run of sft or rl")
    folder = run.folder / "model"
    return StageCandidate(run.name, folder, checkpoint_hash(folder), run.status.pipeline, run.settings)


def stage_conditions(candidate: StageCandidate, staged: StagedModel | None, arena: Path | None) -> Iterator[StageCondition]:
    """Yield the three conditions.

    Raises:
        InputError: an evaluation or arena was changed since it was made.
    """
    if staged is None:
        nothing = "nothing is on stage, so there is nothing to beat"
        yield StageCondition(name="held-out judge", passed=True, sentence=nothing)
        yield StageCondition(name="free metrics", passed=True, sentence=nothing)
        yield _alarms(candidate, ())
        return
    met = find_met(candidate, staged, arena)
    if isinstance(met, str):
        yield StageCondition(name="held-out judge", passed=False, sentence=met)
        yield StageCondition(name="free metrics", passed=False, sentence=met)
    else:
        yield _judged(met)
        yield _measured(met)
    yield _alarms(candidate, () if isinstance(met, str) else met.games, "" if isinstance(met, str) else met.candidate)


def _judged(met: Met) -> StageCondition:
    """Return the condition of the held-out judges: each of them prefers the candidate."""
    by_judge: dict[str, list[ArenaGame]] = defaultdict(list)
    for game in met.games:
        if game.source == "held_out":
            by_judge[game.judge].append(game)
    if not by_judge:
        command = f"her eval arena {met.staged} {met.candidate} --family F1 --family F2 --held-out SPEC --held-out-family F3"
        sentence = f"no held-out judge compared '{met.candidate}' with '{met.staged}' on stage; hold an arena: {command}"
        return StageCondition(name="held-out judge", passed=False, sentence=sentence)
    found = {judge: mean_score(_observed(games)) for judge, games in sorted(by_judge.items())}
    passed = all(each.low is not None and each.low > 0 for each in found.values())
    return StageCondition(name="held-out judge", passed=passed, sentence="; ".join(map(_preferred, found.items())))


def _observed(games: Iterable[ArenaGame]) -> Iterator[Observation]:
    for game in games:
        yield Observation(game.case, game.cluster, game.run, WORTH.get(game.winner or ""))


def _preferred(judged: tuple[str, Estimate]) -> str:
    judge, found = judged
    lost = f", {found.missing} games without a verdict" if found.missing else ""
    if found.value is None:
        return f"{judge} decided no game{lost}"
    share = f"{judge} prefers it in {found.value + 0.5:.1%} of games"
    counted = f"over {found.used} cases of {found.clusters} books{lost}"
    if found.low is None or found.high is None:
        return f"{share} {counted}; without an interval ({found.reason}) this says nothing"
    return f"{share} (95 %: {found.low + 0.5:.1%} to {found.high + 0.5:.1%}, must be above 50 %) {counted}"


def _measured(met: Met) -> StageCondition:
    """Return the condition of the free metrics: sounder as a whole, and no single figure worse."""
    before, after = (_soundness_by_case(name) for name in (met.staged, met.candidate))
    whole = paired_difference(_figure(before, SOUNDNESS), _figure(after, SOUNDNESS))
    single = _single_figures(before, after)
    worse = [name for name, each in single.items() if each.found and (each.estimate.value or 0) < 0]
    perfect = all(each.score == 1 for each in (*_figure(before, SOUNDNESS), *_figure(after, SOUNDNESS)))
    passed = not worse and (perfect or (whole.estimate.low is not None and whole.estimate.low > 0))
    if perfect:
        sentence = "the scenes of both are without a fault that code can see, so nothing is left to beat"
    else:
        sentence = _difference(whole)
    if worse:
        sentence += f"; worse: {', '.join(f'{name} {_change(name, single[name])}' for name in worse)}"
    return StageCondition(name="free metrics", passed=passed, sentence=sentence)


def free_differences(before: str, after: str) -> dict[str, PairedDifference]:
    """Return by figure how the free metrics of two evaluations differ, turned so that below 0 is worse, adjusted together."""
    return _single_figures(_soundness_by_case(before), _soundness_by_case(after))


def _single_figures(before: Sequence[Scene], after: Sequence[Scene]) -> dict[str, PairedDifference]:
    return with_holm({name: paired_difference(_figure(before, name), _figure(after, name)) for name in DIRECTIONS})


def _soundness_by_case(name: str) -> list[Scene]:
    """Return case, book, number of the run and free metrics of every scene of an evaluation."""
    report = pipeline_module("evaluate", "report")
    scene_id: Callable[[str, int, str], str] = pipeline_module("evaluate", "scores").transcript_id
    run = report.read_run(name)
    plays = dict.fromkeys((row.case, row.book, row.run, row.model) for row in run.scores)
    scenes: Mapping[str, Transcript] = run.transcripts
    return [
        (case, book, number, free_metrics([scene.turns], language=scene.scenario.language))
        for case, book, number, model in plays
        if (scene := scenes.get(scene_id(case, number, model))) is not None
    ]


def _figure(scenes: Iterable[Scene], name: str) -> list[Observation]:
    return [Observation(case, book, number, _share(found, name)) for case, book, number, found in scenes]


def _share(found: FreeMetrics, name: str) -> float | None:
    """Return a share turned so that 1 is best, or the mean of all."""
    if name == SOUNDNESS:
        known = [share for each in DIRECTIONS if (share := _share(found, each)) is not None]
        return sum(known) / len(known) if known else None
    value: float | None = getattr(found, name)
    return value if value is None or DIRECTIONS[name] > 0 else 1 - value


def _difference(found: PairedDifference) -> str:
    estimate = found.estimate
    if estimate.value is None:
        return "the two evaluations have no scene in common; evaluate both over the same cases"
    counted = f"over {estimate.used} cases of {estimate.clusters} books"
    if estimate.low is None or estimate.high is None:
        return (
            f"{SOUNDNESS} differs by {estimate.value:+.4f} {counted}; without an interval ({estimate.reason}) this says nothing"
        )
    interval = f"{estimate.low:+.4f} to {estimate.high:+.4f}"
    return f"{SOUNDNESS} differs by {estimate.value:+.4f} (95 %: {interval}, must be above 0) {counted}"


def _change(name: str, found: PairedDifference) -> str:
    return f"{DIRECTIONS[name] * (found.estimate.value or 0):+.4f}"


def _alarms(candidate: StageCandidate, games: Sequence[ArenaGame], name: str = "") -> StageCondition:
    """Return the condition of the alarms: of the panel up to the saved step, and of the arena's judges."""
    parted = [each for each in parted_judges(games) if each.flagged and plain_name(each.contestant) == name]
    on = [f"it pleases the judge with principles and not the held-out one ({parted[0].pleased} games)"] if parted else []
    if candidate.pipeline == "rl":
        found, sentence = _panel_alarms(candidate)
        on += found
    else:
        found, sentence = [], f"no reward was maximised by a run of {candidate.pipeline}, so it has no panel"
    if on:
        sentence = "; ".join(on)
    return StageCondition(name="alarms", passed=not on, sentence=sentence)


def _panel_alarms(candidate: StageCandidate) -> tuple[list[str], str]:
    """Return the alarms that are on, and the sentence when there is none."""
    folder = runs_folder() / candidate.run
    looks = pipeline_module("rl", "panel").read_looks(folder)
    saved = [line.get("step") for line in read_metrics(candidate.run) if line.get("saved") == "model"]
    if candidate.settings.get("method") in ("dpo", "kto"):
        return [], f"{candidate.settings['method']} learns from preferences and has no panel"
    if not looks or not saved:
        return ["the run has no look of a panel, so nobody can tell; run it again with panel.every above 0"], ""
    step = int(saved[-1] or 0)
    before = [look for look in looks if look.step <= step]
    on = [f"step {look.step}, {alarm.name}: {alarm.sentence}" for look in before for alarm in look.alarms]
    return on, f"none in {len(before)} looks up to step {step}, whose model was saved"


def require_promoted(promotion: Promotion) -> StagedModel:
    """Return the line of the record.

    Raises:
        HerError: the checkpoint was not promoted; the sentence names the conditions that failed.
    """
    if promotion.line is None:
        raise HerError(
            f"run '{promotion.candidate.run}' stays off the stage: {', '.join(promotion.failed)} failed; mend that, or overrule "
            'it, which is recorded: --overrule "REASON"'
        )
    return promotion.line
