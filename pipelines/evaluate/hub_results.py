"""Write scores as `.eval_results/SUITE.yaml`, the Hub's place for evaluation results beside a model.

The format has no field for an interval, so it stands in the notes, with judge, protocol, cases and runs: a score means nothing
without them.
"""

from collections.abc import Iterable
from typing import Any

import yaml

from her.judging.statistics import Estimate
from pipelines.evaluate.sheets import ScoreSheet

DATASETS = {
    "coser": "Neph0s/CoSER",
    "role-play-bench": "MiniMaxAI/role-play-bench",
    "character-bench": "thu-coai/CharacterBench",
    "persona-gym": "vsamuel/PersonaGym",
    "rp-bench": "LeviTheWeasel/rp-benchmark",
}
"""Suite -> data set whose results these are."""


def results_yaml(sheets: Iterable[ScoreSheet], suite: str, proxy: str = "") -> str:
    """Return the entries of all sheets; a figure without a value has none."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries: list[Any] = [
        EvalResultEntry(
            dataset_id=DATASETS.get(suite, suite),
            task_id=f"{sheet.language}_{name}" if sheet.thoughts == "hidden" else f"{sheet.language}_{name}_thoughts_visible",
            value=round(figure.value, 2),
            notes=_notes(sheet, figure, proxy),
        )
        for sheet in sheets
        for name, figure in sheet.figures.items()
        if figure.value is not None
    ]
    return str(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000))


def _notes(sheet: ScoreSheet, figure: Estimate, proxy: str) -> str:
    limits = "none" if figure.low is None or figure.high is None else f"{figure.low:.2f} to {figure.high:.2f}"
    parts = [
        f"model {sheet.model}",
        f"protocol {sheet.protocol}",
        f"judge {sheet.judge or 'none'}",
        f"thoughts {sheet.thoughts} to the judge",
        f"95 % interval {limits}" + (f" ({figure.reason})" if figure.reason else ""),
        f"{figure.used} cases of {figure.clusters} books or seeds, {sheet.runs} runs, {figure.missing} scores missing",
    ]
    return "; ".join([f"proxy: {proxy}"] * bool(proxy) + parts)
