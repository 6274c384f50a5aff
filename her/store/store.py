"""Give access to the database by one class, `Store`. It blocks and is thread safe; use anyio.to_thread in async code."""

from her.store.feedback import Feedback
from her.store.playtests import Playtests
from her.store.shown_pairs import ShownPairs
from her.store.undo import Undo
from her.store.votes import Votes


class Store(Playtests, Feedback, Votes, ShownPairs, Undo):
    """Conversations, generations, ratings, choices, edits, votes and missions; `her.store.exports` reads them for the exports."""
