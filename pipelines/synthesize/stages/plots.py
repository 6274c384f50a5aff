"""Check the plots that a model extracted from a piece of a book against its text, and join plots across pieces.

Anchoring by the first and last sentence, and joining by the similarity of summaries, are CoSER's (docs/protocols.md).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from her.types import ENVIRONMENT
from her.words import jaccard
from pipelines.synthesize.checks.anchors import SearchedText
from pipelines.synthesize.notes import Skip
from pipelines.synthesize.option_groups import SceneOptions
from pipelines.synthesize.sources.pieces import Piece
from pipelines.synthesize.stages.answers import (
    CharacterMotivation,
    FoundConversation,
    KeyCharacter,
    Plot,
    Utterance,
)

SAME_PLOT = 0.3
"""Minimum Jaccard index of two summaries, or two scenarios, of one plot that is told in two pieces (CoSER's value)."""
ENVIRONMENT_NAMES = ("environment", "narrator", "环境", "旁白")
_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|（[^）]*）")


@dataclass
class FoundPlot:
    """A plot with its place in the book.

    Args:
        id: name under which the next piece may continue it.
        piece: number of the piece it begins in; `chapter` the heading there.
        text: the source text from the first to the last sentence.
        open: whether it may continue in the next piece.
    """

    id: str
    piece: int
    chapter: str
    text: str
    plot: Plot
    open: bool = False


def anchored_plots(plots: Sequence[Plot], piece: Piece, options: SceneOptions, where: str, skip: Skip) -> list[FoundPlot]:
    """Return the plots whose text is found in the piece, with those of their conversations that are, in the model's order."""
    source = SearchedText(piece.text)
    kept = []
    for number, plot in enumerate(plots):
        place = f"{where}, plot {number} ({plot.summary[:40]!r})"
        conversations = [_tidied(conversation) for conversation in plot.conversation]
        conversations = [each for each in conversations if _is_anchored(each, source, options.anchored, place, skip)]
        text = _span(plot, conversations, source)
        if not text:
            skip(place, "neither its first and last sentence nor its lines are found in the text")
            continue
        update = {"conversation": conversations, "key_characters": _unique_characters(plot.key_characters, place, skip)}
        last = number == len(plots) - 1
        kept.append(
            FoundPlot(
                id=f"p{piece.number}-{number}",
                piece=piece.number,
                chapter=plot.chapter_title or piece.chapter,
                text=text,
                plot=plot.model_copy(update=update),
                # Only the last plot of a piece can be cut by the end of the piece, whatever the model says of the others.
                open=plot.state == "truncated" and last,
            )
        )
    return kept


def _tidied(conversation: FoundConversation) -> FoundConversation:
    lines = [line for line in conversation.dialogues if line.message.strip() and line.character.strip()]
    return conversation.model_copy(
        update={
            "dialogues": [Utterance(character=tidy_name(line.character), message=line.message.strip()) for line in lines],
            "key_characters": _unique_motivations(conversation.key_characters),
        }
    )


def _is_anchored(conversation: FoundConversation, source: SearchedText, least: float, where: str, skip: Skip) -> bool:
    """Return whether a share of at least `least` of a conversation's lines stands in the text."""
    lines = [_BRACKETS.sub(" ", line.message) for line in conversation.dialogues if line.character != ENVIRONMENT]
    spoken = [text for text in lines if any(map(str.isalnum, text))]
    if not spoken:
        skip(where, "a conversation in which nobody speaks")
        return False
    count = sum(map(source.holds, spoken))
    if count < least * len(spoken):
        skip(where, f"a conversation of which only {count} of {len(spoken)} lines are found in the text")
        return False
    return True


def _unique_motivations(entries: Iterable[CharacterMotivation]) -> list[CharacterMotivation]:
    """Return the entries with tidied names, the first of each name."""
    by_name: dict[str, CharacterMotivation] = {}
    for entry in entries:
        if name := tidy_name(entry.name):
            by_name.setdefault(name, CharacterMotivation(name=name, motivation=entry.motivation.strip()))
    return list(by_name.values())


def _unique_characters(entries: Iterable[KeyCharacter], where: str, skip: Skip) -> list[KeyCharacter]:
    by_name: dict[str, KeyCharacter] = {}
    for entry in entries:
        name = tidy_name(entry.name)
        if not name:
            skip(where, f"key character {entry.name!r} has no name")
        elif name in by_name:
            skip(where, f"key character {name!r} is listed twice; the first entry is kept")
        else:
            by_name[name] = KeyCharacter(name=name, description=entry.description.strip(), experience=entry.experience.strip())
    return list(by_name.values())


def tidy_name(name: str) -> str:
    """Return a name with single spaces and without a final colon; every name of the environment as `ENVIRONMENT`."""
    plain = " ".join(name.split()).strip(":：")
    return ENVIRONMENT if plain.casefold() in ENVIRONMENT_NAMES else plain


def _span(plot: Plot, conversations: Sequence[FoundConversation], source: SearchedText) -> str:
    """Return the text from the plot's first to its last sentence, extended to the first and last line of its conversations."""
    first, last = source.nearest(plot.first_sentence), source.nearest(plot.last_sentence)
    starts = [first.start] if first else []
    ends = [last.end] if last else []
    for conversation in conversations:
        for line in (conversation.dialogues[0], conversation.dialogues[-1]):
            if place := source.exactly(_BRACKETS.sub(" ", line.message)):
                starts.append(place.start)
                ends.append(place.end)
    if not starts or not ends or max(ends) <= min(starts):
        return ""
    return source.text[min(starts) : max(ends)]


def open_plots(plots: Sequence[FoundPlot]) -> list[dict[str, object]]:
    """Return what the question about the next piece says of the plots that may continue in it."""
    return [
        {"id": plot.id, "summary": plot.plot.summary, "characters": [each.name for each in plot.plot.key_characters]}
        for plot in plots
        if plot.open
    ]


def join_plots(before: list[FoundPlot], later: Sequence[FoundPlot]) -> list[FoundPlot]:
    """Return all plots so far, those of a new piece joined to the open plot they continue; the other open ones are closed.

    A plot continues the one it names; where it names none, an open one with a similar summary.
    """
    opened = {plot.id: plot for plot in before if plot.open}
    for plot in opened.values():
        plot.open = False
    fresh: list[FoundPlot] = []
    for plot in later:
        earlier = opened.pop(plot.plot.continues, None) or _most_similar(plot, opened)
        if earlier is None:
            fresh.append(plot)
            continue
        opened.pop(earlier.id, None)  # a plot is continued once
        _extend(earlier, plot)
    return before + fresh


def _most_similar(plot: FoundPlot, opened: dict[str, FoundPlot]) -> FoundPlot | None:
    likely = max(opened.values(), key=lambda each: jaccard(each.plot.summary, plot.plot.summary), default=None)
    return likely if likely and jaccard(likely.plot.summary, plot.plot.summary) >= SAME_PLOT else None


def _extend(earlier: FoundPlot, later: FoundPlot) -> None:
    """Append the later half of a plot to the earlier; a conversation that was cut in two becomes one."""
    conversations, more = list(earlier.plot.conversation), list(later.plot.conversation)
    # A second half has often no scenario, because its beginning was in the earlier piece.
    if conversations and more and (_same_scenario(conversations[-1], more[0]) or not more[0].scenario.strip()):
        last, rest = conversations[-1], more.pop(0)
        motivations = _unique_motivations([*last.key_characters, *rest.key_characters])
        conversations[-1] = last.model_copy(update={"dialogues": last.dialogues + rest.dialogues, "key_characters": motivations})
    names = {each.name for each in earlier.plot.key_characters}
    added = [each for each in later.plot.key_characters if each.name not in names]
    earlier.plot = earlier.plot.model_copy(
        update={
            "conversation": conversations + more,
            "summary": f"{earlier.plot.summary} {later.plot.summary}",
            "prominence": max(earlier.plot.prominence, later.plot.prominence),
            "key_characters": [*earlier.plot.key_characters, *added],
        }
    )
    earlier.text = f"{earlier.text}\n{later.text}"
    earlier.open = later.open


def _same_scenario(left: FoundConversation, right: FoundConversation) -> bool:
    return jaccard(left.scenario, right.scenario) >= SAME_PLOT
