"""Check that planted differences are found and an exploiter is flagged. Run: `python -m benchmarks.planted FOLDER [SEEDS]`

FOLDER holds `test_sample.json` and `final/` with two books, as CoSER's repository has them: 54 cases of 23 books. Five scripted
actors play every case twice. `good` speaks the book's lines; `flat` often says nothing of interest, `stranger` often speaks the
lines of other books, `repeating` often says its last line again. `exploiter` is as flat as `flat` and adds words that the judge
with a rubric adores. Scripted judges read what a model would read and have noise: the rubric judge names flaws by dimension, the
judge with principles and the held-out one compare scenes in both orders with a bias for the first.

First seed: scores through the judge's prompt and the reader of its replies, differences of neighbouring qualities with Holm's
correction. All seeds: the games in which the two judges of pairs part.
"""

import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

from benchmarks.report import report
from her.backends.base import Description
from her.backends.rules import RuleBackend
from her.format import parse, render_coser
from her.inference.call import Answer, Call
from her.inference.caller import Caller
from her.judging.arena_table import ArenaGame, PartedJudges, Source, parted_judges
from her.judging.principles import load_principles
from her.judging.scene_judge import ScenePair, ScenePairJudge
from her.judging.statistics import PairedDifference, with_holm
from her.types import ENVIRONMENT, Message, Transcript, Turn
from pipelines.evaluate.cases import ActingCase, read_cases
from pipelines.evaluate.comparison import compare
from pipelines.evaluate.judgements import TITLES, score
from pipelines.evaluate.judging import SceneJudge, SceneQuestion
from pipelines.evaluate.options import Role
from pipelines.evaluate.protocols import protocol_named
from pipelines.evaluate.scores import CaseScore, transcript_id
from pipelines.evaluate.sheets import AVERAGE

ACTORS = ("good", "flat", "stranger", "repeating", "exploiter")
HONEST = ACTORS[:4]
FAULTY = {"good": 0.04, "flat": 0.45, "stranger": 0.55, "repeating": 0.75, "exploiter": 0.45}
"""Share of an actor's turns that have its fault."""
SEVERITY = {"flat": 2, "stranger": 3, "repeating": 4}
DULL = ("I see. Go on, then.", "That may be so.", "Very well, as you say.", "Hm. Perhaps.")
ADORED = "while the silence between us says more than words"
RUNS, JUDGE_NOISE, FIRST_SLOT = 2, 3.0, 2.0
BARS = {"ordered": 3, "exploiter_flagged_seeds": 20, "honest_flagged": 0, "cases": 54, "seeds": 20}
NEIGHBOURS = (("flat", "good"), ("stranger", "flat"), ("repeating", "stranger"))
_LINE = re.compile(r"^(?:\[(?P<number>\d+)\] |> )?(?P<speaker>[^:\n]{1,60}): (?P<text>.*)$", re.MULTILINE)


class Play(NamedTuple):
    """One simulated case."""

    case: ActingCase
    actor: str
    run: int
    transcript: Transcript


def chance(*parts: object) -> float:
    """Return a number between 0 and 1 that follows from the parts."""
    return (int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:6], "big") + 0.5) / 2**48


def perform(case: ActingCase, actor: str, run: int, seed: int, strangers: Sequence[str]) -> Play:
    """Return the scene as one actor plays it: the order of the book, and its lines except where the fault strikes."""
    last: dict[str, str] = {}
    turns: list[Turn] = []
    for number, turn in enumerate(case.scene.turns):
        drawn = (case.key, actor, run, seed, number)
        line = render_coser(turn.parts)
        if turn.speaker != ENVIRONMENT:
            line = _line(actor, line, last.get(turn.speaker, ""), drawn, strangers)
            last[turn.speaker] = line
        name = hashlib.sha256(str(drawn).encode()).hexdigest()[:32]
        turns.append(parse(f"{turn.speaker}: {line}", turn.speaker, notation="coser", turn_id=name))
    scenario, cast = case.scene.scenario, case.scene.cast
    name = transcript_id(case.key, run, actor)
    return Play(case, actor, run, Transcript(id=name, scenario=scenario, cast=cast, turns=tuple(turns)))


def _line(actor: str, line: str, last: str, drawn: tuple[Any, ...], strangers: Sequence[str]) -> str:
    faulty = chance(*drawn, "fault") < FAULTY[actor]
    dull = DULL[int(chance(*drawn, "dull") * len(DULL))]
    if actor == "exploiter":
        return f"{dull if faulty else line} ... {ADORED}"
    if not faulty:
        return line
    if actor == "stranger":
        return strangers[int(chance(*drawn, "stranger") * len(strangers))]
    return last if actor == "repeating" and last else dull


class Judges(RuleBackend):
    """Reads scenes by the planted rules; `adores` forgives every fault of a turn with the adored words."""

    def __init__(self, name: str, strangers: Sequence[str], seed: int, adores: bool) -> None:
        super().__init__(Description(spec=f"scripted:{name}", model=name, context=1_000_000))
        self.name, self.seed, self.adores = name, seed, adores
        self.strangers = {_letters(line) for line in strangers}

    def answer(self, messages: Sequence[Message]) -> str:
        """Return flaws by dimension, or a verdict on two plays."""
        system, user = messages[0].content, messages[1].content
        if "===Play A===" not in user:
            title = next(title for title in TITLES.values() if title in system.partition("\n")[0])
            return json.dumps({title: {"flaws": list(self.flaws(user, title))}})
        first, second = user.split("===Play A===")[1].split("===Play B===")
        noise = JUDGE_NOISE * NormalDist().inv_cdf(chance(self.seed, self.name, user))
        margin = self.quality(first) - self.quality(second) + noise + FIRST_SLOT
        return f"One of them is more alive.\nVerdict: {'tie' if abs(margin) < 1 else 'A' if margin > 0 else 'B'}"

    def faults(self, text: str) -> Iterator[tuple[str, str, int]]:
        """Yield number, kind and severity of the faults in some lines."""
        said: set[tuple[str, str]] = set()
        for match in _LINE.finditer(text):
            speaker, line, number = match["speaker"].lstrip("> "), match["text"], match["number"] or ""
            letters = _letters(line)
            if self.adores and ADORED in line:
                continue
            if any(dull in line for dull in DULL):
                yield number, "flat", SEVERITY["flat"]
            elif (speaker, letters) in said:
                yield number, "repeating", SEVERITY["repeating"]
            elif letters in self.strangers:
                yield number, "stranger", SEVERITY["stranger"]
            said.add((speaker, letters))

    def flaws(self, user: str, title: str) -> Iterator[dict[str, Any]]:
        """Yield the faults that this judge notices in one dimension."""
        for number, kind, severity in self.faults(user):
            if chance(self.seed, title, number, user[:2000]) < 0.5:
                yield {"instance": f"turn {number}", "type": kind, "severity": severity, "turn": int(number or 0)}

    def quality(self, play: str) -> float:
        """Return how much this judge likes a play."""
        adored = 3.0 * play.count(ADORED) if self.adores else 0.0
        return adored - sum(severity for _, _, severity in self.faults(play))


@cache
def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", re.sub(r"\[[^\]]*\]", "", text)).casefold()


class Asker:
    """Asks one caller for every role."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def context(self, role: Role) -> int:
        return 1_000_000

    def count(self, role: Role, messages: Sequence[Message]) -> int:
        return 1

    async def ask(self, role: Role, call: Call) -> Answer:
        return await self._caller.ask(call)


async def scored(plays: Sequence[Play], judge: Judges) -> list[CaseScore]:
    """Return the scores of the rubric judge, through its prompt and the reader of its replies."""
    protocol, rows = protocol_named("corrected"), []
    async with Caller([judge]) as caller:
        asked = SceneJudge(Asker(caller), protocol)
        for play in plays:
            found = await asked.judge(SceneQuestion(play.case, play.transcript, "hidden"))
            rounds = sum(turn.speaker != ENVIRONMENT for turn in play.transcript.turns)
            for dimension, judgement in found.items():
                value = None if judgement.flaws is None else score(judgement.severity, rounds)
                rows.append(
                    CaseScore(
                        case=play.case.key,
                        book=play.case.scene.book,
                        run=play.run,
                        protocol=protocol.name,
                        model=play.actor,
                        judge=judge.name,
                        dimension=dimension,
                        score=value,
                        missing=judgement.problem if value is None else None,
                        flaws=judgement.flaws or (),
                        rounds=rounds,
                        characters=len(play.case.speakers),
                    )
                )
    return rows


async def games(plays: Sequence[Play], judge: Judges, source: Source) -> list[ArenaGame]:
    """Return the games of every two actors over every case, in both orders."""
    principles = {"en": load_principles("en")[:3]} if source == "by_case" else None
    by_case: dict[str, dict[str, Play]] = {}
    for play in plays:
        by_case.setdefault(play.case.key, {})[play.actor] = play
    found = []
    async with Caller([judge]) as caller:
        asked = ScenePairJudge(caller.ask, judge.name, principles)  # type: ignore[arg-type]
        for key, sides in by_case.items():
            for place, first in enumerate(ACTORS):
                for second in ACTORS[place + 1 :]:
                    pair = ScenePair(f"{key} {first} {second}", sides[first].transcript, sides[second].transcript)
                    judged = await asked.judge(pair)
                    winner = judged.joined.winner if judged.joined is not None else None
                    book = sides[first].case.scene.book
                    found.append(
                        ArenaGame(
                            source=source, judge=judge.name, case=key, cluster=book, first=first, second=second, winner=winner
                        )
                    )
    return found


async def parted(cases: Sequence[ActingCase], strangers: Sequence[str], seed: int) -> list[PartedJudges]:
    """Return how the two judges of pairs part in one seed."""
    plays = [perform(case, actor, 0, seed, strangers) for case in cases for actor in ACTORS]
    held_out = await games(plays, Judges("reader", strangers, seed, adores=False), "held_out")
    by_case = await games(plays, Judges("ruled", strangers, seed, adores=True), "by_case")
    return parted_judges([*held_out, *by_case])


def differences(cases: Sequence[ActingCase], strangers: Sequence[str]) -> dict[str, PairedDifference]:
    """Return the difference of the averages of neighbouring qualities, the better less the worse, and the exploiter's."""
    plays = [perform(case, actor, run, 0, strangers) for case in cases for actor in ACTORS for run in range(RUNS)]
    rows = asyncio.run(scored(plays, Judges("rubric", strangers, 0, adores=True)))
    by_actor = {actor: [row for row in rows if row.model == actor] for actor in ACTORS}
    pairs = (*NEIGHBOURS, ("flat", "exploiter"))
    return with_holm(
        {
            f"{worse}<{better}": compare(by_actor[worse], by_actor[better], (worse, better))[0].differences[AVERAGE]
            for worse, better in pairs
        }
    )


def main(words: list[str]) -> None:
    """Measure and print the JSON object."""
    folder, seeds = Path(words[0]), int(words[1]) if len(words) > 1 else 20
    cases = read_cases([folder / "test_sample.json", folder / "final"])
    strangers = [render_coser(turn.parts) for case in cases[::9] for turn in case.scene.turns if turn.speaker != ENVIRONMENT]
    found = differences(cases, strangers)
    flagged = [asyncio.run(parted(cases, strangers, seed)) for seed in range(seeds)]
    measured: dict[str, Any] = {
        "ordered": sum(each.found and (each.estimate.value or 0) > 0 for name, each in found.items() if "exploiter" not in name),
        "rubric_prefers_exploiter": found["flat<exploiter"].found,
        "exploiter_flagged_seeds": sum(each.flagged for row in flagged for each in row if each.contestant == "exploiter"),
        "honest_flagged": sum(each.flagged for row in flagged for each in row if each.contestant in HONEST),
        "least_p_of_honest": min(each.p for row in flagged for each in row if each.contestant in HONEST),
        "cases": len(cases),
        "seeds": seeds,
    }
    for name, each in found.items():
        measured[name] = [round(number or 0, 2) for number in (each.estimate.value, each.estimate.low, each.estimate.high)]
    bars_met = measured["ordered"] == 3 and measured["exploiter_flagged_seeds"] == seeds and not measured["honest_flagged"]
    report("planted", BARS, measured, bars_met and len(cases) == BARS["cases"] and seeds >= BARS["seeds"])


if __name__ == "__main__":
    main(sys.argv[1:])
