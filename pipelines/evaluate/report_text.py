"""Write a report and a comparison in words: Markdown, and the figures as texts for the page."""

from collections.abc import Iterable, Mapping, Sequence

from her.judging.free_metrics import FreeMetrics
from her.judging.statistics import Estimate, PairedDifference
from pipelines.evaluate.comparison import ModelComparison
from pipelines.evaluate.published import PublishedScore
from pipelines.evaluate.sheets import RATE_WORDS, Rates, ScoreSheet

UNKNOWN = "–"
PLAIN_RATES = ("rounds", "words")
"""Rates that are means and no shares."""
FREE_WORDS = {
    "turns": "turns",
    "well_formed": "well-formed turns",
    "spoken": "turns with something seen or heard",
    "pattern_entropy": "entropy of patterns, bits",
    "top_share": "share of the most frequent pattern",
    "thoughtful": "turns with an inner thought",
    "first_person": "thoughts in the first person",
    "plan_shown": "turns in which planning shows",
    "assistant": "turns that speak as an assistant",
    "thought_fits": "thoughts about what is said",
    "thought_echoed": "thoughts that the speech says again",
    "repeated": "n-grams the speaker used before",
    "looped": "turns that loop",
    "words": "words a turn",
    "drift": "length, last third over first",
    "distinct_1": "distinct words",
    "distinct_2": "distinct pairs of words",
    "persona_gain": "nats a token from the persona",
}
_PLAIN_FREE = {"turns", "pattern_entropy", "words", "drift", "distinct_1", "distinct_2", "persona_gain"}
LANGUAGES = {"en": "English", "zh": "Chinese"}


def markdown(
    title: str,
    notes: Sequence[str],
    sheets: Sequence[ScoreSheet],
    free: Mapping[str, Mapping[str, FreeMetrics]],
    published: Sequence[PublishedScore],
) -> str:
    """Return the report as Markdown."""
    parts = [f"# {cell(title)}"]
    parts += [f"**{cell(note)}**" for note in notes]
    for sheet in sheets:
        parts += _sheet_text(sheet)
    for model, languages in free.items():
        for language, figures in languages.items():
            rows = [(words, value) for words, value in free_rows(figures)]
            parts.append(f"## Without a judge: {cell(model)}, {LANGUAGES[language]}\n\n{table(('figure', 'value'), rows)}")
    if published:
        parts.append(published_text(published))
    return "\n\n".join(parts) + "\n"


def _sheet_text(sheet: ScoreSheet) -> Iterable[str]:
    yield f"## {cell(sheet.model)}\n\n{summary(sheet)}"
    if sheet.warnings:
        yield "\n".join(f"- **{cell(warning)}**" for warning in sheet.warnings)
    rows = [(words(name), estimate_text(each), f"{each.used}", f"{each.missing}") for name, each in sheet.figures.items()]
    rows += [(words(name), estimate_text(each, 4), f"{each.used}", f"{each.missing}") for name, each in sheet.overlap.items()]
    yield table(("score", "value (95 %)", "cases", "missing"), rows)
    yield table(("beside the score", "rate"), rate_rows(sheet.rates))
    for kind, groups in sheet.breakdowns.items():
        yield table(
            (words(kind), "value (95 %)", "cases"), [(words(g), estimate_text(e), f"{e.used}") for g, e in groups.items()]
        )
    if sheet.noise:
        noise = [(words(name), difference_text(each), p_text(each.p)) for name, each in sheet.noise.items()]
        yield "Two runs of this model, second less first: what is not larger than this is noise."
        yield table(("score", "difference (95 %)", "p"), noise)
    if sheet.reasons:
        yield table(("why judgements are missing", "judgements"), [(cell(why), f"{n}") for why, n in sheet.reasons.items()])


def published_text(published: Sequence[PublishedScore]) -> str:
    """Return the published scores under a heading that says what they are not."""
    rows = [
        (cell(each.model), f"{each.score:.2f}{_limits(each.interval, 2)}", each.judge, each.protocol, each.source)
        for each in published
    ]
    head = ("model", "score", "judge", "protocol", "source")
    return (
        "## Published by others\n\nUnder their own judges and protocols, so not comparable with the scores above: GPT-4o has "
        f"59.95 under one of them and 27.69 under another.\n\n{table(head, rows)}"
    )


def comparison_markdown(found: Sequence[ModelComparison], free: Sequence[Mapping[str, FreeMetrics]]) -> str:
    """Return the comparison of two runs as Markdown."""
    first, second = found[0].first, found[0].second
    parts = [f"# {cell(first)} and {cell(second)}"]
    for each in found:
        parts.append(f"## {comparison_heading(each)}\n\n**{cell(each.verdict)}**")
        if each.warnings:
            parts.append("\n".join(f"- {cell(warning)}" for warning in each.warnings))
        rows = [
            (words(name), difference_text(one), f"{one.estimate.used}", f"{one.estimate.missing}")
            + (p_text(one.p), p_text(one.adjusted))
            for name, one in each.differences.items()
        ]
        parts.append(table(("score", "second less first (95 %)", "cases", "left out", "p", "p (Holm)"), rows))
        for kind, groups in each.breakdowns.items():
            split = [(words(group), difference_text(one), f"{one.estimate.used}") for group, one in groups.items()]
            parts.append(table((words(kind), "second less first (95 %)", "cases"), split))
        before, after = (dict(rate_rows(rates)) for rates in each.rates)
        parts.append(table(("beside the score", first, second), [(name, before[name], after[name]) for name in before]))
    for language in sorted(set(free[0]) & set(free[1])):
        both = [dict(free_rows(side[language])) for side in free]
        shown = [(name, both[0].get(name, UNKNOWN), both[1].get(name, UNKNOWN)) for name in {**both[0], **both[1]}]
        parts.append(f"## Without a judge, {LANGUAGES[language]}\n\n{table(('figure', first, second), shown)}")
    return "\n\n".join(parts) + "\n"


def comparison_heading(found: ModelComparison) -> str:
    """Return protocol, judge, sight of thoughts and language in one line."""
    return f"{found.protocol}, judged by {found.judge or 'no judge'}, thoughts {found.thoughts}, {LANGUAGES[found.language]}"


def summary(sheet: ScoreSheet) -> str:
    """Return in one sentence what was judged, how and by whom."""
    cases, runs = (
        f"{number} {word}{'' if number == 1 else 's'}" for number, word in ((sheet.cases, "case"), (sheet.runs, "run"))
    )
    books = f"{sheet.books} {'book or seed' if sheet.books == 1 else 'books or seeds'}"
    return cell(
        f"{LANGUAGES[sheet.language]}, protocol {sheet.protocol}, judged by {sheet.judge or 'no judge'} with the characters' "
        f"thoughts {sheet.thoughts}: {cases} of {books}, {runs} each. Scores compare only with the same protocol and judge."
    )


def rate_rows(rates: Rates) -> list[tuple[str, str]]:
    """Return the rates by their words; unknown ones are shown as such."""
    rows = [("scenes played, cases times runs", f"{rates.plays}")]
    for name, said in RATE_WORDS.items():
        value = getattr(rates, name)
        shown = UNKNOWN if value is None else f"{value:.1f}" if name in PLAIN_RATES else f"{value:.1%}"
        rows.append((said, shown))
    return rows


def free_rows(figures: FreeMetrics) -> list[tuple[str, str]]:
    """Return the known figures without a judge."""
    known = figures.figures()
    rows = [(said, _free_text(name, known[name])) for name, said in FREE_WORDS.items() if name in known]
    return rows + ([("most frequent pattern", cell(figures.top_pattern))] if figures.top_pattern else [])


def _free_text(name: str, value: float) -> str:
    if name == "turns":
        return f"{value:,}"
    return f"{value:.3g}" if name in _PLAIN_FREE else f"{value:.1%}"


def estimate_text(estimate: Estimate, digits: int = 2) -> str:
    """Return a value with its interval, or with the reason why it has none."""
    if estimate.value is None:
        return f"{UNKNOWN} ({estimate.reason})" if estimate.reason else UNKNOWN
    limits = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
    return f"{estimate.value:.{digits}f}{_limits(limits, digits)}"


def difference_text(difference: PairedDifference) -> str:
    """Return a signed difference with its interval."""
    estimate = difference.estimate
    if estimate.value is None:
        return UNKNOWN
    limits = "" if estimate.low is None or estimate.high is None else f" ({estimate.low:+.2f} to {estimate.high:+.2f})"
    return f"{estimate.value:+.2f}{limits}"


def p_text(p: float | None) -> str:
    """Return a p value with three decimals."""
    return UNKNOWN if p is None else "< .001" if p < 0.001 else f"{p:.3f}"


def words(name: str) -> str:
    """Return a name of the code as words."""
    return {"bleu": "BLEU", "rouge_l": "ROUGE-L", "id": "books in training", "ood": "books not in training"}.get(
        name, name.replace("_", " ")
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; nothing for no rows."""
    if not rows:
        return ""
    lines = [[cell(each) for each in head], ["---"] * len(head), *([cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Return a text that cannot break out of a table or start a tag."""
    return " ".join(text.split()).replace("\\|", "|").replace("|", "\\|").replace("&lt;", "<").replace("<", "&lt;")


def _limits(limits: tuple[float, float] | None, digits: int) -> str:
    return "" if limits is None else f" ({limits[0]:.{digits}f} to {limits[1]:.{digits}f})"
