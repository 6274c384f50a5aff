"""Write the tables of an arena as Markdown and as one HTML page."""

from collections.abc import Sequence

from markupsafe import Markup

from her.judging.arena_table import ArenaTable, PartedJudges, Standing
from her.judging.card_plots import interval_plot
from her.judging.card_text import FigureRow
from her.statistics import Interval
from pipelines.evaluate.report_page import FigurePart, page_of
from pipelines.evaluate.report_text import UNKNOWN, cell, table

TITLE = "Arena from saved transcripts"
TOGETHER = "Judges and people side by side"
HEAD = ("contestant", "score (95 %)", "won", "tied", "lost", "both bad", "missing")
PARTED_HEAD = ("contestant", "games", "pleases principles only", "the other way round", "p", "")
_SOURCES = {
    "held_out": "Held-out judge without principles",
    "by_case": "Judge with principles",
    "people": "People",
}


def arena_markdown(tables: Sequence[ArenaTable], parted: Sequence[PartedJudges]) -> str:
    """Return all tables as Markdown."""
    parts = [f"# {TITLE}"]
    if len(tables) > 1:
        parts.append(f"## {TOGETHER}\n\n{table(_together_head(tables), _together_rows(tables))}")
    for each in tables:
        parts.append(f"## {heading(each)}\n\n{cell(facts(each))}\n\n{table(HEAD, [_row(one) for one in each.standings])}")
    if parted:
        parts.append(f"## Where the judges part\n\n{PARTED}\n\n{table(PARTED_HEAD, _parted_rows(parted))}")
    return "\n\n".join(parts) + "\n"


def arena_page(tables: Sequence[ArenaTable], parted: Sequence[PartedJudges]) -> str:
    """Return all tables as one HTML page."""
    together = [FigurePart(TOGETHER, Markup(""), "", _together_head(tables), _together_rows(tables))]
    figures = together if len(tables) > 1 else []
    figures += [
        FigurePart(
            heading(each),
            Markup(interval_plot([_figure(one) for one in each.standings], heading(each))),
            facts(each),
            HEAD,
            [_row(one) for one in each.standings],
        )
        for each in tables
    ]
    shown = [FigurePart("Where the judges part", Markup(""), PARTED, PARTED_HEAD, _parted_rows(parted))] if parted else []
    return page_of("arena.html.jinja", title=TITLE, figures=figures, parted=shown)


PARTED = (
    "Games that the judge with principles gives to a contestant and the held-out judge to the other one. A contestant that is "
    "marked pleases the principles and not the reader: it may have learnt to exploit its reward."
)


def heading(found: ArenaTable) -> str:
    """Return what kind of judge it is, and its name."""
    name = _SOURCES[found.source]
    return name if found.source == "people" else f"{name}: {found.judge}"


def facts(found: ArenaTable) -> str:
    """Return in a few sentences how the scores read and how far they can be trusted."""
    said = [f"{found.games} games. Scores are log odds to win against the mean contestant."]
    if all(one.low is None for one in found.standings):
        said.append("No interval: fewer than ten books, seeds or conversations.")
    if found.first_slot is not None and found.consistent is not None:
        said.append(f"The play shown first won {found.first_slot:.0%}; {found.consistent:.0%} had one winner in both orders.")
    if found.fragile is not None:
        said.append(f"Without {found.fragile} of these games another contestant would lead or share the lead.")
    return " ".join(said)


def _figure(standing: Standing) -> FigureRow:
    nan = float("nan")
    values = [nan if number is None else number for number in (standing.score, standing.low, standing.high)]
    return FigureRow(standing.contestant, Interval(*values), "", 0.0)


def _together_head(tables: Sequence[ArenaTable]) -> tuple[str, ...]:
    return ("contestant", *(f"{heading(each)}, {each.games} games" for each in tables))


def _together_rows(tables: Sequence[ArenaTable]) -> list[tuple[str, ...]]:
    """Return each contestant's score under every judge and under people, in the order of the first table."""
    names = dict.fromkeys(one.contestant for each in tables for one in each.standings)
    scores = [{one.contestant: _score(one) for one in each.standings} for each in tables]
    return [(name, *(each.get(name, UNKNOWN) for each in scores)) for name in names]


def _score(standing: Standing) -> str:
    score = UNKNOWN if standing.score is None else f"{standing.score:+.2f}"
    if standing.low is not None and standing.high is not None:
        score += f" ({standing.low:+.2f} to {standing.high:+.2f})"
    return score


def _row(standing: Standing) -> tuple[str, ...]:
    counts = (standing.wins, standing.ties, standing.losses, standing.both_bad, standing.missing)
    return (standing.contestant, _score(standing), *map(str, counts))


def _parted_rows(parted: Sequence[PartedJudges]) -> list[tuple[str, ...]]:
    return [
        (
            each.contestant,
            f"{each.games}",
            f"{each.pleased}",
            f"{each.doubted}",
            f"{each.p:.2g}",
            "marked" if each.flagged else "",
        )
        for each in parted
    ]
