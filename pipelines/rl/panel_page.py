"""Write the panel of a run: `panel.html` with its curves for people, `panel.json` for programs and `her runs show`.

    python -m pipelines.rl.panel_page RUN

Curves of looks are against the start checkpoint (dashed); vertical lines are alarms. Curves of steps come from metrics.jsonl.
"""

import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from her.files.atomic import replacing
from her.judging.card_plots import Curve, curve_plot
from her.runs.folder import read_curve, run_folder
from pipelines.rl.alarms import slope
from pipelines.rl.panel import Look, best_look, read_looks

STEP_CURVES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("reward", ("reward",), "mean reward of the answers of a step"),
    ("deviation of rewards", ("reward_std",), "within groups: advantages come from it"),
    ("gate: malformed", ("gate/malformed",), "share of answers that fail the format gate"),
    ("gate: truncated", ("gate/truncated",), "share of answers cut at the token limit"),
    ("judge: missing", ("judge/missing",), "share of answers without a reward"),
    ("judge: order consistency", ("judge/order_consistency",), "pairs with the same winner in both orders"),
    ("groups dropped", ("groups/dropped", "groups/equal"), "share of groups without different rewards"),
    ("shaping: length", ("shaping/length",), "mean penalty before centring, 0 to 1"),
    ("shaping: repetition", ("shaping/repetition",), "mean penalty before centring, 0 to 1"),
    ("shaping: pattern", ("shaping/pattern",), "mean penalty before centring, 0 to 1"),
    ("KL", ("kl",), "divergence from the start checkpoint, nats a token"),
    ("entropy", ("entropy",), "of the next token, nats"),
    ("length", ("completions/mean_length",), "mean tokens of an answer"),
    ("loss", ("loss",), "of the policy update"),
)
"""Name, keys of metrics.jsonl of which the first that is there is drawn, and what it is."""


FIGURES = (
    ("entropy of patterns", "entropy", "bits, Miller-Madow corrected"),
    ("top pattern", "top_share", "share of turns"),
    ("top phrase", "phrase_share", "share of turns that hold the most frequent four words in a row"),
    ("distinct pairs", "distinct_2", "distinct word pairs over all, in windows of 500"),
    ("self-BLEU", "self_bleu", "BLEU-4 of a turn against the others"),
    ("copying", "copied", "share of word fours that stand in the prompt"),
    ("malformed", "malformed", "share of turns that fail the format gate"),
    ("plan leaks", "plan_leaks", "share of turns that show their plan"),
    ("thought leaks", "thought_leaks", "share of turns that say their thought aloud"),
)
"""Name, figure of the turns, and what it is; drawn like `LOOK_CURVES`."""


class Drawing(NamedTuple):
    """One curve of the page."""

    name: str
    svg: Markup
    caption: str


class LookCurve(NamedTuple):
    """A curve of looks: what is read of a look and of its start."""

    name: str
    caption: str
    value: Callable[[Look], float | None]
    level: Callable[[Look], float | None] = lambda look: None
    low: Callable[[Look], float | None] | None = None
    high: Callable[[Look], float | None] | None = None


LOOK_CURVES = (
    LookCurve(
        "held-out judge",
        "share of prompts on which it prefers the policy to the start; it has no principles",
        lambda look: look.held_out.value if look.held_out else None,
        lambda look: 0.5,
        lambda look: look.held_out.low if look.held_out else None,
        lambda look: look.held_out.high if look.held_out else None,
    ),
    LookCurve("gain of training reward", "mean over prompts, policy less start", lambda look: look.reward, lambda look: 0.0),
    LookCurve(
        "divergence",
        "share of prompts where the reward rose and the held-out verdict fell; dashed: between two samplings of the start",
        lambda look: look.divergence.share.value if look.divergence else None,
        lambda look: look.divergence.start if look.divergence else None,
        lambda look: look.divergence.share.low if look.divergence else None,
        lambda look: look.divergence.share.high if look.divergence else None,
    ),
    LookCurve(
        "length",
        "ratio to the start's, geometric mean over prompts",
        lambda look: look.length.ratio,
        lambda look: 1.0,
        lambda look: look.length.low,
        lambda look: look.length.high,
    ),
    LookCurve(
        "plan length",
        "ratio to the start's",
        lambda look: look.plan_length.ratio,
        lambda look: 1.0,
        lambda look: look.plan_length.low,
        lambda look: look.plan_length.high,
    ),
)


def write_panel(name: str, guard: int = 10) -> Path:
    """Write `panel.html` and `panel.json` into the folder of a run; return the page.

    Args:
        name: of the run.
        guard: as in `best_look`: steps before the first alarm whose checkpoints are not chosen.
    """
    folder, curve = run_folder(name), read_curve(name)
    looks = read_looks(folder)
    summary = summary_lines(looks, guard)
    alarms = [(look.step, alarm) for look in looks for alarm in look.alarms]
    sections = [("Looks at the policy", _look_drawings(looks)), ("Steps", _step_drawings(curve))]
    head, rows = _table(looks)
    text = _template().render(
        title=f"Panel of {name}",
        summary=summary,
        alarms=alarms,
        sections=[section for section in sections if section[1]],
        head=head,
        rows=rows,
    )
    written = {"summary": summary, "looks": [json.loads(look.model_dump_json()) for look in looks]}
    for file, content in (("panel.html", text), ("panel.json", json.dumps(written, ensure_ascii=False, indent=1))):
        with replacing(folder / file) as opened:
            opened.write(content)
    return folder / "panel.html"


def summary_lines(looks: Sequence[Look], guard: int = 10) -> list[str]:
    """Return the panel in a few sentences: the last look, slopes, alarms, the chosen checkpoint."""
    if not looks:
        return ["no look yet"]
    last, best = looks[-1], best_look(looks, guard)
    lines = [f"last look at step {last.step}" + (f": held-out judge {_held_out(last)}" if last.held_out else "")]
    if last.divergence is not None:
        apart = last.divergence
        lines.append(
            f"reward up and held-out verdict down on {apart.share.value:.0%} of {apart.rows} prompts "
            f"({apart.share.low:.0%} to {apart.share.high:.0%}); two samplings of the start: {apart.start:.0%}"
        )
    steps = [0, *(look.step for look in looks)]
    slopes = {what: slope(steps, [1.0, *(getattr(look, what).ratio for look in looks)]) for what in ("length", "plan_length")}
    lines.append(
        f"length changes by {slopes['length']:+.0%} and plans by {slopes['plan_length']:+.0%} in 100 steps; patterns have "
        f"{last.figures.entropy:.2f} bits (start {last.start.entropy:.2f}), the top one {last.figures.top_share:.0%} of turns"
    )
    alarmed = [(look.step, alarm.name) for look in looks for alarm in look.alarms]
    lines.append("alarms: " + ("; ".join(f"{name} at step {step}" for step, name in alarmed) if alarmed else "none"))
    lines.append(f"best checkpoint: step {best.step}" if best else "no checkpoint is better than the start without an alarm near")
    return lines


def _held_out(look: Look) -> str:
    assert look.held_out is not None
    return (
        f"prefers it to the start on {look.held_out.value:.0%} of prompts ({look.held_out.low:.0%} to {look.held_out.high:.0%})"
    )


def _look_drawings(looks: Sequence[Look]) -> list[Drawing]:
    marked = [look.step for look in looks if look.alarms]
    drawn = []
    for curve in (*LOOK_CURVES, *(_figure_curve(*figure) for figure in FIGURES)):
        known = [(look, value) for look in looks if (value := curve.value(look)) is not None]
        if not known:
            continue
        low, high = ([_limit(limit(look), value) for look, value in known] if limit else [] for limit in (curve.low, curve.high))
        level = curve.level(known[-1][0])
        svg = curve_plot(
            Curve([look.step for look, _ in known], [value for _, value in known], low, high, level, marked), curve.name
        )
        drawn.append(Drawing(curve.name, Markup(svg), curve.caption))
    return drawn


def _limit(limit: float | None, value: float) -> float:
    """Return a limit of an interval, or the value itself where it has none, as with one prompt."""
    return value if limit is None else limit


def _figure_curve(name: str, key: str, caption: str) -> LookCurve:
    return LookCurve(name, caption, lambda look: getattr(look.figures, key), lambda look: getattr(look.start, key))


def _step_drawings(curve: Sequence[dict[str, Any]]) -> list[Drawing]:
    drawn = []
    for name, keys, caption in STEP_CURVES:
        points = [(line["step"], value) for line in curve if (value := _number(line, keys)) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            drawn.append(Drawing(name, Markup(curve_plot(Curve(steps, values), name)), caption))
    return drawn


def _number(line: dict[str, Any], keys: Sequence[str]) -> float | None:
    found = next((line[key] for key in keys if key in line), None)
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _table(looks: Sequence[Look]) -> tuple[list[str], list[list[str]]]:
    head = ["step", "reward", "held out", "divergence", "length", "entropy", "top pattern", "top phrase", "missing", "alarms"]
    rows = [
        [
            str(look.step),
            "-" if look.reward is None else f"{look.reward:+.3f}",
            "-" if look.held_out is None else f"{look.held_out.value:.2f}",
            "-" if look.divergence is None else f"{look.divergence.share.value:.2f} ({look.divergence.start:.2f})",
            f"{look.length.ratio:.2f}",
            f"{look.figures.entropy:.2f}",
            f"{look.figures.top_share:.2f}",
            f"{look.figures.phrase_share:.2f} {look.figures.phrase}",
            str(look.missing),
            ", ".join(alarm.name for alarm in look.alarms) or "-",
        ]
        for look in looks
    ]
    return head, rows


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("panel.html.jinja")


if __name__ == "__main__":
    sys.stdout.write(f"{write_panel(sys.argv[1])}\n")
