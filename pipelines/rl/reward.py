"""The one reward function of a run: judges, format gate and shaping become one number for each answer, or None.

    reward = worst of the scale          malformed or truncated: the judges are not asked
           = None                        no judge gave a verdict; nothing else is ever None
           = judges' mean + shaping      from -1 to 1, and at most the shaping's bound beyond

Exactly one function, because TRL 1.16 takes a missing reward for neutral only while every function returns None: with a second
one, even of weight 0, the row counts as reward 0. What else is worth knowing goes through `log_metric` and the replay.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from her.errors import BackendError, InputError
from her.format import parse
from her.judging.groups import Group, GroupRewards, PairVerdict
from her.judging.reward_clients import finite
from her.judging.service import JudgeGroup
from her.rewards import ROUNDING, WORST, malformation, mixed, on_scale
from her.runs.open_run import RunStopped
from her.types import Message, Turn
from pipelines.rl.prompts import RolloutPrompt
from pipelines.rl.reward_options import RolloutRewardOptions, SourceKind
from pipelines.rl.shaping import Shaping, bound, shaped
from pipelines.rl.turn_figures import SampledAnswer

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries for a server that does not answer."""
COLUMNS = ("speaker", "others", "language", "reference")


class WeightedJudge(NamedTuple):
    """A judge of groups with its weight in the mix and the scale of its rewards."""

    kind: SourceKind
    judge: JudgeGroup
    weight: float = 1.0
    name: str = "judge"


class JudgedAnswer(NamedTuple):
    """One answer with everything that led to its reward, as the replay keeps it.

    Args:
        fault: why it failed the gate; empty when it passed. `others` are the names that it was read with.
        sources: reward of each source on the scale, None where it is missing.
        penalties: of the shaping, by feature.
        judgements: those in which it stood first, or stood against the reference.
    """

    prompt_id: str
    place: int
    group: Group
    turn: Turn
    fault: str
    others: tuple[str, ...]
    reward: float | None
    sources: dict[str, float | None]
    penalties: dict[str, float | None]
    judgements: tuple[PairVerdict, ...]


class JudgedGroup(NamedTuple):
    """The answers of one prompt; `flat` says that they teach nothing: equal rewards, or fewer than two known ones."""

    prompt_id: str
    answers: tuple[JudgedAnswer, ...]
    unanswered: bool

    @property
    def rewards(self) -> list[float | None]:
        """Rewards, in the order of the answers."""
        return [answer.reward for answer in self.answers]

    @property
    def flat(self) -> str:
        """`missing` or `equal`, empty for a group that has something to learn from."""
        return why_flat(self.rewards)


def why_flat(rewards: Sequence[float | None]) -> str:
    """Return why a group has no advantage: `missing` or `equal`; an empty string when it has one."""
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2:
        return "missing"
    return "equal" if max(known) - min(known) <= ROUNDING * max(1.0, max(map(abs, known))) else ""


class GroupReward:
    """Reward function with TRL's signature.

    The data set has the columns `id`, `speaker`, `others` (names), `language` and, for sources of kind `paper`, `reference`
    (the frozen answer as its model wrote it). A column `fault` says what is wrong with each answer and replaces the gate's own
    reading: sessions are read turn by turn (sessions.py).

    Args:
        judges: the sources.
        size: answers of a group; TRL passes them as neighbours.
        stop: token that ends an answer; one without it was truncated.
        watch: called with the judged groups of every call, such as the replay and the panel.
    """

    def __init__(
        self,
        judges: Sequence[WeightedJudge],
        options: RolloutRewardOptions,
        *,
        size: int,
        stop: int,
        watch: Iterable[Callable[[Sequence[JudgedGroup], int], object]] = (),
    ) -> None:
        self.__name__ = "reward"  # TRL names its metrics by it
        self._judges, self._options, self._size, self._stop = tuple(judges), options, size, stop
        self._watch = tuple(watch)
        self.last: tuple[JudgedGroup, ...] = ()
        """Groups of the latest call, for drawing again those that are flat."""

    @property
    def worst(self) -> float:
        """Reward of a malformed answer: no well-formed one, whatever its shaping, is below it."""
        return WORST - bound(self._options.shaping)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Return one reward for each answer, None where every judge failed.

        Raises:
            InputError: the batch splits a group, or a judge answered for another group.
            RunStopped: no judge answered for any group of the batch.
        """
        names = self._group_names(prompts, columns)
        finished = [self._stop in list(ids) for ids in completion_ids]
        answers = [completion if isinstance(completion, str) else completion[-1]["content"] for completion in completions]
        step = getattr(columns.get("trainer_state"), "global_step", 0)
        began = time.monotonic()
        groups = asyncio.run(self._judged(names, prompts, answers, finished, columns))
        self.last = tuple(groups)
        self._stop_when_dead(groups)
        for watch in self._watch:
            watch(groups, step)
        if report := columns.get("log_metric"):
            for name, value in {**figures(groups), "judge/seconds": time.monotonic() - began}.items():
                report(name, value)
        return [reward for group in groups for reward in group.rewards]

    def gains(self, prompts: Sequence[RolloutPrompt], pairs: Sequence[tuple[SampledAnswer, SampledAnswer]]) -> list[float | None]:
        """Return for each prompt how much more reward the first answer of its pair gets than the second; None is missing.

        The reward must be of groups of 2. Nothing is logged or replayed.
        """
        return asyncio.run(self._gains(prompts, pairs))

    async def _gains(
        self, prompts: Sequence[RolloutPrompt], pairs: Sequence[tuple[SampledAnswer, SampledAnswer]]
    ) -> list[float | None]:
        groups = await asyncio.gather(
            *(
                self.judge_one(
                    prompt.id,
                    prompt.messages,
                    [answer.turn.raw for answer in pair],
                    [answer.fault != "truncated" for answer in pair],
                    prompt.row(),
                )
                for prompt, pair in zip(prompts, pairs, strict=True)
            )
        )
        return [None if None in group.rewards else _difference(*group.rewards) for group in groups]

    def _group_names(self, prompts: Sequence[Any], columns: dict[str, Any]) -> list[str]:
        """Return the id of each group."""
        size, ids = self._size, list(columns["id"])
        names = ids[::size]
        if len(prompts) % size or ids != [name for name in names for _ in range(size)]:
            raise InputError(
                f"a process got {len(prompts)} answers that are no whole groups of {size}; the answers of a process (batch times "
                "steps a generation) must be a multiple of the group's size"
            )
        return names

    async def _judged(
        self,
        names: Sequence[str],
        prompts: Sequence[Any],
        answers: Sequence[str],
        finished: Sequence[bool],
        columns: dict[str, Any],
    ) -> list[JudgedGroup]:
        tasks = []
        for number, name in enumerate(names):
            places = slice(number * self._size, (number + 1) * self._size)
            first = places.start
            column: dict[str, Any] = {key: columns[key][first] for key in COLUMNS if key in columns}
            if "fault" in columns:
                column["fault"] = columns["fault"][places]
            tasks.append(self.judge_one(name, prompts[first], answers[places], finished[places], column))
        return list(await asyncio.gather(*tasks))

    async def judge_one(
        self, name: str, prompt: Any, answers: Sequence[str], finished: Sequence[bool], column: dict[str, Any]
    ) -> JudgedGroup:
        """Judge the answers of one prompt; `column` holds one value for each of `COLUMNS`."""
        speaker, others = column["speaker"], tuple(column.get("others") or ())
        # A session is judged as one text in which others speak as well; who played it read its turns and says what is wrong.
        whole = "fault" in column
        turns = [parse(answer, speaker, () if whole else others) for answer in answers]
        faults = column.get("fault") or [
            malformation(answer, speaker, others, finished=ended, plans=self._options.plans)
            for answer, ended in zip(answers, finished, strict=True)
        ]
        passed = [None if fault and self._options.gate else turn for turn, fault in zip(turns, faults, strict=True)]
        reference = parse(column["reference"], speaker) if column.get("reference") else None
        group = Group(name, as_messages(prompt), tuple(passed), reference, column.get("language") or "en")
        found = await asyncio.gather(*(self._ask(judge, group) for judge in self._judges)) if any(passed) else []
        return self._assembled(name, group, turns, faults, others, found)

    async def _ask(self, source: WeightedJudge, group: Group) -> GroupRewards | None:
        """Return the rewards of one source on the scale; None when it did not answer within the deadline."""
        try:
            async with asyncio.timeout(self._options.deadline):
                found = await _patiently(source.judge, group)
        except TimeoutError:
            log.warning("judge '%s' missed the deadline of %g s for a group", source.name, self._options.deadline)
            return None
        except BackendError as error:
            log.warning("judge '%s' has no rewards for a group: %s", source.name, error)
            return None
        if len(found.rewards) != len(group.candidates):
            raise InputError(
                f"judge '{source.name}' gave {len(found.rewards)} rewards for a group of {len(group.candidates)}; it "
                "answered for another group"
            )
        return found._replace(rewards=tuple(scaled(source.kind, [finite(reward) for reward in found.rewards])))

    def _assembled(
        self,
        name: str,
        group: Group,
        turns: Sequence[Turn],
        faults: Sequence[str],
        others: tuple[str, ...],
        found: Sequence[GroupRewards | None],
    ) -> JudgedGroup:
        size = len(turns)
        nothing: tuple[None, ...] = (None,) * size
        sources = [each.rewards if each else nothing for each in found] or [nothing]
        weights = [judge.weight for judge in self._judges] if found else [1.0]
        rewards = mixed(sources, weights)
        takes_part = [
            turn if reward is not None and not (fault and self._options.gate) else None
            for turn, reward, fault in zip(turns, rewards, faults, strict=True)
        ]
        shaping = shaped(takes_part, self._options.shaping)
        judgements = [each for answer in found if answer for each in answer.judgements]
        answers = tuple(
            JudgedAnswer(
                name,
                index,
                group,
                turns[index],
                faults[index],
                others,
                self._reward(rewards[index], faults[index], shaping, index),
                {judge.name: source[index] for judge, source in zip(self._judges, sources, strict=False)},
                {feature: values[index] for feature, values in shaping.penalties.items()},
                tuple(each for each in judgements if (each.second if each.first < 0 else each.first) == index),
            )
            for index in range(size)
        )
        return JudgedGroup(name, answers, bool(found) and all(each is None for each in found))

    def _reward(self, judged: float | None, fault: str, shaping: Shaping, index: int) -> float | None:
        if fault and self._options.gate:
            return self.worst
        if judged is None:
            return None
        return judged + shaping.additions[index] - (self._options.addend if fault else 0.0)

    def _stop_when_dead(self, groups: Sequence[JudgedGroup]) -> None:
        asked = [group for group in groups if group.unanswered or any(not answer.fault for answer in group.answers)]
        if asked and all(group.unanswered for group in asked):
            names = ", ".join(f"'{judge.name}'" for judge in self._judges)
            raise RunStopped(
                f"no judge answered for any of {len(asked)} groups within {self._options.deadline:g} s ({names}); start the "
                "reward service again, and the run resumes from its last complete checkpoint"
            )


def _difference(first: float | None, second: float | None) -> float:
    return float(first or 0) - float(second or 0)


async def _patiently(judge: JudgeGroup, group: Group) -> GroupRewards:
    """Ask until there is an answer: a service that restarts costs time, not rewards. The caller ends it at its deadline."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await judge(group)
        except BackendError as error:
            if error.reason not in ("unreachable", "server_error", "timeout", "rate_limited"):
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def scaled(kind: SourceKind, rewards: Sequence[float | None]) -> list[float | None]:
    """Return the rewards of a source on the scale from -1 to 1.

    Raises:
        InputError: a number that the kind cannot give: the service runs another design than the settings say.
    """
    if kind == "pairwise":
        return on_scale(rewards)
    most = 0.5 if kind == "pointwise" else 1.0
    if wrong := [reward for reward in rewards if reward is not None and abs(reward) > most * (1 + 1e-6)]:
        raise InputError(
            f"a reward of {wrong[0]:g} cannot come from a source of kind '{kind}', whose rewards are from -{most:g} to {most:g}; "
            "give the kind that fits the design of the service"
        )
    return [None if reward is None else reward / most for reward in rewards]


def as_messages(prompt: Any) -> tuple[Message, ...]:
    """Return a prompt of TRL, text or messages, as messages."""
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),)
    if isinstance(prompt, tuple):
        return prompt
    return tuple(Message(role=row["role"], content=row["content"]) for row in prompt)


def figures(groups: Sequence[JudgedGroup]) -> dict[str, float]:
    """Return the shares and means of one call, by the names under which they are logged."""
    answers = [answer for group in groups for answer in group.answers]
    count = len(answers)
    faults = Counter(answer.fault for answer in answers if answer.fault)
    found = {
        "gate/malformed": sum(faults.values()) / count,
        "gate/truncated": faults["truncated"] / count,
        "judge/missing": sum(answer.reward is None for answer in answers) / count,
        "groups/equal": sum(group.flat == "equal" for group in groups) / len(groups),
        "groups/missing": sum(group.flat == "missing" for group in groups) / len(groups),
    }
    for feature in answers[0].penalties:
        known = [value for answer in answers if (value := answer.penalties[feature]) is not None]
        if known:
            found[f"shaping/{feature}"] = fmean(known)
    for source in answers[0].sources:
        known = [value for answer in answers if (value := answer.sources.get(source)) is not None]
        if known:
            found[f"source/{source}"] = fmean(known)
    if agreed := [same for group in groups for same in order_agreement(group)]:
        found["judge/order_consistency"] = fmean(agreed)
    return found


def order_agreement(group: JudgedGroup) -> list[bool]:
    """Return for each pair of a group that was asked in both orders whether the two verdicts agree."""
    seen: dict[tuple[int, int], str] = {}
    agreed: list[bool] = []
    for each in (each for answer in group.answers for each in answer.judgements):
        if each.verdict is None:
            continue
        other = seen.pop((each.second, each.first), None)
        if other is None:
            seen[each.first, each.second] = each.verdict.winner
        else:
            agreed.append({"a": "b", "b": "a"}.get(each.verdict.winner, each.verdict.winner) == other)
    return agreed
