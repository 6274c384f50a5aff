"""Play and judge sessions of Role-Play Bench as a proxy: 100 turns with a simulated user, judged in chunks of 20 turns.

    her eval role-play-bench --data FOLDER --actor SPEC --user SPEC --judge SPEC

The simulated user is one model for all actors that are compared, and stands in the protocol's name: another one moves all scores.
A session whose call failed has no score. Languages are never pooled.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel

from her.format import parse, plain_turn
from her.inference.call import Answer, Call
from her.inference.caller import Caller
from her.judging.judge import Ask, quoted
from her.judging.turn_signs import speaks_as_assistant
from her.prompts import fill
from her.types import Message, Sampling, Transcript, Turn
from her.view import Viewer, line, messages
from pipelines.evaluate.role_play_bench import CHUNK, COLUMNS, GENERATED, Seed, chunks
from pipelines.evaluate.scores import CaseScore, Flaw

PROTOCOL = "role-play-bench-proxy"
ACTOR, USER = Sampling(temperature=0.8, max_tokens=2048), Sampling(temperature=1.0, max_tokens=200)
JUDGE = Sampling(temperature=0, max_tokens=4096)
DEDUCTIONS = {"minor": 5.0, "clear": 15.0, "severe": 40.0}
"""Points of 100 in a chunk; ours, since the published ones are not known."""


class SaidFailure(BaseModel):
    """A failure as the judge names it."""

    column: Literal["basics", "logic", "knowledge", "diversity", "content_logic", "interaction"]
    turn: int
    severity: Literal["minor", "clear", "severe"]
    text: str


class ChunkReply(BaseModel):
    """Answer of the judge about one chunk."""

    flaws: list[SaidFailure]


class Session(NamedTuple):
    """A played session with what went wrong; `failed` says why it ended early."""

    seed: Seed
    run: int
    transcript: Transcript
    failed: str = ""
    truncated: int = 0


class SessionJudgement(NamedTuple):
    """Scores of a session by column, None with `missing`, and the flaws of each column."""

    scores: dict[str, float | None]
    flaws: dict[str, tuple[Flaw, ...]]
    missing: str = ""


async def play(seed: Seed, run: int, actor: Caller, user: Caller, turns: int = GENERATED) -> Session:
    """Play one session: the actor on even turns, the simulated user on odd ones."""
    transcript, truncated = seed.opening(run, actor.model), 0
    for number in range(2, 2 + turns):
        own = number % 2 == 0
        answer = await (_act(seed, transcript, actor, run) if own else _reply(seed, transcript, user, run))
        if answer.error:
            return Session(seed, run, transcript, f"turn {number}: {answer.reason}: {answer.error}", truncated)
        truncated += own and answer.truncated
        name = f"{transcript.id} | {number}"
        turn = (
            parse(answer.text, seed.name, [seed.user], turn_id=name)
            if own
            else plain_turn(seed.user, _own_words(answer.text, seed)).model_copy(update={"id": name})
        )
        transcript = transcript.model_copy(update={"turns": (*transcript.turns, turn)})
    return Session(seed, run, transcript, "", truncated)


async def _act(seed: Seed, transcript: Transcript, actor: Caller, run: int) -> Answer:
    return await actor.ask(Call(transcript.id, "act", messages(transcript, seed.name), ACTOR, number=run))


async def _reply(seed: Seed, transcript: Transcript, user: Caller, run: int) -> Answer:
    fields = {"user": seed.user, "name": seed.name, "persona": seed.persona, "setting": seed.setting}
    viewer = Viewer(kind="character", name=seed.user)
    prompt = [Message(role="system", content=fill("simulate_user", seed.language, fields))]
    for turn in transcript.turns:
        said = line(turn, viewer).removeprefix(f"{seed.user}: ")
        prompt.append(Message(role="assistant" if turn.speaker == seed.user else "user", content=said or "..."))
    return await user.ask(Call(transcript.id, "simulate_user", tuple(prompt), USER, number=run))


def _own_words(text: str, seed: Seed) -> str:
    """Return the user's turn without a label, and without lines that it writes for the character."""
    own = text.strip().removeprefix(f"{seed.user}:").removeprefix(f"{seed.user}：")
    kept = []
    for row in own.splitlines():
        if row.strip().startswith((f"{seed.name}:", f"{seed.name}：")):
            break
        kept.append(row)
    return "\n".join(kept).strip()


async def judge_session(session: Session, ask: Ask, size: int = CHUNK) -> SessionJudgement:
    """Judge every chunk; one chunk without a judgement makes the session missing."""
    seed, turns = session.seed, session.transcript.turns
    if session.failed:
        return SessionJudgement(dict.fromkeys(COLUMNS), {}, f"not played to its end: {session.failed}")
    places = chunks(len(turns), size=size)
    answers = await asyncio.gather(*(ask(_chunk_call(session, place)) for place in places))
    if failed := next((answer for answer in answers if answer.error), None):
        return SessionJudgement(dict.fromkeys(COLUMNS), {}, f"{failed.reason}: {failed.error}")
    flaws: dict[str, list[Flaw]] = defaultdict(list)
    lost: dict[str, float] = dict.fromkeys(COLUMNS, 0.0)
    for place, answer in zip(places, answers, strict=True):
        deducted: dict[str, float] = defaultdict(float)
        for said in answer.value.flaws:  # type: ignore[union-attr]
            if said.turn in place and turns[said.turn].speaker == seed.name:  # only the character is judged
                deducted[said.column] += DEDUCTIONS[said.severity]
                flaw = Flaw(turn=turns[said.turn].id, kind=said.severity, severity=DEDUCTIONS[said.severity], text=said.text)
                flaws[said.column].append(flaw)
        for column, points in deducted.items():
            lost[column] += min(100.0, points)
    scores: dict[str, float | None] = {column: 100 - points / len(places) for column, points in lost.items()}
    return SessionJudgement(scores, {column: tuple(each) for column, each in flaws.items()})


def _chunk_call(session: Session, place: range) -> Call:
    seed, turns = session.seed, session.transcript.turns
    fields = {
        "name": seed.name,
        "setting": quoted(seed.setting),
        "persona": quoted(seed.persona),
        "earlier": quoted(_lines(turns, range(max(0, place.start - CHUNK), place.start))),
    }
    prompt = (
        Message(role="system", content=fill("judge_chunk", seed.language, fields)),
        Message(role="user", content=_lines(turns, place)),
    )
    return Call(f"{session.transcript.id} | {place.start}", "judge_chunk", prompt, JUDGE, schema=ChunkReply)


def _lines(turns: Sequence[Turn], place: Iterable[int]) -> str:
    viewer = Viewer(kind="judge")
    return "\n".join(f"[{number}] {line(turns[number], viewer) or turns[number].speaker + ':'}" for number in place)


def session_rows(session: Session, judged: SessionJudgement, model: str, user: str, judge: str) -> list[CaseScore]:
    """Return the lines of `scores.jsonl` for one session; the simulated user stands in the protocol's name."""
    own = [turn for turn in session.transcript.turns[2:] if turn.speaker == session.seed.name]
    row = CaseScore(
        case=session.seed.id,
        book=session.seed.id,
        run=session.run,
        protocol=f"{PROTOCOL} with {user}",
        model=model,
        judge=judge,
        dimension="-",
        score=None,
        missing="-",
        rounds=len(own),
        characters=2,
        language=session.seed.language,
        refused=sum(map(speaks_as_assistant, own)),
        truncated=session.truncated,
        empty=sum(not turn.spoken for turn in own),
        failed=int(bool(session.failed)),
        words=sum(len(line(turn, Viewer(kind="judge")).split()) for turn in own),
    )
    return [
        row.model_copy(
            update={
                "dimension": column,
                "score": judged.scores[column],
                "missing": judged.missing or None,
                "flaws": judged.flaws.get(column, ()),
            }
        )
        for column in COLUMNS
    ]
