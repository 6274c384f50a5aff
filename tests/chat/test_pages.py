"""her/chat/pages.py: the path, the budget of a prompt, and the token meter."""

import pytest

from her.backends.base import Description
from her.chat.pages import fitted, read_meter, read_page
from her.errors import NotFound
from her.store import Store
from her.types import Sampling
from tests.players import ANNE, Actor, opened, reply, said, service


@pytest.mark.parametrize(
    ("wanted", "context", "most", "budget"),
    [
        (2_048, 8_192, 2_048, 6_144),
        (2_048, 4_096, 2_048, 2_048),
        (2_048, 4_095, 2_047, 2_048),
        (2_048, 1_000, 500, 500),
        (400, 1_000, 400, 600),
        (1, 8_192, 1, 8_191),
        (2_048, 1, 1, 0),
    ],
)
def test_a_reply_gets_at_most_half_of_the_context(wanted: int, context: int, most: int, budget: int) -> None:
    description = Description(spec="actor:", model="actor", context=context)
    sampling, rest = fitted(Sampling(max_tokens=wanted, temperature=0.3), description)
    assert (sampling, rest) == (Sampling(max_tokens=most, temperature=0.3), budget)


@pytest.mark.whole
async def test_a_short_context_is_shared_by_prompt_and_reply(store: Store) -> None:
    actor = Actor(reply("One."), context=1_200)
    chats = service(store, actor)
    chat = await opened(chats)
    for _ in range(12):
        view = await said(chats, chat.id, "more " * 20)
    assert {sampling.max_tokens for sampling in actor.samplings} == {600}
    assert max(map(actor.count_tokens, actor.sent)) <= view.meter.budget == 600 and view.meter.dropped > 0


async def test_a_chat_too_long_for_the_model_is_still_shown_with_its_meter(store: Store) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    view = await said(chats, chat.id, "word " * 1_000)
    page = read_page(store, ANNE, chat.id)
    small = Actor(context=200)
    meter = read_meter(page, small, Sampling())
    assert meter.budget == 100 and meter.tokens > 1_000 and meter.dropped == 0 and not meter.exact
    assert page.turns == tuple(shown.turn for shown in view.turns)


async def test_nodes_of_the_path(store: Store) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    page = read_page(store, ANNE, (await said(chats, chat.id)).id)
    assert [page.mine(node) for node in page.path] == [False, False, True, False]
    assert [page.played(node) for node in page.path] == [False, True, False, True]
    assert page.before(page.path[2].id) == page.turns[:2]
    with pytest.raises(NotFound, match="'gone' is not shown in this chat"):
        page.shown("gone")
