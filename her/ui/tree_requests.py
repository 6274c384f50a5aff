"""Requests about the tree of a chat: steer a turn, go back to another branch, undo a deletion."""

from typing import Literal

from her.kinds import Kind
from her.ui.request_fields import ChatRequest, Count, Text, TurnRequest


class SteerRequest(TurnRequest):
    """Give a plan or a thought of the model's turn another text, and stream what follows from it.

    It is number `place` (from 0) of the turn's parts of this `kind`.
    """

    act: Literal["steer"]
    kind: Kind
    place: Count
    text: Text


class SelectRequest(TurnRequest):
    """Show the path through this turn, with what followed it last."""

    act: Literal["select"]


class RestoreRequest(TurnRequest):
    """Bring a deleted turn back, with what was below it."""

    act: Literal["restore"]


class RestoreChatRequest(ChatRequest):
    """Bring a deleted chat back."""

    act: Literal["restore_chat"]
