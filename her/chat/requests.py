"""What a visitor's wish asks of the model: prompt, place in the tree, sampling. Synchronous; called in a thread."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from her import view
from her.backends.base import Backend
from her.chat.generation import Order
from her.chat.openings import clean_message
from her.chat.pages import Page, fitted
from her.errors import InputError
from her.format import normalise, parse, plain_turn, render
from her.store import PathNode
from her.types import Message, Sampling, Turn, Value


class ChatLimits(Value):
    """What one visitor may ask for. Characters are Python's; `max_turns` counts the shown path."""

    max_message_chars: int = 20_000
    max_turns: int = 5_000
    max_live_per_visitor: int = 3
    max_reply_seconds: float = 600


@dataclass(frozen=True)
class Orders:
    """Makes orders for one chat as it stands now. Every method raises InputError for what cannot be asked."""

    page: Page
    backend: Backend
    sampling: Sampling
    limits: ChatLimits

    def send(self, text: str) -> Order:
        """Answer a message said at the end of the path."""
        return self._question(text, self.page.turns, self.page.conversation.head_id)

    def answer(self) -> Order:
        """Play the next turn, whoever spoke last."""
        return self._order(self.page.turns, self.page.conversation.head_id)

    def regenerate(self, node_id: str) -> Order:
        """Another reply beside a shown turn of the model's."""
        old = played_node(self.page, node_id)
        return self._order(self.page.before(old.id), old.parent_id, replaces=old.id, swipes=old.swipe_count)

    def edit_own(self, node_id: str, text: str) -> Order:
        """Answer what the visitor says in place of an earlier turn of theirs."""
        old = self.page.shown(node_id)
        if not self.page.mine(old):
            raise InputError("this turn is not yours to say again; edit one of your own")
        return self._question(text, self.page.before(old.id), old.parent_id, edit_of=old.id)

    def continue_(self) -> Order:
        """Go on with the last turn."""
        page = self.page
        if not page.path or not page.played(page.path[-1]):
            raise InputError("there is nothing to go on with: the last turn is not the model's; say something instead")
        node = page.path[-1]
        base, reasoning = unfinished(node)
        own = self.backend.count_tokens((Message(role="assistant", content=base.raw),))
        so_far, sampling = self._prompt(page.before(node.id), reserved=own)
        return Order(
            page=page,
            backend=self.backend,
            sampling=sampling,
            prompt=view.continuation(so_far, base),
            parent_id=node.parent_id,
            replaces=node.id,
            base=base,
            reasoning=reasoning,
        )

    def _question(self, text: str, before: Sequence[Turn], parent_id: str | None, edit_of: str | None = None) -> Order:
        message = clean_message(text, self.limits.max_message_chars)
        question = plain_turn(self.page.conversation.visitor_name, message)
        order = self._order((*before, question), question.id)
        return order.asked(question, parent_id, edit_of)

    def _order(self, turns: Sequence[Turn], parent_id: str | None, *, replaces: str | None = None, swipes: int = 0) -> Order:
        prompt, sampling = self._prompt(turns)
        return Order(
            page=self.page,
            backend=self.backend,
            sampling=self._varied(sampling, swipes),
            prompt=prompt,
            parent_id=parent_id,
            replaces=replaces,
        )

    def _prompt(self, turns: Sequence[Turn], reserved: int = 0) -> tuple[view.Prompt, Sampling]:
        """The messages that ask for the turn after `turns`; `reserved` tokens are kept free for a turn begun."""
        if len(turns) > self.limits.max_turns:
            most = self.limits.max_turns
            raise InputError(f"this chat has {len(turns):,} turns; at most {most:,} are taken, start a new one")
        sampling, budget = fitted(self.sampling, self.backend.describe())
        transcript, speaker = self.page.transcript(turns), self.page.conversation.speaker
        return view.prompt(transcript, speaker, budget - reserved, self.backend.count_tokens), sampling

    def _varied(self, sampling: Sampling, swipes: int) -> Sampling:
        """Another seed for every swipe, so that asking again gives another reply; repeatable where a seed was chosen."""
        if not swipes:
            return sampling
        if sampling.seed is None and not self.backend.describe().scripted:
            return sampling.model_copy(update={"seed": secrets.randbits(31)})
        return sampling.model_copy(update={"seed": (sampling.seed or 0) + swipes})  # written lines are numbered


def played_node(page: Page, node_id: str) -> PathNode:
    """The shown turn, which must be one the model plays; NotFound when it is not shown."""
    node = page.shown(node_id)
    if not page.played(node):
        raise InputError("this turn is not the model's; choose one that it played")
    return node


def unfinished(node: PathNode) -> tuple[Turn, str]:
    """A turn as the model is to go on with it, and the native reasoning it came with.

    The model's own words go back byte for byte. A written, edited or cut turn goes back in the canonical form.
    """
    turn = node.turn
    cut = any(defect.name == "other_speaker" for defect in turn.defects)
    if node.origin not in ("model", "continue") or cut:
        return turn.model_copy(update={"raw": render(turn.parts, turn.speaker)}), ""
    plan = turn.text("system_thinking")
    written = parse(turn.raw, turn.speaker).text("system_thinking")
    return turn, plan if plan != written else ""


def rewritten(old: Turn, wording: str) -> Turn | None:
    """The turn that a person made of `old` in either notation, None when it says the same.

    A text without a plan keeps the old one, so that what teaches from the edit compares the visible parts alone.

    Raises:
        InputError: nothing of it could be seen.
    """
    turn = parse(wording, old.speaker)
    if not any(part.kind != "system_thinking" for part in turn.parts):
        raise InputError("the edit leaves nothing to be seen; write speech, an act or a thought")
    if not any(part.kind == "system_thinking" for part in turn.parts):
        plan = tuple(part for part in old.parts if part.kind == "system_thinking")
        defects = tuple(defect for defect in turn.defects if not (plan and defect.name == "plan_missing"))
        turn = turn.model_copy(update={"parts": plan + turn.parts, "defects": defects})
    same = normalise(turn.parts, turn.speaker) == normalise(old.parts, old.speaker)
    return None if same else turn
