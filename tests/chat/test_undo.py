"""her/chat/undo.py: a deleted turn or chat comes back for its visitor, and for nobody else."""

import pytest

from her.chat import undo
from her.errors import NotFound
from her.store import Store
from tests.players import ANNE, BERT, Actor, opened, reply, said, service, texts


async def test_a_deleted_turn_comes_back_with_what_was_below_it(store: Store) -> None:
    chats = service(store, Actor(reply("One."), reply("Two.")))
    chat = await opened(chats)
    await said(chats, chat.id, "First.")
    before = await said(chats, chat.id, "Second.")
    question = before.turns[2].turn.id
    assert len((await chats.delete(ANNE, chat.id, question)).turns) == 2
    with pytest.raises(NotFound):
        await undo.restore(chats, BERT, chat.id, question)
    with pytest.raises(NotFound):
        await undo.restore(chats, ANNE, chat.id, before.turns[0].turn.id)
    assert texts(await undo.restore(chats, ANNE, chat.id, question)) == texts(before)
    with pytest.raises(NotFound):
        await undo.restore(chats, ANNE, chat.id, question)


async def test_a_deleted_chat_comes_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    await chats.delete_chat(ANNE, chat.id)
    assert not await chats.chats(ANNE)
    with pytest.raises(NotFound):
        await undo.restore_chat(chats, BERT, chat.id)
    with monkeypatch.context() as patch, pytest.raises(NotFound):
        patch.setattr(undo, "UNDO_SECONDS", -1)
        await undo.restore_chat(chats, ANNE, chat.id)
    assert texts(await undo.restore_chat(chats, ANNE, chat.id)) == texts(before)
    (line,) = await chats.chats(ANNE)
    assert line.last == "nods One."
