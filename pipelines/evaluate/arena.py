"""Play saved transcripts of several models against each other, judged in both orders, beside people's votes.

    her eval arena RUN_A RUN_B --family qwen --family llama --held-out SPEC --held-out-family gpt

Nothing is played again: any two evaluations over the same cases can meet. The held-out judge sees no principles, and its family
is declared and is none of the contestants': a family that is unknown or equal is refused. Calls go through a ledger in the output
folder, so an arena that was killed asks nothing twice.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from her.backends.base import Backend
from her.errors import InputError
from her.files import jsonl
from her.files.atomic import file_hash, replacing
from her.inference.caller import Caller, Ledger
from her.inference.options import CallOptions
from her.judging.arena_table import ArenaGame, ArenaTable, PartedJudges, Source, arena_tables, parted_judges
from her.judging.families import require_other_family
from her.judging.principles import library_hash, load_principles
from her.judging.scene_judge import ScenePair, ScenePairJudge
from her.judging.statistics import USUAL, Uncertainty
from her.store import Generation, Store
from her.store.exports import voted_pairs
from her.types import Language, Transcript, Value
from pipelines.evaluate.arena_text import arena_markdown, arena_page
from pipelines.evaluate.report import EvaluatedRun
from pipelines.evaluate.scores import TRANSCRIPTS_FILE, transcript_id

GAMES, LEDGER = "games.jsonl", "calls.sqlite3"
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Contestant(NamedTuple):
    """A model with its evaluated run and its declared family."""

    name: str
    family: str
    run: EvaluatedRun


class ArenaJudge(NamedTuple):
    """A judge with its endpoints and declared family; `by_case` sees the principles, `held_out` sees none."""

    source: Source
    endpoints: tuple[str | Backend, ...]
    family: str


class ArenaReport(Value):
    """Tables of an arena, and how its judges part.

    Args:
        transcripts: name of a contestant -> sha256 of the file of scenes that was judged.
    """

    tables: tuple[ArenaTable, ...]
    parted: tuple[PartedJudges, ...] = ()
    transcripts: dict[str, str] = {}


class Meeting(NamedTuple):
    """Two plays of one case and run."""

    case: str
    cluster: str
    run: int
    first: str
    second: str
    pair: ScenePair


def check_judges(contestants: Sequence[Contestant], judges: Sequence[ArenaJudge]) -> None:
    """Refuse a held-out judge that is not held out.

    Raises:
        InputError: fewer than two contestants, two of one name, no judge, or a family that is unknown or a contestant's.
    """
    names = [each.name for each in contestants]
    if len(names) < 2 or len(set(names)) != len(names):
        raise InputError(f"an arena needs two contestants of different names; here are {', '.join(names) or 'none'}")
    if not judges:
        raise InputError("an arena needs a judge; give --held-out SPEC and --held-out-family NAME")
    for judge in judges:
        if judge.source == "held_out":
            require_other_family(judge.family, {each.name: each.family for each in contestants})


def meetings(contestants: Sequence[Contestant]) -> list[Meeting]:
    """Return the pairs of plays of one case and run, for every two contestants.

    Raises:
        InputError: two of them have no case in common.
    """
    plays = {each.name: dict(_plays(each)) for each in contestants}
    found: list[Meeting] = []
    for first, second in combinations(plays, 2):
        shared = sorted(plays[first].keys() & plays[second].keys())
        if not shared:
            raise InputError(f"'{first}' and '{second}' have no play of one case and run in common; run both over the same cases")
        for case, cluster, run in shared:
            a, b = plays[first][case, cluster, run], plays[second][case, cluster, run]
            name = f"{case} {run} {first} {second}"
            found.append(Meeting(case, cluster, run, first, second, ScenePair(name, a, b)))
    return found


def _plays(contestant: Contestant) -> Iterator[tuple[tuple[str, str, int], Transcript]]:
    run = contestant.run
    for case, book, number, model in dict.fromkeys((row.case, row.book, row.run, row.model) for row in run.scores):
        if (transcript := run.transcripts.get(transcript_id(case, number, model))) is not None:
            yield (case, book, number), transcript


def people_games(store: Store, contestants: Sequence[Contestant]) -> Iterator[ArenaGame]:
    """Yield people's blind votes on replies of two contestants, by the models that wrote them; other votes are left out."""
    by_model = {row.model: each.name for each in contestants for row in each.run.scores[:1]}
    for row in voted_pairs(store):
        if row.ballot.worse is not None or row.ballot.repeat_of is not None:
            continue
        first, second = (_contestant(reply.generation, by_model) for reply in (row.a, row.b))
        if first and second and first != second:
            yield ArenaGame(
                source="people",
                judge=f"rater:{row.ballot.visitor_id[:12]}",
                case=row.ballot.pair,
                cluster=row.ballot.conversation_id,
                first=first,
                second=second,
                winner=row.vote.winner,
            )


def _contestant(generation: Generation | None, by_model: Mapping[str, str]) -> str:
    """Return whose model wrote a reply; empty for another model, or one revision of several when the reply names none."""
    if generation is None:
        return ""
    revised = f"{generation.model}@{generation.revision}" if generation.revision else generation.model
    if found := by_model.get(revised) or by_model.get(generation.model):
        return found
    revisions = [name for model, name in by_model.items() if model.rpartition("@")[0] == generation.model]
    return revisions[0] if len(revisions) == 1 and not generation.revision else ""


async def judge_meetings(
    found: Sequence[Meeting], judge: ArenaJudge, ledger: Ledger | None, calls: CallOptions, thoughts: bool = False
) -> AsyncIterator[ArenaGame]:
    """Yield the games of one judge in the order of the meetings, many in flight."""
    principles = {language: load_principles(language) for language in LANGUAGES} if judge.source == "by_case" else {}
    async with Caller(judge.endpoints, ledger, calls.limits(len(judge.endpoints))) as caller:
        await caller.require_served()
        asked = ScenePairJudge(caller.ask, caller.model, principles, library_hash() if principles else "", thoughts)
        at_once = max(4, calls.in_flight * len(judge.endpoints))
        for start in range(0, len(found), at_once):
            some = found[start : start + at_once]
            for meeting, judged in zip(some, await asyncio.gather(*(asked.judge(each.pair) for each in some)), strict=True):
                yield ArenaGame(
                    source=judge.source,
                    judge=caller.model,
                    case=meeting.case,
                    cluster=meeting.cluster,
                    run=meeting.run,
                    first=meeting.first,
                    second=meeting.second,
                    winner=judged.joined.winner if judged.joined is not None else None,
                    forth=judged.forth.winner if judged.forth is not None else None,
                    back=judged.back.winner if judged.back is not None else None,
                    problem=judged.problem,
                )


def run_arena(
    contestants: Sequence[Contestant],
    judges: Sequence[ArenaJudge],
    folder: Path,
    *,
    people: Iterable[ArenaGame] = (),
    calls: CallOptions | None = None,
    thoughts: bool = False,
    settings: Uncertainty = USUAL,
) -> tuple[ArenaReport, list[Path]]:
    """Judge all meetings and write `games.jsonl`, `arena.json`, `arena.md` and `arena.html`; return report and files.

    Raises:
        InputError: a held-out judge that is not, contestants without a common case.
        BudgetSpent, BackendError: the arena stops and can be run again, which asks only what is missing.
    """
    check_judges(contestants, judges)
    found = meetings(contestants)
    folder.mkdir(parents=True, exist_ok=True)

    async def collect() -> list[ArenaGame]:
        with Ledger(folder / LEDGER) as ledger:
            return [
                game for judge in judges async for game in judge_meetings(found, judge, ledger, calls or CallOptions(), thoughts)
            ]

    games = [*asyncio.run(collect()), *people]
    jsonl.write(folder / GAMES, games)
    scenes = {each.name: file_hash(each.run.folder / TRANSCRIPTS_FILE) for each in contestants}
    report = ArenaReport(tables=tuple(arena_tables(games, settings)), parted=tuple(parted_judges(games)), transcripts=scenes)
    written = {
        folder / "arena.json": report.model_dump_json(indent=2) + "\n",
        folder / "arena.md": arena_markdown(report.tables, report.parted),
        folder / "arena.html": arena_page(report.tables, report.parted),
    }
    for path, text in written.items():
        with replacing(path) as file:
            file.write(text)
    return report, [folder / GAMES, *written]
