"""Write the run as a log of inspect-ai, for its viewer, where that package is installed: one sample a play.

Format: inspect_ai.log.EvalLog (inspect-ai 0.3). Nothing is written without the package.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from her.types import Transcript
from her.view import Viewer, line
from pipelines.evaluate.scores import CaseScore, transcript_id

EPOCH = "1970-01-01T00:00:00+00:00"
"""Time of every log: the same scores give the same bytes. When a run was made stands in its status.json."""


def write_inspect_log(folder: Path, suite: str, scores: Iterable[CaseScore], transcripts: Mapping[str, Transcript]) -> list[Path]:
    """Write one log for each model and protocol; return the files, none where inspect-ai is not installed."""
    if find_spec("inspect_ai") is None:
        return []
    groups: dict[tuple[str, str], list[CaseScore]] = defaultdict(list)
    for row in scores:
        groups[row.model, row.protocol].append(row)
    return [
        _write(folder / f"inspect_{number}.json", suite, key, rows, transcripts)
        for number, (key, rows) in enumerate(sorted(groups.items()), 1)
    ]


def _write(path: Path, suite: str, key: tuple[str, str], rows: list[CaseScore], transcripts: Mapping[str, Transcript]) -> Path:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, write_eval_log

    model, protocol = key
    judges = sorted({row.judge for row in rows if row.judge})
    name = f"{suite} {protocol} {model}"
    cases = list(dict.fromkeys(row.case for row in rows))
    spec = EvalSpec(
        created=EPOCH,
        eval_id=_id(name),
        run_id=_id(name, "run"),
        task_id=_id(name, "task"),
        task=f"{suite} {protocol}",
        task_args={"protocol": protocol, "judges": judges},
        dataset=EvalDataset(name=suite, samples=len(cases), sample_ids=list(cases)),
        model=model,
        config=EvalConfig(epochs=len({row.run for row in rows})),
    )
    plays: dict[tuple[str, int], list[CaseScore]] = defaultdict(list)
    for row in rows:
        plays[row.case, row.run].append(row)
    samples = [_sample(case, run, each, transcripts) for (case, run), each in plays.items()]
    write_eval_log(EvalLog(status="success", eval=spec, samples=samples), str(path))
    return path


def _sample(case: str, run: int, rows: list[CaseScore], transcripts: Mapping[str, Transcript]) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageAssistant
    from inspect_ai.scorer import Score

    transcript = transcripts.get(transcript_id(case, run, rows[0].model))
    viewer = Viewer(kind="person")
    turns = () if transcript is None else transcript.turns
    spoken = [ChatMessageAssistant(id=_id(turn.id), content=line(turn, viewer)) for turn in turns]
    return EvalSample(
        id=case,
        uuid=_id(case, str(run), rows[0].model),
        epoch=run + 1,
        input=transcript.scenario.setting if transcript is not None else case,
        target="",
        messages=spoken,
        scores={_name(row): _score(Score, row) for row in rows},
    )


def _name(row: CaseScore) -> str:
    return f"{row.dimension}, thoughts {row.thoughts}, by {row.judge}" if row.judge else row.dimension


def _id(*parts: str) -> str:
    """Return an id that follows from its parts; inspect-ai would draw one."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:22]


def _score(score: Any, row: CaseScore) -> Any:
    """Return a score of inspect-ai; it knows no missing value but NaN, and the reason stands in the explanation."""
    flaws = "\n".join(f"{flaw.kind} ({flaw.severity}): {flaw.text}" for flaw in row.flaws)
    value = float("nan") if row.score is None else row.score
    return score(value=value, explanation=f"missing: {row.missing}" if row.missing else flaws)
