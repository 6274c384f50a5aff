"""Folders of evaluated runs with known scores, flaws that point at turns, and hostile texts."""

from pathlib import Path

import numpy as np

from her.files import jsonl
from her.format import parse
from her.types import CastMember, Language, Scenario, Transcript, Turn
from pipelines.evaluate.scores import (
    JUDGED_DIMENSIONS,
    SCORES_FILE,
    TEXT_METRICS,
    TRANSCRIPTS_FILE,
    CaseScore,
    Flaw,
    transcript_id,
)

HOSTILE = "</script><img src=x onerror='window.pwned=1'> | & \"quoted\""
MODEL, JUDGE = "actor@1", "judge@1"
LINES = (
    "<system_thinking>Keep Mara cold.</system_thinking>Mara: <role_thinking>I must not show it.</role_thinking>"
    "<role_action>folds the letter</role_action>The letter came at dawn number {}.",
    "Tom: <role_thinking>I saw her hide it.</role_thinking>You are lying about day {}, and badly.",
    "Environment: The wind rises over harbour {}.",
)


def scene(case: str, run: int, language: Language = "en", model: str = MODEL, turns: int = 12) -> Transcript:
    """A simulated scene whose turn ids are `CASE/RUN/NUMBER`."""
    said: list[Turn] = []
    for number in range(turns):
        text = LINES[number % len(LINES)].format(number)
        said.append(parse(text, text.partition("</system_thinking>")[2].partition(":")[0] if number % 3 == 0 else
                          text.partition(":")[0], notation="her", turn_id=f"{case}/{run}/{number}"))  # fmt: skip
    if case == "case 0":
        said[1] = parse(f"Tom: {HOSTILE}", "Tom", notation="her", turn_id=said[1].id)
    scenario = Scenario(id=case, language=language, setting=f"A harbour, {case}. {HOSTILE}")
    cast = (CastMember(name="Mara"), CastMember(name="Tom"))
    return Transcript(id=transcript_id(case, run, model), scenario=scenario, cast=cast, turns=tuple(said))


def score(case: str, number: int, run: int, dimension: str, value: float | None, **changes: object) -> CaseScore:
    flaws = (
        Flaw(turn=f"{case}/{run}/1", kind="Self-identity", severity=3, text=f"Tom accuses without cause in {case}. {HOSTILE}"),
        Flaw(turn="", kind="Flow", severity=None, text="It drags."),
    )
    values: dict[str, object] = {
        "case": case,
        "book": f"book {number // 2}",
        "run": run,
        "protocol": "corrected",
        "model": MODEL,
        "judge": "" if dimension in TEXT_METRICS else JUDGE,
        "dimension": dimension,
        "score": value,
        "missing": None if value is not None else "invalid_reply: prose",
        "flaws": flaws if dimension in JUDGED_DIMENSIONS[:2] and value is not None else (),
        "rounds": 8,
        "characters": 2 + number % 3,
        "split": "id" if number % 2 else "ood",
        "words": 80,
        "choices": 11,
        "fallbacks": 2 if number == 3 else 0,
        "empty": int(number == 4),
    }
    return CaseScore(**{**values, **changes})  # type: ignore[arg-type]


def rows(shift: float = 0.0, cases: int = 24, runs: int = 2, seed: int = 1, **changes: object) -> list[CaseScore]:
    """Scores of a model: cases are equally hard for every model; every ninth judgement of anthropomorphism is missing."""
    hard = np.random.default_rng(0).normal(60, 12, size=cases)
    noise = np.random.default_rng(seed).normal(0, 3, size=(cases, runs, 4))
    found = []
    for number in range(cases):
        for run in range(runs):
            for place, dimension in enumerate(JUDGED_DIMENSIONS):
                lost = dimension == "anthropomorphism" and number % 9 == 8 and run == 0
                value = None if lost else round(float(hard[number] + noise[number, run, place] + shift), 2)
                found.append(score(f"case {number}", number, run, dimension, value, **changes))
            found += [score(f"case {number}", number, run, each, 0.02, **{**changes, "judge": ""}) for each in TEXT_METRICS]
    return found


def write_run(folder: Path, scores: list[CaseScore], scenes: bool = True) -> Path:
    """Write the folder of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    jsonl.write(folder / SCORES_FILE, scores)
    plays = sorted({(row.case, row.run, row.model, row.language) for row in scores}) if scenes else []
    jsonl.write(folder / TRANSCRIPTS_FILE, [scene(case, run, language, model) for case, run, model, language in plays])
    return folder
