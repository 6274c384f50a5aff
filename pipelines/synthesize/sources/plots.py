"""What a model took out of a piece of a book, held against the book: found in the text, joined across pieces, or left out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from her.types import ENVIRONMENT
from pipelines.synthesize.checks.anchors import SearchedText, likeness
from pipelines.synthesize.options import SceneOptions
from pipelines.synthesize.sources.books import Piece, Skip
from pipelines.synthesize.stages.answers import FoundConversation, Known, Plot, Utterance, Wanting

SAME_PLOT = 0.3
"""Least likeness of two summaries, or scenarios, of one plot told in two pieces (CoSER, benchmarks.md 6.3)."""
_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|（[^）]*）")


@dataclass
class FoundPlot:
    """A plot with its place in the book. `id` names it to the next piece; `open` while it may go on there."""

    id: str
    piece: int
    chapter: str
    text: str
    plot: Plot
    open: bool = False
    pieces: list[int] = field(default_factory=list)


def found_plots(plots: Sequence[Plot], piece: Piece, options: SceneOptions, where: str, skip: Skip) -> list[FoundPlot]:
    """The plots of a piece whose text is found in it, with the conversations that are; in the order of the text."""
    source = SearchedText(piece.text)
    found = []
    for number, plot in enumerate(plots):
        named = f"{where}, plot {number} ({plot.summary[:40]!r})"
        talks = [talk for talk in plot.conversation if _anchored(talk, source, options, named, skip)]
        text = _span(plot, talks, source)
        if not text:
            skip(named, "neither its first and last sentence nor its lines are found in the text")
            continue
        kept = plot.model_copy(update={"conversation": talks, "key_characters": _once(plot.key_characters, named, skip)})
        last = number == len(plots) - 1
        found.append(
            FoundPlot(
                id=f"p{piece.number}-{number}",
                piece=piece.number,
                chapter=plot.chapter_title or piece.chapter,
                text=text,
                plot=kept,
                open=plot.state == "truncated" and last,
                pieces=[piece.number],
            )
        )
    return found


def _anchored(talk: FoundConversation, source: SearchedText, options: SceneOptions, where: str, skip: Skip) -> bool:
    """Whether enough of a conversation's lines stand in the text; names are tidied on the way."""
    lines = [line for line in talk.dialogues if line.message.strip() and line.character.strip()]
    talk.dialogues = [Utterance(character=tidy(line.character), message=line.message.strip()) for line in lines]
    talk.key_characters = _wanting(talk.key_characters)
    spoken = [_BRACKETS.sub(" ", line.message) for line in talk.dialogues if line.character != ENVIRONMENT]
    spoken = [text for text in spoken if any(map(str.isalnum, text))]
    if not spoken:
        skip(where, "a conversation in which nobody speaks")
        return False
    there = sum(map(source.holds, spoken))
    if there < options.anchored * len(spoken):
        skip(where, f"a conversation of which only {there} of {len(spoken)} lines are found in the text")
        return False
    return True


def _wanting(entries: Iterable[Wanting]) -> list[Wanting]:
    """The entries with tidied names, the first of each."""
    named: dict[str, Wanting] = {}
    for entry in entries:
        if name := tidy(entry.name):
            named.setdefault(name, Wanting(name=name, motivation=entry.motivation.strip()))
    return list(named.values())


def _once(entries: Iterable[Known], where: str, skip: Skip) -> list[Known]:
    named: dict[str, Known] = {}
    for entry in entries:
        name = tidy(entry.name)
        if not name or name in named:
            skip(where, f"key character {entry.name!r} has no name" if not name else f"key character {name!r} stands twice")
            continue
        named[name] = Known(name=name, description=entry.description.strip(), experience=entry.experience.strip())
    return list(named.values())


def tidy(name: str) -> str:
    """A name in one spelling of spaces; the environment in one spelling of its own."""
    plain = " ".join(name.split()).strip(":：")
    return ENVIRONMENT if plain.casefold() in ("environment", "narrator", "环境", "旁白") else plain


def _span(plot: Plot, talks: Sequence[FoundConversation], source: SearchedText) -> str:
    """The text from the plot's first sentence to its last, and at least all its lines."""
    first, last = source.nearest(plot.first_sentence), source.nearest(plot.last_sentence)
    starts = [first.start] if first else []
    ends = [last.end] if last else []
    for talk in talks:
        for line in (talk.dialogues[0], talk.dialogues[-1]):
            if place := source.exactly(_BRACKETS.sub(" ", line.message)):
                starts.append(place.start)
                ends.append(place.end)
    if not starts or not ends or max(ends) <= min(starts):
        return ""
    return source.text[min(starts) : max(ends)]


def carried(plots: Sequence[FoundPlot]) -> list[dict[str, object]]:
    """What the next piece is told of plots that may go on in it."""
    return [
        {"id": plot.id, "summary": plot.plot.summary, "characters": [each.name for each in plot.plot.key_characters]}
        for plot in plots
        if plot.open
    ]


def joined(before: list[FoundPlot], found: Sequence[FoundPlot]) -> list[FoundPlot]:
    """All plots so far, those of a new piece joined to the open one they go on with; the rest is closed.

    A plot goes on with the one it names; where it names none, with one whose summary is alike.
    """
    opened = {plot.id: plot for plot in before if plot.open}
    for plot in opened.values():
        plot.open = False
    fresh: list[FoundPlot] = []
    for plot in found:
        earlier = opened.pop(plot.plot.continues, None) or _alike(plot, opened)
        if earlier is None:
            fresh.append(plot)
            continue
        opened.pop(earlier.id, None)
        _extend(earlier, plot)
    return before + fresh


def _alike(plot: FoundPlot, opened: dict[str, FoundPlot]) -> FoundPlot | None:
    likely = max(opened.values(), key=lambda each: likeness(each.plot.summary, plot.plot.summary), default=None)
    return likely if likely and likeness(likely.plot.summary, plot.plot.summary) >= SAME_PLOT else None


def _extend(earlier: FoundPlot, later: FoundPlot) -> None:
    """Put the later half of a plot behind the earlier; a conversation cut in two becomes one."""
    talks, more = list(earlier.plot.conversation), list(later.plot.conversation)
    if talks and more and (_one_talk(talks[-1], more[0]) or not more[0].scenario.strip()):
        last = talks[-1]
        wanting = _wanting([*last.key_characters, *more[0].key_characters])
        talks[-1] = last.model_copy(update={"dialogues": last.dialogues + more.pop(0).dialogues, "key_characters": wanting})
    names = {each.name for each in earlier.plot.key_characters}
    earlier.plot = earlier.plot.model_copy(
        update={
            "conversation": talks + more,
            "summary": f"{earlier.plot.summary} {later.plot.summary}",
            "prominence": max(earlier.plot.prominence, later.plot.prominence),
            "key_characters": [*earlier.plot.key_characters, *(e for e in later.plot.key_characters if e.name not in names)],
        }
    )
    earlier.text = f"{earlier.text}\n{later.text}"
    earlier.open = later.open
    earlier.pieces += later.pieces


def _one_talk(one: FoundConversation, other: FoundConversation) -> bool:
    return likeness(one.scenario, other.scenario) >= SAME_PLOT
