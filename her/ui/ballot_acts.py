"""Handlers of the requests about two replies that wait for a vote."""

from itertools import groupby

from her.chat.pairs import cast_vote, go_on, passed_over
from her.chat.service import ChatService
from her.judging.chips import check_vote, why_chips
from her.ui import ballot_requests, patches
from her.ui.answers import ChatPatch, Reasons
from her.ui.request_fields import ChatRequest
from her.ui.words import words


async def vote(service: ChatService, request: ballot_requests.VoteRequest) -> ChatPatch:
    """Store a vote and show what the chat goes on with; answers after the commit."""
    ballot = await service.in_thread(service.store.ballot, request.visitor, request.ballot)
    checked = check_vote(request.vote.of(ballot))
    saved = await service.in_thread(cast_vote, service.store, request.visitor, request.ballot, checked)
    return {**await _shown(service, request, passed_over(ballot, checked)), "saved": saved}


async def skip_or_choose(service: ChatService, request: ballot_requests.GoOnRequest) -> ChatPatch:
    """Go on without a vote for the reply that was chosen."""
    ballot = await service.in_thread(service.store.ballot, request.visitor, request.ballot)
    await service.in_thread(go_on, service.store, request.visitor, request.ballot, request.side)
    return await _shown(service, request, passed_over(ballot, None, request.side))


async def reasons(service: ChatService, request: ballot_requests.ReasonsRequest) -> Reasons:
    """List the principles by their dimension."""
    groups = groupby(why_chips(request.language), key=lambda chip: chip.group)
    return {
        "groups": [
            {"label": label, "chips": [{"id": chip.id, "label": chip.label, "hint": chip.hint} for chip in chips]}
            for label, chips in groups
        ]
    }


async def _shown(service: ChatService, request: ChatRequest, overlooked: bool) -> ChatPatch:
    view = await service.view(request.visitor, request.chat)
    patch = patches.chat_patch(view, viewer=patches.reader_of(view, request.director), interface=request.language)
    return {**patch, "told": words(request.language)["was_planted"]} if overlooked else patch
