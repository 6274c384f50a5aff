"""Give access to the database by one class, `Store`. It blocks and is thread safe; use anyio.to_thread in async code."""

from her.store.chats import Chats
from her.store.feedback import Feedback


class Store(Chats, Feedback):
    """Conversations, generations, ratings, choices and edits; `her.store.exports` reads them for the exports."""
