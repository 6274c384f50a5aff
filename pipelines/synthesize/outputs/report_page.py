"""Draw the report as one HTML page: numbers, SVG bar charts, tables. It loads nothing and has a light and a dark theme."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.synthesize.outputs import reader_page
from pipelines.synthesize.outputs.reader_page import reader_section

Json = dict[str, Any]

STYLE = """
:root{color-scheme:light dark;--ink:#23201c;--soft:#6a6258;--paper:#fbf8f2;--rule:#ddd3c2;--before:#a3937a;--after:#4a5f7f}
@media(prefers-color-scheme:dark){:root{--ink:#ece5d8;--soft:#a89e8f;--paper:#1b1916;--rule:#3b362f;--before:#8a7c66;--after:#8fa6c9}}
body{margin:0 auto;padding:2rem 1rem 4rem;max-width:62rem;background:var(--paper);color:var(--ink);font:16px/1.55 Georgia,serif}
h1{font-size:1.7rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--rule)}
p.lead{color:var(--soft);margin:0 0 1.4rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.8rem}
.tile{border:1px solid var(--rule);border-radius:.5rem;padding:.6rem .8rem}.tile b{display:block;font-size:1.35rem}
.tile span{color:var(--soft);font:13px/1.4 system-ui,sans-serif}
.scroll{overflow-x:auto}table{border-collapse:collapse;font:14px/1.5 system-ui,sans-serif;min-width:22rem}
th,td{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.m{color:var(--soft)}
figure{margin:1rem 0}figcaption{color:var(--soft);font:13px/1.4 system-ui,sans-serif}
svg{max-width:100%;height:auto}svg text{fill:var(--ink);font:12px system-ui,sans-serif}
.before{fill:var(--before)}.after{fill:var(--after)}.key i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 .8em}
"""
WIDTH, ROW, LABEL = 640, 22, 190
"""Pixels: width of a chart, height of a bar, width of the labels."""
SHOWN_PATTERNS = 12
COLUMNS_HEIGHT = 150


def page(report: Json) -> str:
    """Return the page; `report` is the content of `report.json`."""
    title = f"Synthesis: {report['name']}"
    body = "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            f'<p class="lead">{_lead(report)}</p>',
            _tiles(report),
            "<h2>Patterns</h2>",
            _key(),
            _figure(_pairs(report), "The order of parts in a turn, share of all turns, before and after."),
            "<h2>Lengths</h2>",
            _figure(_columns(report, "lengths", "turn"), "Characters of a turn without its plan, before and after."),
            _figure(_columns(report, "plan_lengths", "plan"), "Characters of a plan."),
            *(_stage(name, report) for name in report["stages"]),
            "<h2>Turns to read</h2>",
            reader_section(report["readable"], report["name"], report["meanings"]),
            "<h2>Calls</h2>",
            _calls(report["calls"]),
            "<h2>Skipped</h2>",
            _skipped(report["skipped"]),
            "<h2>Written</h2>",
            _rows(_flat(report["outputs"])) or "<p>Nothing yet.</p>",
        ]
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}{reader_page.STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _lead(report: Json) -> str:
    after = report["after"]
    return f"{after['turns']:,} turns of characters in {after['scenes']:,} scenes, with plans, thoughts, actions and speech."


def _tiles(report: Json) -> str:
    """Return the six most important numbers."""
    before, after = report["before"], report["after"]
    bits = [side["patterns"]["entropy_bits"] for side in (before, after)]
    tops = [side["patterns"]["top_share"] for side in (before, after)]
    tiles = [
        (f"{after['plan_coverage']:.1%}", "of turns have a plan"),
        (f"{before['thought_coverage']:.0%} → {after['thought_coverage']:.0%}", "have a thought"),
        (f"{bits[0]:.2f} → {bits[1]:.2f}", "bits of pattern entropy"),
        (f"{tops[0]:.0%} → {tops[1]:.0%}", "of turns have the top pattern"),
        (f"{after['mean_plan_characters']:,.0f}", "characters in a plan"),
        (f"{report['calls'].get('money', 0):,.2f}", "spent on calls"),
    ]
    html = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{html}</div>'


def _key() -> str:
    """Return the legend of the charts."""
    marks = '<i style="background:var(--before)"></i>before<i style="background:var(--after)"></i>after'
    return f'<p class="key">{marks}</p>'


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>" if drawing else ""


def _pairs(report: Json) -> str:
    """Two bars, before and after, for each of the most frequent patterns."""
    counts = [report[side]["patterns"]["counts"] for side in ("before", "after")]
    totals = [max(1, report[side]["turns"]) for side in ("before", "after")]
    names = sorted(counts[0] | counts[1], key=lambda name: -max(each.get(name, 0) for each in counts))[:SHOWN_PATTERNS]
    shares = [[each.get(name, 0) / total for each, total in zip(counts, totals, strict=True)] for name in names]
    longest = max((max(pair) for pair in shares), default=0) or 1  # 1: no division by zero without turns
    rows = []
    for at, (name, pair) in enumerate(zip(names, shares, strict=True)):
        top = at * ROW * 2
        rows.append(f'<text x="{LABEL - 8}" y="{top + ROW}" text-anchor="end">{escape(name or "nothing")}</text>')
        for number, (share, side) in enumerate(zip(pair, ("before", "after"), strict=True)):
            width = share / longest * (WIDTH - LABEL - 60)
            y = top + 4 + number * (ROW - 6)
            rows.append(f'<rect class="{side}" x="{LABEL}" y="{y}" width="{width:.1f}" height="{ROW - 8}" rx="2"/>')
            rows.append(f'<text x="{LABEL + width + 5:.1f}" y="{y + ROW - 11}">{share:.1%}</text>')
    return _svg(rows, max(1, len(names)) * ROW * 2, "Shares of patterns before and after")


def _columns(report: Json, key: str, step: str) -> str:
    """Columns of a histogram, before beside after."""
    sides = [report["before"][key], report["after"][key]]
    highest = max(map(max, sides))
    if not highest:
        return ""
    size, width, rows = COLUMNS_HEIGHT, WIDTH / len(sides[0]), []
    for side, name, shift in ((sides[0], "before", 0.0), (sides[1], "after", width * 0.42)):
        for at, count in enumerate(side):
            high = count / highest * size
            x, y = at * width + shift + 4, size - high + 10
            rows.append(
                f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width * 0.4:.1f}" height="{high:.1f}">'
                f"<title>{count:,}</title></rect>"
            )
    each = report["steps"][step]
    for at in range(0, len(sides[0]), 2):
        label = f"{at * each:,}" + ("+" if at == len(sides[0]) - 1 else "")
        rows.append(f'<text x="{at * width + 4:.1f}" y="{size + 26}">{label}</text>')
    return _svg(rows, size + 32, f"Histogram of {key.replace('_', ' ')}")


def _svg(rows: Sequence[str], height: float, name: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(name)}">{"".join(rows)}</svg>'


def _stage(name: str, report: Json) -> str:
    """Return the section of one stage: its purpose, the outcomes of the turns, the problems by name."""
    stage, meanings = report["stages"][name], report["meanings"]
    names = sorted(stage["problems_first"] | stage["problems_last"], key=lambda each: -stage["problems_first"].get(each, 0))
    rows = "".join(
        f'<tr><td>{escape(each)}</td><td class="n">{stage["problems_first"].get(each, 0):,}</td>'
        f'<td class="n">{stage["problems_last"].get(each, 0):,}</td><td class="m">{escape(meanings.get(each, ""))}</td></tr>'
        for each in names
    )
    fates = ", ".join(f"{count:,} {fate.replace('_', ' ')}" for fate, count in stage["turns"].items()) or "no turn recorded"
    head = '<tr><th>problem</th><th class="n">first answer</th><th class="n">last answer</th><th></th></tr>'
    table = f'<div class="scroll"><table>{head}{rows}</table></div>' if names else ""
    errors = _rows(list(stage["errors"].items()))
    title = escape(name.replace("_", " ").capitalize())
    purpose = f"<p>{escape(report['purposes'][name])}</p>"
    twice = f"{stage['asked_again']:,} asked about twice, {stage['same']:,} of them answered the same (the check may be wrong)"
    outcome = f"<p>{escape(fates)}; {twice}; {stage['checked']:,} read by the checker.</p>"
    return f"<h2>{title}</h2>{purpose}{outcome}{table}{errors}"


def _calls(calls: Json) -> str:
    return _rows(list(_flat(calls))) or "<p>No calls.</p>"


def _skipped(skipped: Mapping[str, Mapping[str, int]]) -> str:
    rows = [(f"{stage}: {reason}", count) for stage, reasons in skipped.items() for reason, count in reasons.items()]
    return _rows(rows) or "<p>Nothing.</p>"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested values as rows with dotted names."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        rows += _flat(value, f"{prefix}{key} · ") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows


def _rows(rows: Sequence[tuple[str, Any]]) -> str:
    html = "".join(f'<tr><td>{escape(str(name))}</td><td class="n">{escape(_number(value))}</td></tr>' for name, value in rows)
    return f'<div class="scroll"><table>{html}</table></div>' if html else ""


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
