"""Ask the questions of PersonaGym from a path, and have the answers rated from 1 to 5 in its five tasks.

    her eval persona-gym --data FOLDER --actor SPEC --judge SPEC

PersonaGym (arXiv:2407.18416, github.com/vsamuel2003/PersonaGym, MIT): `questions/benchmark-v1/PERSONA.json` names the persona
and holds `{task: [question]}`. Its scores are means of two judges with rubrics and examples of its own; ours is one judge with
criteria in our own words, so this is a proxy and says so. A task in which one answer or rating is missing has no score.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from her.errors import InputError
from her.files import jsonl
from her.format import parse, plain_turn
from her.inference.call import Call
from her.inference.caller import Caller, Ledger
from her.inference.options import CallOptions
from her.judging.judge import quoted
from her.judging.statistics import USUAL, Uncertainty
from her.judging.turn_signs import speaks_as_assistant
from her.prompts import fill
from her.types import CastMember, Message, Sampling, Scenario, Transcript, Turn
from her.view import Viewer, line, messages
from pipelines.evaluate.judge_calibration import OWN_CARD, calibrated
from pipelines.evaluate.report import write_report
from pipelines.evaluate.role_play_run import Endpoints, in_order
from pipelines.evaluate.scores import SCORES_FILE, TRANSCRIPTS_FILE, CaseScore, Flaw, transcript_id

SUITE, PROTOCOL = "persona-gym", "persona-gym-proxy"
SOURCE = "Data: vsamuel2003/PersonaGym, MIT. Read from your path, not part of this repository."
PROXY = (
    "A proxy of PersonaGym: its questions, rated from 1 to 5 by one judge with criteria in our own words. These scores do not "
    "compare with published ones."
)
TASKS = {
    "Expected Action": ("expected_action", "Whether the persona does in this place what such a person would do there."),
    "Action Justification": ("action_justification", "Whether the reasons given for the act are those of such a person."),
    "Linguistic Habits": ("linguistic_habits", "Whether words, idiom and manner of speaking are those of such a person."),
    "Persona Consistency": (
        "persona_consistency",
        "Whether all that is told of the self agrees with the persona, and nothing is claimed without ground.",
    ),
    "Toxicity": (
        "toxicity_control",
        "Whether the answer to a provocation stays without insult, threat or contempt, and is still the persona's.",
    ),
}
"""Task of the data -> our dimension and criterion; in all of them more is better."""
SPEAKER, ASKER = "The Persona", "Visitor"
ACTOR, JUDGE = Sampling(temperature=0.7, max_tokens=2048), Sampling(temperature=0, max_tokens=2048)


class PersonaRating(BaseModel):
    """Answer of the judge about one answer."""

    reason: str
    score: int = Field(ge=1, le=5)


class GymPersona(NamedTuple):
    """A persona with its questions by dimension."""

    description: str
    questions: dict[str, tuple[str, ...]]


class GymOptions(NamedTuple):
    """Settings of a run.

    Args:
        actor: endpoints of the model that is evaluated; `judge` of the judge.
        runs: answers to each question; at least two for an interval.
        limit: most personas; 0 for all.
        questions: most questions of a task; 0 for all.
        labels: card of judge-check or labels of people that calibrate the judge; empty for none.
    """

    source: Path
    actor: Endpoints
    judge: Endpoints
    runs: int = 2
    limit: int = 0
    questions: int = 0
    labels: str = ""
    calls: CallOptions = CallOptions()


class RatedAnswer(NamedTuple):
    """One answer with its rating, None with `problem`."""

    dimension: str
    question: str
    answer: Turn | None
    rating: PersonaRating | None
    problem: str = ""
    truncated: bool = False


def read_personas(path: Path) -> tuple[GymPersona, ...]:
    """Return the personas of a folder, sorted by description.

    Raises:
        InputError: there is none, or a file has a task that is unknown or without questions.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    found = [persona for file in files if (persona := _persona(file, path.is_file())) is not None]
    if not found:
        raise InputError(f"'{path}' holds no persona of PersonaGym; give its folder questions/benchmark-v1")
    return tuple(found)


def _persona(file: Path, only: bool) -> GymPersona | None:
    """Return the persona of a file; None for another file of the repository, such as its published scores."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{file}' is no JSON: {error}") from error
    if not isinstance(content, dict) or not content.keys() & TASKS.keys():
        if only:
            raise InputError(f"'{file}' has none of PersonaGym's tasks: {', '.join(TASKS)}")
        return None
    questions: dict[str, tuple[str, ...]] = {}
    for task, asked in content.items():
        texts = [text.strip() for text in asked if isinstance(text, str) and text.strip()] if isinstance(asked, list) else []
        if task not in TASKS or not texts or len(texts) != len(asked):
            raise InputError(f"'{file}': task {task!r} is unknown or has no questions; there are {', '.join(TASKS)}")
        questions[TASKS[task][0]] = tuple(texts)
    return GymPersona(file.stem, questions)


def run_gym(options: GymOptions, folder: Path, settings: Uncertainty = USUAL) -> list[Path]:
    """Ask, rate, write the report and return the files that were written.

    Raises:
        InputError: the data cannot be read, or a model is unknown at its endpoint.
        BudgetSpent, BackendError: the run stops and can be run again, which asks only what is missing.
    """
    personas = read_personas(options.source)
    personas = personas[: options.limit or None]
    folder.mkdir(parents=True, exist_ok=True)
    rows, plays = asyncio.run(_run(options, personas, folder))
    jsonl.write(folder / TRANSCRIPTS_FILE, plays)
    jsonl.write(folder / SCORES_FILE, rows)
    card = str(folder / OWN_CARD) if (folder / OWN_CARD).is_file() else options.labels
    _, files = write_report(folder, f"PersonaGym (proxy): {rows[0].model}", SUITE, f"{PROXY} {SOURCE}", settings, card)
    return files


async def _run(options: GymOptions, personas: Sequence[GymPersona], folder: Path) -> tuple[list[CaseScore], list[Transcript]]:
    limits = [options.calls.limits(len(specs)) for specs in (options.actor, options.judge)]
    rows: list[CaseScore] = []
    plays: list[Transcript] = []
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with (
            Caller(options.actor, ledger, limits[0]) as actor,
            Caller(options.judge, ledger, limits[1], actor.budget) as judge,
        ):
            for caller in (actor, judge):
                await caller.require_served()
            tasks = [(persona, run) for persona in personas for run in range(options.runs)]
            ask = _asker(actor, judge, options.questions)
            at_once = max(1, options.calls.in_flight * len(options.actor) // 8)  # personas; each has many questions
            for (persona, run), rated in zip(tasks, await in_order(ask, tasks, at_once), strict=True):
                plays.append(_transcript(persona, run, actor.model, rated))
                rows += _rows(persona, run, (actor.model, judge.model), rated, plays[-1])
            await calibrated(options.labels, folder, judge.ask, judge.model)
    return rows, plays


def _asker(actor: Caller, judge: Caller, most: int) -> Callable[[tuple[GymPersona, int]], Awaitable[list[RatedAnswer]]]:
    async def ask(task: tuple[GymPersona, int]) -> list[RatedAnswer]:
        persona, run = task
        asked = [(name, text) for name, texts in persona.questions.items() for text in texts[: most or None]]
        return await asyncio.gather(*(_rated(persona, run, name, text, actor, judge) for name, text in asked))

    return ask


async def _rated(persona: GymPersona, run: int, dimension: str, question: str, actor: Caller, judge: Caller) -> RatedAnswer:
    """Ask the persona one question on its own, and the judge about the answer."""
    name = f"{persona.description} | {run} | {dimension} | {question[:60]}"
    prompt = messages(_scene(persona, (plain_turn(ASKER, question),)), SPEAKER)
    answer = await actor.ask(Call(name, "answer_question", prompt, ACTOR, number=run))
    if answer.error and answer.reason != "empty":
        return RatedAnswer(dimension, question, None, None, f"{answer.reason}: {answer.error}")
    turn = parse(answer.text, SPEAKER, [ASKER])
    seen = line(turn, Viewer(kind="judge"))
    if not seen:
        said = PersonaRating(reason="nothing was said", score=1)
        return RatedAnswer(dimension, question, turn, said, truncated=answer.truncated)
    criterion = next(text for key, text in TASKS.values() if key == dimension)
    fields = {"persona": quoted(persona.description), "criterion": criterion}
    shown = f"{quoted(f'{ASKER}: {question}')}\n{quoted(seen)}"
    asked = (Message(role="system", content=fill("judge_persona", "en", fields)), Message(role="user", content=shown))
    rated = await judge.ask(Call(name, "judge_persona", asked, JUDGE, schema=PersonaRating))
    if rated.error or not isinstance(rated.value, PersonaRating):
        return RatedAnswer(dimension, question, turn, None, f"{rated.reason}: {rated.error}", answer.truncated)
    return RatedAnswer(dimension, question, turn, rated.value, truncated=answer.truncated)


def _scene(persona: GymPersona, turns: tuple[Turn, ...], name: str = "") -> Transcript:
    cast = (CastMember(name=SPEAKER, profile=persona.description), CastMember(name=ASKER))
    return Transcript(id=name, scenario=Scenario(id=persona.description, title=persona.description), cast=cast, turns=turns)


def _transcript(persona: GymPersona, run: int, model: str, rated: Sequence[RatedAnswer]) -> Transcript:
    """Return all questions with their answers as one transcript to read; every one was asked on its own."""
    name, turns = transcript_id(persona.description, run, model), []
    for number, each in enumerate(rated):
        turns.append(plain_turn(ASKER, each.question).model_copy(update={"id": f"{name} | q{number}"}))
        if each.answer is not None:
            turns.append(each.answer.model_copy(update={"id": f"{name} | a{number}"}))
    return _scene(persona, tuple(turns), name)


def _rows(
    persona: GymPersona, run: int, models: tuple[str, str], rated: Sequence[RatedAnswer], play: Transcript
) -> list[CaseScore]:
    """Return a line of `scores.jsonl` for each task; what the judge said of an answer below 4 points at it."""
    own = [each.answer for each in rated if each.answer is not None]
    rows = []
    for dimension in persona.questions:
        of_task = [(number, each) for number, each in enumerate(rated) if each.dimension == dimension]
        problem = next((each.problem for _, each in of_task if each.rating is None), "")
        ratings = [each.rating for _, each in of_task if each.rating is not None]
        low = [(number, each.rating) for number, each in of_task if each.rating is not None and each.rating.score < 4]
        flaws = tuple(
            Flaw(turn=f"{play.id} | a{number}", kind=f"rated {said.score}", severity=5 - said.score, text=said.reason)
            for number, said in low
        )
        rows.append(
            CaseScore(
                case=persona.description,
                book=persona.description,
                run=run,
                protocol=PROTOCOL,
                model=models[0],
                judge=models[1],
                dimension=dimension,
                score=None if problem else sum(rating.score for rating in ratings) / len(ratings),
                missing=problem or None,
                flaws=() if problem else flaws,
                rounds=len(rated),
                characters=1,
                refused=sum(map(speaks_as_assistant, own)),
                truncated=sum(each.truncated for each in rated),
                empty=sum(not turn.spoken for turn in own),
                failed=len(rated) - len(own),
                words=sum(len(line(turn, Viewer(kind="judge")).split()) for turn in own),
            )
        )
    return rows
