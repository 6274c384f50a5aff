"""A chat read from the store: its path, transcript, token meter and view. Synchronous; called in a thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from her import view
from her.backends.base import Backend, Description
from her.characters.coser import BookScene
from her.chat.views import BallotView, ChatSummary, ChatView, Meter, Replay, TurnView
from her.errors import InputError, NotFound
from her.kinds import VISIBLE_KINDS
from her.store import Choice, Conversation, PathNode, Rated, Store
from her.store.stand_ins import stand_in
from her.types import ENVIRONMENT, CastMember, Persona, Sampling, Transcript, Turn

RATED = ("greeting", "model", "edit", "continue", "steer")
"""Origins of turns that may be rated."""
LAST_LETTERS = 160
"""Letters of a chat's last turn that the list of chats shows."""
DEFAULT_COLOUR = "#5b4a6b"
COLOURS = ("#5b4a6b", "#2f5d62", "#8a4b38", "#3d5a80", "#6b6427", "#7a3558")
"""Colours of characters without a persona: white letters on each pass WCAG AA."""


@dataclass(frozen=True)
class Page:
    """A chat and the nodes of its shown path, root first."""

    conversation: Conversation
    path: tuple[PathNode, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Turns of the shown path."""
        return tuple(node.turn for node in self.path)

    def transcript(self, turns: Sequence[Turn] | None = None) -> Transcript:
        """Return a transcript of this chat with these turns; default the shown ones."""
        chat, shown = self.conversation, self.turns if turns is None else tuple(turns)
        return Transcript(id=chat.id, scenario=chat.scenario, cast=chat.cast, turns=shown)

    def nameless(self) -> Transcript:
        """Return the transcript with a word in place of the visitor's own name, as training gets it: ShareGPT is for trainers."""
        chat = self.conversation
        name = stand_in(chat.visitor_name, chat.cast, chat.scenario, chat.language)
        return name.transcript(self.transcript()) if name else self.transcript()

    def before(self, node_id: str) -> tuple[Turn, ...]:
        """Return the shown turns above a node of the path."""
        index = self.path.index(self.shown(node_id))
        return self.turns[:index]

    def shown(self, node_id: str) -> PathNode:
        """Return a node of the path; NotFound when it is not shown now."""
        for node in self.path:
            if node.id == node_id:
                return node
        raise NotFound(f"the turn {node_id[:40]!r} is not shown in this chat; reload the page")

    def mine(self, node: PathNode) -> bool:
        """Tell whether the visitor wrote this turn."""
        return node.origin in ("visitor", "edit") and node.turn.speaker == self.conversation.visitor_name

    def next_after(self, turns: Sequence[Turn]) -> str:
        """Return whose prompt the token meter measures: the character of the chat; in a scene whoever of them spoke last."""
        if self.conversation.ensemble is None:
            return self.conversation.speaker
        played = (turn.speaker for turn in reversed(turns) if self.conversation.plays(turn.speaker))
        return next((name for name in played if name != ENVIRONMENT), self.conversation.speaker)

    def played(self, node: PathNode) -> bool:
        """Tell whether this turn is the model's: generated, a written greeting, or rewritten by the visitor."""
        return node.origin not in ("book", "opening", "visitor") and self.conversation.plays(node.turn.speaker)


def read_page(store: Store, visitor: str, chat: str) -> Page:
    """Read a chat from disk; NotFound when it does not belong to this visitor."""
    return Page(store.conversation(visitor, chat), store.path(visitor, chat))


def read_list(store: Store, visitor: str, personas: Mapping[str, Persona]) -> list[ChatSummary]:
    """Return the visitor's chats, the last used first; those with a persona in its colour."""
    return [
        ChatSummary(
            id=row.id,
            title=row.title,
            speaker=row.speaker,
            language=row.language,
            turns=row.turns,
            updated_at=row.updated_at,
            colour=personas[row.persona_id].colour if row.persona_id in personas else DEFAULT_COLOUR,
            last=row.last.text(*VISIBLE_KINDS)[:LAST_LETTERS] if row.last else "",
        )
        for row in store.conversations(visitor)
    ]


def fitted(sampling: Sampling, description: Description) -> tuple[Sampling, int]:
    """Fit a call into the model's context: return the sampling and the budget of the prompt (tokens).

    The reply gets at most half of the context, so that a short context still has room for persona, scene and last message.
    """
    most = max(1, min(sampling.max_tokens, description.context // 2))
    return sampling.model_copy(update={"max_tokens": most}), description.context - most


def read_meter(page: Page, backend: Backend, sampling: Sampling) -> Meter:
    """Measure how full the context is with the turns that are shown now."""
    description = backend.describe()
    _, budget = fitted(sampling, description)
    transcript, speaker = page.transcript(), page.next_after(page.turns)
    try:
        prompt = view.prompt(transcript, speaker, budget, backend.count_tokens)
    except InputError:  # too long for this model; the chat is shown all the same, and the next message gets the error
        messages = view.messages(transcript, speaker)
        prompt = view.Prompt(messages=messages, tokens=backend.count_tokens(messages), budget=budget)
    return meter_of(prompt, description)


def meter_of(prompt: view.Prompt, description: Description) -> Meter:
    """Return the meter of a prompt."""
    return Meter(
        tokens=prompt.tokens,
        budget=prompt.budget,
        context=description.context,
        exact=description.counts_exactly,
        dropped=len(prompt.dropped),
    )


def read_view(
    store: Store,
    page: Page,
    *,
    meter: Meter,
    live: bool,
    personas: Mapping[str, Persona],
    scenes: Mapping[str, BookScene],
    ballot: BallotView | None = None,
) -> ChatView:
    """Return the page as its visitor sees it.

    Args:
        store: where ratings and choices are read from.
        page: the chat.
        meter: its token meter.
        live: whether a reply is being written.
        personas: by id.
        scenes: scenes of the open books, by scenario id.
        ballot: two replies that wait for a vote.
    """
    chat = page.conversation
    ratings = store.ratings(chat.visitor_id, chat.id)
    characters = store.character_ratings(chat.visitor_id, chat.id) if chat.ensemble else {}
    choices = store.choices(chat.visitor_id, chat.id)
    persona, scene = personas.get(chat.persona_id), scenes.get(chat.scenario.id)
    return ChatView(
        id=chat.id,
        title=chat.title,
        language=chat.language,
        speaker=chat.speaker,
        visitor_name=chat.visitor_name,
        persona_id=chat.persona_id,
        colour=persona.colour if persona else DEFAULT_COLOUR,
        scenario=chat.scenario,
        cast=chat.cast,
        ensemble=chat.ensemble,
        absent=tuple(sorted(view.absent(page.transcript()))) if chat.ensemble else (),
        colours=cast_colours(chat.cast, personas) if chat.ensemble else (),
        characters=characters,
        turns=tuple(_turn_view(page, node, choices.get(node.parent_id), ratings.get(node.id)) for node in page.path),
        live=live,
        meter=meter,
        replay=Replay(shown=replayed(page), total=len(scene.turns)) if scene else None,
        rating=ratings.get(None),
        ballot=ballot,
    )


def cast_colours(cast: Sequence[CastMember], personas: Mapping[str, Persona]) -> tuple[str, ...]:
    """Return the colour of each character: that of the persona, else one of COLOURS by the place in the cast."""
    return tuple(
        personas[member.persona].colour if member.persona in personas else COLOURS[place % len(COLOURS)]
        for place, member in enumerate(cast)
    )


def replayed(page: Page) -> int:
    """Count the turns of the book that are shown."""
    return sum(node.origin == "book" for node in page.path)


def _turn_view(page: Page, node: PathNode, choice: Choice | None, rating: Rated | None) -> TurnView:
    return TurnView(
        turn=node.turn,
        origin=node.origin,
        mine=page.mine(node),
        swipe_index=node.swipe_index,
        swipe_count=node.swipe_count,
        kept=choice is not None and choice.chosen_id == node.id,
        edited=node.edit_of is not None,
        stopped=node.finish == "stopped",
        truncated=node.finish == "length",
        model=node.model,
        rating=rating,
    )
