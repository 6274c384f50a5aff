"""Compare scores with published ones. Run: `python -m benchmarks.golden [EVALUATION.json TEST_SET.json]`

The 12 scores that CoSER publishes for three cases of gpt-4o, through the reader of a judge's answers, which come clean, fenced,
in prose and after reasoning; the means of the dimensions; and the overall scores of Role-Play Bench from its three categories.
With CoSER's `exp/evaluation` file and its test set also every score, BLEU and ROUGE-L of that file.
"""

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import report
from her.characters.coser import load_book
from her.types import ENVIRONMENT
from pipelines.evaluate.judgements import TITLES, read_judgement, score
from pipelines.evaluate.judging import shown_turns
from pipelines.evaluate.published import published_for
from pipelines.evaluate.sheets import WEIGHTS
from pipelines.evaluate.text_overlap import overlap

CASES = {
    "King Lear-17-0": (11, ((10, 66.5), (11, 61.5), (15, 41.5), (10, 66.5))),
    "King Lear-16-0": (5, ((7, 72.5), (14, 37.5), (12, 47.5), (5, 82.5))),
    "Othello-9-0": (13, ((12, 59.5), (12, 59.5), (11, 64.5), (6, 89.5))),
}
"""Case -> turns of characters, then the sum of severities and the published score of each dimension."""
MEANS, MEAN = (66.1667, 52.8333, 51.1667, 79.5), 62.4167
CATEGORIES = {
    "MiniMax-M2-her": (80.55, 79.97, 97.51),
    "doubao-1.5-pro": (72.83, 81.73, 95.18),
    "gpt-5.1": (76.62, 72.21, 97.05),
    "opus-4.5-high": (67.23, 82.10, 89.90),
    "gemini-3-pro": (62.72, 83.87, 93.08),
    "opus-4.5-low": (60.68, 76.89, 86.51),
    "sonnet-4.5": (55.72, 75.66, 90.28),
    "gemini-2.5-pro": (52.36, 82.11, 86.08),
    "deepseek-v3.1": (51.11, 66.45, 88.21),
    "deepseek-v3.2": (45.81, 66.64, 82.83),
    "grok-4.1": (29.87, 47.51, 86.64),
}
"""Model -> published Worlds, Stories and User Preferences."""
COLUMNS = {"basics": 0, "logic": 0, "knowledge": 0, "diversity": 1, "content_logic": 1, "interaction": 2}
"""Column -> its category."""
BAR = {"coser_error": 1e-4, "leaderboard_error": 0.02}
OVERLAP_BAR = {"published_error": 1e-4, "bleu_error": 1e-4, "rouge_l_error": 1e-4}


def answers(dimension: str, total: int) -> Iterator[str]:
    """Yield answers of a judge with this sum of severities, in the forms in which judges write them."""
    severities = [3] * (total // 3) + [total % 3] * bool(total % 3)
    flaws = [{"instance": f"He says so, {place}.", "type": "Reaction", "severity": each} for place, each in enumerate(severities)]
    clean = json.dumps({TITLES[dimension]: {"flaws": flaws}})
    yield from (clean, f"```json\n{clean}\n```", f"My judgement follows.\n\n{clean}\nThat is all.")
    yield f'<think>Perhaps {{"{TITLES[dimension]}": {{"flaws": []}}}}? No.</think>{clean}'


def coser_error() -> float:
    """Return the largest distance from a published score or mean."""
    errors, columns = [0.0], []
    for dimension, place in zip(TITLES, range(4), strict=True):
        column = []
        for rounds, published in CASES.values():
            total, expected = published[place]
            found = {score(read_judgement(text, dimension, "coser").severity, rounds) for text in answers(dimension, total)}
            errors += [abs(each - expected) for each in found]
            column.append(max(found))
        columns.append(statistics.fmean(column))
    errors += [abs(found - published) for found, published in zip(columns, MEANS, strict=True)]
    return max(*errors, abs(statistics.fmean(columns) - MEAN))


def leaderboard_error() -> float:
    """Return the largest distance of an overall score from the published one."""
    overall = {each.model: each.score for each in published_for("role-play-bench")}
    found = {
        model: sum(weight * categories[COLUMNS[column]] for column, weight in WEIGHTS.items())
        for model, categories in CATEGORIES.items()
    }
    assert overall.keys() == found.keys()
    return max(abs(found[model] - overall[model]) for model in overall)


def published_errors(evaluation: Path, test_set: Path) -> dict[str, float]:
    """Return the largest distances from the scores and overlaps of a file of CoSER's repository."""
    cases: dict[str, Any] = json.loads(evaluation.read_text("utf-8"))["cases"]
    scenes = {f"{scene.book}-{scene.plot}-{scene.conversation}": scene for scene in load_book(test_set).scenes}
    scores, bleus, rouges = [0.0], [], []
    for key, case in cases.items():
        rounds = sum(line["role"] != ENVIRONMENT for line in case["simulation"])
        for dimension, title in TITLES.items():
            judged = case["critique"][title]
            reading = read_judgement(json.dumps({title: {"flaws": judged["flaws"]}}), dimension, "coser")
            scores.append(abs(score(reading.severity, rounds) - judged["score"]))
        book = "\n\n".join(each.text for each in shown_turns(scenes[key].turns, "hidden"))
        found = overlap(case["simulation_str"], book)
        bleus.append(abs((found.bleu or 0) - case["critique"]["bleu"]))
        rouges.append(abs((found.rouge_l or 0) - case["critique"]["rouge_l"]))
    return {"published_error": max(scores), "bleu_error": max(bleus), "rouge_l_error": max(rouges)}


def main(words: list[str]) -> None:
    """Compare and print the JSON object."""
    bar, measured = dict(BAR), {"coser_error": coser_error(), "leaderboard_error": round(leaderboard_error(), 4)}
    if len(words) == 2:
        bar |= OVERLAP_BAR
        measured |= published_errors(*map(Path, words))
    measured["scores"] = 4 * len(CASES)
    report("golden", bar, measured, all(measured[name] <= most for name, most in bar.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
