"""Rows that the exports read: the rating, edit and choice that count, with their prompts, and nothing that has a tombstone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from her.store import Store
from her.store.exports import chosen_replies, edited_replies, rated_replies, totals
from her.types import Message
from tests.store.samples import ANNE, BEN, DRAFT, PROMPT, generation, greeted, opened, rating, reply, turn


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def test_the_newest_rating_of_each_turn_and_chat_counts(store: Store) -> None:
    chat, question = greeted(store)
    first, second = reply(store, question, "one"), reply(store, question, "two")
    for thumb in (1, -1):
        store.rate(ANNE, chat.id, first.id, rating(thumb))
        store.rate(ANNE, chat.id, None, rating(thumb))
    store.rate(ANNE, chat.id, second.id, rating(1))
    store.rate(ANNE, chat.id, second.id, rating())  # withdrawn
    rows = list(rated_replies(store))
    assert [(row.rated.node_id, row.rated.rating.thumb) for row in rows] == [(None, -1), (first.id, -1)]
    whole, single = rows
    assert whole.reply is None
    assert single.reply is not None and single.reply.node == store.node(ANNE, chat.id, first.id)
    assert (single.persona_id, single.language, single.speaker) == ("iago", "en", "Iago")
    assert single.reply.prompt == PROMPT and not single.reply.edited


def test_ratings_of_one_place_are_neighbours(store: Store) -> None:
    chat, question = greeted(store)
    one = reply(store, question, "one")
    below = store.add_turn(ANNE, chat.id, one.id, turn("Go on.", "Cassio"), "visitor")
    answer = reply(store, below, "answer")
    two = reply(store, question, "two")
    other, bens_line = greeted(store, BEN)
    bens = reply(store, bens_line, "bens", visitor_id=BEN)
    for node in (one, answer, two):
        store.rate(ANNE, chat.id, node.id, rating(1))
    store.rate(BEN, other.id, bens.id, rating(1))
    order = [row.rated.node_id for row in rated_replies(store)]
    assert abs(order.index(one.id) - order.index(two.id)) == 1
    assert order.index(one.id) < order.index(two.id) and order[-1] == bens.id


def test_a_written_turn_has_no_prompt(store: Store) -> None:
    chat, _ = greeted(store)
    store.rate(ANNE, chat.id, chat.head_id, rating(1))
    (row,) = rated_replies(store)
    assert row.reply is not None and row.reply.generation is None and row.reply.prompt == ()


def test_an_edit_has_the_prompt_of_the_turn_that_it_was_made_from(store: Store) -> None:
    chat, question = greeted(store)
    original = reply(store, question, "What, man?")
    edited = store.add_edit(ANNE, chat.id, original.id, turn("What ho!"))
    again = store.add_edit(ANNE, chat.id, edited.id, turn("What ho, man!"))
    store.add_edit(ANNE, chat.id, question.id, turn("Good night.", "Cassio"))  # the visitor's own line teaches nothing
    rows = list(edited_replies(store))
    assert [(row.original.node.id, row.edited.node.id) for row in rows] == [(original.id, edited.id), (edited.id, again.id)]
    assert all(row.edited.prompt == row.original.prompt == PROMPT for row in rows)
    assert [row.original.edited for row in rows] == [False, True] and all(row.edited.edited for row in rows)
    assert {(row.visitor_id, row.conversation_id, row.persona_id) for row in rows} == {(ANNE, chat.id, "iago")}
    assert len({row.id for row in rows}) == 2 and rows[0].created_at <= rows[1].created_at


def test_the_last_choice_of_a_place_counts_without_deleted_alternatives(store: Store) -> None:
    chat, question = greeted(store)
    one, two, three = (reply(store, question, text) for text in ("one", "two", "three"))
    store.add_choice(ANNE, chat.id, one.id)
    last = store.add_choice(ANNE, chat.id, two.id)
    store.delete_turn(ANNE, chat.id, three.id)
    (row,) = chosen_replies(store)
    assert (row.choice, row.persona_id, row.chosen.node.id) == (last, "iago", two.id)
    assert [each.node.id for each in row.alternatives] == [one.id]
    below = store.add_turn(ANNE, chat.id, two.id, turn("Go on.", "Cassio"), "visitor")
    fourth, fifth = reply(store, below, "four"), reply(store, below, "five")
    store.add_choice(ANNE, chat.id, fifth.id)
    assert [each.chosen.node.id for each in chosen_replies(store)] == [two.id, fifth.id], "each place, oldest first"
    store.delete_turn(ANNE, chat.id, fifth.id)
    assert [each.chosen.node.id for each in chosen_replies(store)] == [two.id] and fourth.id


def everything(store: Store) -> tuple[int, int, int]:
    """Return the numbers of exported ratings, edits and choices."""
    return len(list(rated_replies(store))), len(list(edited_replies(store))), len(list(chosen_replies(store)))


@pytest.mark.parametrize("withdrawn", ["visitor", "conversation", "turn", "rating", "edited", "nothing"])
def test_what_has_a_tombstone_is_left_out(store: Store, withdrawn: str) -> None:
    for visitor in (ANNE, BEN):
        chat, question = greeted(store, visitor)
        answer, other = (reply(store, question, text, visitor_id=visitor) for text in ("a", "b"))
        store.rate(visitor, chat.id, answer.id, rating(1))
        store.rate(visitor, chat.id, None, rating(1))
        store.add_choice(visitor, chat.id, answer.id)
        edited = store.add_edit(visitor, chat.id, answer.id, turn("c"))
    assert everything(store) == (4, 2, 2)
    if withdrawn == "visitor":
        store.withdraw_visitor(BEN)
        left = (2, 1, 1)
    elif withdrawn == "conversation":
        store.delete_conversation(BEN, chat.id)
        left = (2, 1, 1)
    elif withdrawn == "turn":
        store.delete_turn(BEN, chat.id, answer.id)
        left = (3, 1, 1)
    elif withdrawn == "rating":
        store.withdraw_rating(BEN, store.ratings(BEN, chat.id)[answer.id].id)
        left = (3, 2, 2)
    elif withdrawn == "edited":
        store.delete_turn(BEN, chat.id, edited.id)
        left = (4, 1, 2)
    else:
        store.delete_turn(BEN, chat.id, other.id)
        left = (4, 2, 2)
    assert everything(store) == left


def test_the_totals(store: Store) -> None:
    assert totals(store) == {"visitors": 0, "conversations": 0, "turns": 0, "generations": {}, "rating_rows": 0}
    chat, question = greeted(store)
    answer = reply(store, question, "a")
    reply(store, question, "b", "length")
    for thumb in (1, -1):
        store.rate(ANNE, chat.id, answer.id, rating(thumb))
    failed = generation("failed", conversation_id=chat.id, parent_id=question.id, error_reason="timeout", error="late")
    store.record_failure(ANNE, failed)
    store.create_conversation(BEN, DRAFT)
    counts = {"failed": 1, "length": 1, "stop": 1}
    assert totals(store) == {"visitors": 2, "conversations": 2, "turns": 4, "generations": counts, "rating_rows": 2}
    store.delete_turn(ANNE, chat.id, answer.id)
    assert totals(store)["turns"] == 3
    store.withdraw_visitor(ANNE)
    assert totals(store) == {"visitors": 1, "conversations": 1, "turns": 0, "generations": {}, "rating_rows": 0}


def test_the_prompt_of_a_continued_reply_has_no_beginning_of_it(store: Store) -> None:
    chat, question = greeted(store)
    begun = reply(store, question, "And then", "length")
    record = generation(prompt=(*PROMPT, Message(role="assistant", content="Iago: And then")))
    extra = {"generation": record, "edit_of": begun.id}
    longer = store.add_turn(ANNE, chat.id, question.id, turn("And then I left."), "continue", **extra)
    store.rate(ANNE, chat.id, longer.id, rating(1))
    (row,) = rated_replies(store)
    assert row.reply is not None and row.reply.prompt == PROMPT and row.reply.generation is not None
    assert row.reply.generation.messages == record.messages
