"""The one door to the database: `Store`. Synchronous and thread safe; async callers go through anyio.to_thread."""

from her.store.chats import Chats
from her.store.feedback import Feedback


class Store(Chats, Feedback):
    """Conversations, generations, ratings, choices and edits; exports read it through `her.store.exports`."""
