"""Undo a deletion: a turn or a chat comes back, here and in exports, as long as its visitor asks within UNDO_SECONDS."""

from her.chat.pages import Page
from her.chat.service import ChatService
from her.chat.views import ChatView

UNDO_SECONDS = 3_600
"""How long a deletion can be undone; after it nothing brings the words back."""


async def restore(service: ChatService, visitor: str, chat: str, node: str) -> ChatView:
    """Bring a deleted turn back with what was deleted with it, and show it.

    Raises:
        NotFound: no turn of this id was deleted by the visitor within UNDO_SECONDS.
        InputError: a turn above it is deleted as well.
    """

    def change(_: Page) -> None:
        service.store.restore_turn(visitor, chat, node, UNDO_SECONDS)
        service.store.move_head(visitor, chat, service.store.leaf_of(visitor, chat, node))

    return await service.change(visitor, chat, change)


async def restore_chat(service: ChatService, visitor: str, chat: str) -> ChatView:
    """Bring a deleted chat back; NotFound when the visitor deleted none of this id within UNDO_SECONDS."""
    await service.in_thread(service.store.restore_conversation, visitor, chat, UNDO_SECONDS)
    return await service.view(visitor, chat)
