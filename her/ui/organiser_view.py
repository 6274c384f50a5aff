"""Gather what the organiser's pages show, and render it with templates in which every name and text is escaped."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from her.feedback.people import RaterFigures
from her.feedback.playtest import Mission, Playtest
from her.feedback.playtest_figures import (
    ActBin,
    DimensionFigures,
    PersonFigures,
    VoteFigures,
    act_bins,
    dimension_figures,
    person_figures,
    vote_figures,
)
from her.feedback.rubric import RUBRIC
from her.feedback.votes import rater, rater_votes
from her.judging.arena_table import Standing
from her.judging.people_board import PeopleBoard, people_board
from her.kinds import BY_KIND, PANEL_KINDS
from her.statistics import Interval
from her.store import Node, Seen, Store
from her.store.exports import voted_pairs
from her.store.overview import (
    JudgedChat,
    JudgedMoment,
    MissionCounts,
    PersonComment,
    acts,
    judged_chats,
    line_to,
    mission_counts,
    newest_comments,
    rating_facts,
    skipped_ballots,
)
from her.types import ENVIRONMENT, Language, Part
from her.ui.organiser_words import organiser_words
from her.view import reader, visible_parts

COMMENTS, CHATS = 50, 200
"""Most comments and chats that a page lists, the newest ones."""


class MissionRow(NamedTuple):
    """A mission of the playtest with its progress."""

    mission: Mission
    counts: MissionCounts


class OrganiserFigures(NamedTuple):
    """All numbers of the overview; `care` has what checks say of each rater, `reach` is the end of the scale of scores."""

    people: list[PersonFigures]
    care: Mapping[str, RaterFigures]
    dimensions: list[DimensionFigures]
    votes: VoteFigures
    board: PeopleBoard
    bins: list[ActBin]
    chats: list[JudgedChat]
    reach: float
    missions: list[MissionRow]


class ReplayPart(NamedTuple):
    """A part of a turn as it stood on the screen; a panel is `open` or folded."""

    kind: str
    text: str
    css: str
    panel: bool
    open: bool


class ReplayTurn(NamedTuple):
    """A turn of a replay; `note` says what was decided about it."""

    speaker: str
    parts: list[ReplayPart]
    mine: bool
    judged: bool
    note: str = ""


def gather(store: Store, playtest: Playtest | None = None) -> OrganiserFigures:
    """Return the figures of this moment; with a playtest those of its missions as well."""
    done, facts, skipped = list(acts(store)), list(rating_facts(store)), skipped_ballots(store)
    votes = vote_figures(rater_votes(store), sum(skipped.values()))
    board = people_board(voted_pairs(store))
    return OrganiserFigures(
        people=person_figures(done, facts, skipped),
        care={each.rater: each for each in votes.people.raters},
        dimensions=dimension_figures(facts),
        votes=votes,
        board=board,
        bins=act_bins(done),
        chats=judged_chats(store, CHATS),
        reach=_reach(board),
        missions=_missions(store, playtest) if playtest else [],
    )


def _missions(store: Store, playtest: Playtest) -> list[MissionRow]:
    counts = mission_counts(store, playtest.name)
    return [MissionRow(mission, counts.get(mission.id, MissionCounts(0, 0, 0))) for mission in playtest.missions]


def _reach(board: PeopleBoard) -> float:
    """Return the end of a scale that holds all scores and their limits, 1 at least."""
    standings = board.table.standings if board.table else ()
    numbers = [number for each in standings for number in _limits(each)]
    numbers += [number for interval in board.controlled.values() for number in interval]
    return max([1.0, *(abs(number) for number in numbers if not math.isnan(number))])


def tiles(figures: OrganiserFigures, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the numbers at the top."""
    people = figures.people
    found = [(len(people), "people"), (sum(each.ratings for each in people), "ratings"), (figures.votes.votes, "votes")]
    found += [(sum(each.comments for each in people), "comments"), (sum(each.chats for each in people), "chats")]
    shown = [(f"{number:,}", texts[name]) for number, name in found]
    return [*shown, (f"{sum(each.active_ms for each in people) / 60_000:.0f}", texts["minutes"].replace("{n} ", "").strip())]


def comments_of(store: Store) -> list[PersonComment]:
    """Return the comments that the page lists."""
    return newest_comments(store, COMMENTS)


def replay(
    store: Store, chat: JudgedChat, moment: JudgedMoment | None, texts: Mapping[str, str]
) -> tuple[list[ReplayTurn], list[ReplayTurn]]:
    """Return the turns up to the judged one as they stood on the screen, and the two replies of a vote, in their order there."""
    line = line_to(store, chat.id, moment.node_id if moment else None)
    seen = moment.seen if moment else Seen()
    if moment is None or moment.beside is None:
        return [_turn(chat, node, seen, judged=moment is not None and node.id == moment.node_id) for node in line], []
    other = line_to(store, chat.id, moment.beside)[-1]
    sides = ((line[-1], seen, "a"), (other, moment.seen_beside or Seen(), "b"))
    won = {"a": ("a",), "b": ("b",)}.get(str(moment.winner), ())
    pair = [_turn(chat, node, view, judged=True, note=texts["won"] if side in won else "") for node, view, side in sides]
    return [_turn(chat, node, seen, judged=False) for node in line[:-1]], pair


def _turn(chat: JudgedChat, node: Node, seen: Seen, *, judged: bool, note: str = "") -> ReplayTurn:
    viewer = reader(chat.visitor_name, scene=chat.ensemble is not None)
    parts = [_part(part, seen, judged) for part in visible_parts(node.turn.parts, node.turn.speaker, viewer)]
    # The plan stands first, as on the stage.
    parts.sort(key=lambda part: part.kind != "system_thinking")
    speaker = "" if node.turn.speaker == ENVIRONMENT else node.turn.speaker
    return ReplayTurn(speaker, parts, node.origin == "visitor", judged, note)


def _part(part: Part, seen: Seen, judged: bool) -> ReplayPart:
    panel = part.kind in PANEL_KINDS
    return ReplayPart(part.kind, part.text, BY_KIND[part.kind].css, panel, panel and was_open(part.kind, seen, judged=judged))


def was_open(kind: str, seen: Seen, *, judged: bool) -> bool:
    """Tell whether a panel was open when a turn was judged: as measured in that turn, elsewhere by the switch of the chat."""
    if judged and kind in seen.sights:
        return seen.sights[kind].open
    switch = bool(getattr(seen, kind, False))
    return kind not in seen.shut and (switch or kind in seen.opened) if judged else switch


def render(template: str, lang: Language, personas: Mapping[str, str], **variables: Any) -> str:
    """Render a page; `personas` are names by id."""
    texts = organiser_words(lang)

    def persona(persona_id: str, speaker: str) -> str:
        return personas.get(persona_id, speaker or persona_id)

    def verdict(moment: JudgedMoment) -> str:
        return _verdict(moment, texts)

    page = _environment().get_template(template)
    dimensions = [label.id for label in RUBRIC.dimensions]
    return page.render(lang=lang, texts=texts, persona=persona, verdict=verdict, dimensions=dimensions, **variables)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(moment=moment_text, share=share_text, mean=mean_text, signed=signed_text)
    environment.filters.update(rater=_rater, short=short_name, limits=_limits)
    return environment


def _rater(visitor_id: str) -> str:
    return short_name(rater(visitor_id))


def short_name(name: str) -> str:
    """Return a rater's name as the page shows it: without `rater:`, of which every row would begin."""
    return name.removeprefix("rater:")


def moment_text(at: int) -> str:
    """Return a time in UTC."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M}"


def share_text(share: Interval) -> str:
    """Return a share with its limits in per cent."""
    if math.isnan(share.value):
        return "–"
    limits = "" if math.isnan(share.low) else f" ({100 * share.low:.0f}–{100 * share.high:.0f})"
    return f"{100 * share.value:.0f} %{limits}"


def mean_text(mean: Interval) -> str:
    """Return a number with its limits."""
    if math.isnan(mean.value):
        return "–"
    limits = "" if math.isnan(mean.low) else f" ({mean.low:.2f} – {mean.high:.2f})"
    return f"{mean.value:.2f}{limits}"


def signed_text(score: Interval) -> str:
    """Return a score with its sign and its limits."""
    if math.isnan(score.value):
        return "–"
    limits = "" if math.isnan(score.low) else f" ({score.low:+.2f} … {score.high:+.2f})"
    return f"{score.value:+.2f}{limits}"


def _limits(standing: Standing) -> Interval:
    known = [math.nan if number is None else number for number in (standing.score, standing.low, standing.high)]
    return Interval(*known)


def _verdict(moment: JudgedMoment, texts: Mapping[str, str]) -> str:
    """Return one line about what was decided."""
    if moment.kind == "choice":
        return texts["kept_reply"]
    if moment.kind == "vote":
        return texts[f"chose_{moment.winner}"]
    assert moment.rating is not None
    fact = moment.rating
    words: Sequence[str] = [] if fact.node_id else [fact.character or texts["whole_chat"]]
    thumb = {1: texts["good"], -1: texts["bad"], 0: texts["even"]}.get(fact.thumb if fact.thumb is not None else 9)
    stars = [f"{texts.get(f'dim_{name}', name)} {count} ★" for name, count in fact.stars.items()]
    return ", ".join([*words, *([thumb] if thumb else []), *stars, *(texts.get(f"tag_{tag}", tag) for tag in fact.tags)])
