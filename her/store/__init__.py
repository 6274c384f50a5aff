"""The only SQL in the house: chats as trees, generations as they were, ratings that are only ever added to."""

from her.store.records import (
    Choice,
    Conversation,
    Draft,
    Finish,
    Generation,
    Node,
    Origin,
    PathNode,
    Rated,
    Rating,
    Seen,
    Summary,
)
from her.store.store import Store

__all__ = [
    "Choice",
    "Conversation",
    "Draft",
    "Finish",
    "Generation",
    "Node",
    "Origin",
    "PathNode",
    "Rated",
    "Rating",
    "Seen",
    "Store",
    "Summary",
]
