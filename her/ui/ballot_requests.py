"""Requests about two replies that wait for a vote."""

from typing import Literal

from her.chat.pairs import Place, PlacedVote
from her.ui.request_fields import ChatRequest, Id, Request


class VoteRequest(ChatRequest):
    """Vote on the two replies of a ballot; `chat` is the one that shows them."""

    act: Literal["vote"]
    ballot: Id
    vote: PlacedVote


class GoOnRequest(ChatRequest):
    """Go on with a reply without a vote for it: skip the ballot, or choose after "both bad"; None skips a repeat."""

    act: Literal["go_on"]
    ballot: Id
    side: Place | None = None


class ReasonsRequest(Request):
    """List the principles that may be named as reasons of a vote."""

    act: Literal["reasons"]
