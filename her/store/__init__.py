"""Store chats as trees, generations as they were sent and received, and ratings, to which rows are only added.

No other package uses SQL.
"""

from her.store.mission_records import Assignment, MissionProgress
from her.store.records import (
    Ballot,
    Choice,
    Conversation,
    Draft,
    Ensemble,
    Finish,
    Generation,
    Node,
    Origin,
    PathNode,
    Rated,
    Rating,
    Rewritten,
    Seen,
    ShownArm,
    Summary,
    Vote,
    Voted,
)
from her.store.shown_pairs import PairSide, ShownPair
from her.store.store import Store

__all__ = [
    "Assignment",
    "Ballot",
    "Choice",
    "Conversation",
    "Draft",
    "Ensemble",
    "Finish",
    "Generation",
    "MissionProgress",
    "Node",
    "Origin",
    "PathNode",
    "Rated",
    "Rating",
    "PairSide",
    "Rewritten",
    "Seen",
    "ShownArm",
    "ShownPair",
    "Store",
    "Summary",
    "Vote",
    "Voted",
]
