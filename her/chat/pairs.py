"""Two replies that wait for a vote: what is shown of them, the vote, and what the chat goes on with."""

from typing import Literal

from her.chat.comparisons import Comparing, Draw
from her.chat.pages import Page, read_page
from her.chat.running_pair import shared_kinds
from her.chat.views import BallotView, Sides
from her.errors import InputError
from her.store import Ballot, Seen, ShownPair, Store, Vote
from her.store.records import Remark, Side, VoteId
from her.types import Outcome, Value

Place = Literal["first", "second"]
"""Where a reply is shown; the page knows no other name of it."""


class PlacedVote(Value):
    """A vote as the page sends it: about the replies by their places.

    Args:
        id: made by the page, so that a request sent again is the same vote.
        winner: the better one, or neither.
        dimensions: winner by dimension of the rubric.
        why: ids of principles that decided it.
        comment: the person's own words.
        seen: what they saw of the first and of the second.
    """

    id: VoteId
    winner: Literal["first", "second", "tie", "both_bad"]
    dimensions: dict[str, Literal["first", "second", "tie"]] = {}
    why: tuple[str, ...] = ()
    comment: Remark = ""
    seen: tuple[Seen, Seen] = (Seen(), Seen())

    def of(self, ballot: Ballot) -> Vote:
        """Return the vote about the candidates a and b of a ballot."""
        second: Side = "b" if ballot.first == "a" else "a"
        names: dict[str, Outcome] = {"first": ballot.first, "second": second, "tie": "tie", "both_bad": "both_bad"}
        return Vote.model_validate(
            {
                **self.model_dump(include={"id", "why", "comment"}),
                "winner": names[self.winner],
                "dimensions": {name: names[winner] for name, winner in self.dimensions.items()},
                "seen": self.seen if ballot.first == "a" else self.seen[::-1],
            }
        )


def cast_vote(store: Store, visitor: str, ballot_id: str, vote: Vote) -> int:
    """Store a checked vote, and go on with the winner; returns the time of the commit (UTC, ms).

    Raises:
        InputError: the ballot has another vote.
        NotFound: this visitor was not asked.
    """
    return store.vote(visitor, ballot_id, vote, go_on=True)


def go_on(store: Store, visitor: str, ballot_id: str, place: Place | None) -> None:
    """Go on with a reply without a vote for it; None skips a pair that is shown once more, of which no chat goes on.

    Raises:
        InputError: the chat has gone on, the ballot has a vote, or `place` is missing or too much.
        NotFound: this visitor was not asked.
    """
    ballot = store.ballot(visitor, ballot_id)
    if (place is None) != (ballot.repeat_of is not None):
        raise InputError("choose the reply that the chat goes on with; only a pair that is shown again has none")
    second: Side = "b" if ballot.first == "a" else "a"
    store.go_on(visitor, ballot_id, None if place is None else ballot.first if place == "first" else second)


def passed_over(ballot: Ballot, vote: Vote | None, place: Place | None = None) -> bool:
    """Tell whether a check was overlooked: the chat goes on with the other reply, since this one was planted."""
    if ballot.worse is None or ballot.repeat_of is not None:
        return False
    if vote is not None and vote.winner != "both_bad":
        return vote.winner == ballot.worse or (vote.winner == "tie" and ballot.first == ballot.worse)
    return place is not None and (ballot.first == ballot.worse) == (place == "first")


def read_ballot(store: Store, page: Page, repeats: bool) -> BallotView | None:
    """Return the two replies that wait in this chat; with `repeats`, else those that are shown once more."""
    chat = page.conversation
    if pair := _waiting(store, page):
        return _ballot_view(pair, page)
    again = store.waiting_repeat(chat.visitor_id) if repeats and chat.ensemble is None else None
    if again is None:
        return None
    other = page if again.ballot.conversation_id == chat.id else read_page(store, chat.visitor_id, again.ballot.conversation_id)
    return _ballot_view(again, other)


def read_decided(store: Store, visitor: str, chat: str, *, anew: bool = False) -> Page:
    """Return the page of a chat that may go on.

    Args:
        anew: a new reply is asked for, which is allowed once both were found bad.

    Raises:
        InputError: two replies wait for a vote, or for the choice of one.
    """
    page = read_page(store, visitor, chat)
    if pair := _waiting(store, page):
        if pair.vote is None:
            raise InputError("two replies wait for your vote; vote or skip, then go on")
        if not anew:
            raise InputError("choose the reply to go on with, or ask for a new one")
    return page


def others_of(store: Store, page: Page) -> int:
    """Return how many replies wait in place of the one that is asked for."""
    return 2 if _waiting(store, page) else 0


def drawn(store: Store, page: Page, comparing: Comparing) -> Draw | None:
    """Return the comparison that the next reply is; None for an ordinary one.

    A repeat is stored here, and shown when the ordinary reply is over. Without an earlier ballot to repeat it is a comparison.
    """
    draw, visitor = comparing.draw(page), page.conversation.visitor_id
    if draw is None or draw.kind != "repeat":
        return draw
    if store.waiting_repeat(visitor) is not None:
        return None
    if (ballot := store.repeatable(visitor)) is None:
        return draw._replace(kind="pair")
    store.repeat_ballot(visitor, ballot)
    return None


def _waiting(store: Store, page: Page) -> ShownPair | None:
    if page.path and page.played(page.path[-1]):
        return None  # it has gone on; saves the question to the database
    return store.waiting_pair(page.conversation.visitor_id, page.conversation.id)


def _ballot_view(pair: ShownPair, page: Page) -> BallotView:
    kinds = shared_kinds(pair.ballot.arms)
    first, second = (tuple(part for part in node.turn.parts if part.kind in kinds) for node in pair.sides)
    sides: Sides = (first, second)
    repeat = pair.ballot.repeat_of is not None
    return BallotView(
        id=pair.ballot.id,
        state="vote" if pair.vote is None else "choice",
        repeat=repeat,
        language=page.conversation.language,
        speaker=pair.sides[0].turn.speaker,
        sides=sides,
        question=pair.above.turn if repeat and pair.above else None,
    )
