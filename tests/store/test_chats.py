"""Chats are trees that lose nothing, and no visitor sees another's."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from her.errors import InputError, NotFound, StoreError
from her.store import Seen, Store
from her.types import Part, Turn, new_id
from tests.store.samples import ANNE, BEN, DRAFT, generation, greeted, opened, rating, reply, sql, turn

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def shown(store: Store, chat_id: str, visitor_id: str = ANNE) -> list[str]:
    """Return the texts on the screen."""
    return [node.turn.raw for node in store.path(visitor_id, chat_id)]


def test_a_chat_comes_back_as_it_was_made(store: Store) -> None:
    opening, greeting, other = turn("Night falls.", "Environment"), turn("Who goes there?"), turn("Speak.")
    chat = store.create_conversation(ANNE, DRAFT, [(opening, "opening"), (greeting, "greeting")], [other])
    assert chat == store.conversation(ANNE, chat.id)
    assert {name: getattr(chat, name) for name in type(DRAFT).model_fields} == dict(DRAFT)
    path = store.path(ANNE, chat.id)
    assert [node.turn for node in path] == [opening, greeting]
    assert [(node.swipe_index, node.swipe_count) for node in path] == [(0, 1), (0, 2)]
    assert [node.turn for node in store.siblings(ANNE, chat.id, greeting.id)] == [greeting, other]
    assert {node.origin for node in store.siblings(ANNE, chat.id, greeting.id)} == {"greeting"}


def test_an_empty_chat_takes_a_first_turn(store: Store) -> None:
    chat = store.create_conversation(ANNE, DRAFT)
    assert chat.head_id is None and store.path(ANNE, chat.id) == ()
    node = store.add_turn(ANNE, chat.id, None, turn("Ho!", "Cassio"), "visitor")
    assert store.conversation(ANNE, chat.id).head_id == node.id


def test_a_reply_keeps_its_generation_exactly(store: Store) -> None:
    chat, question = greeted(store)
    record = generation(raw="a\x00b", reasoning="why", error="")
    node = store.add_turn(ANNE, chat.id, question.id, turn("What, man?"), "model", generation=record)
    kept = store.generation(ANNE, chat.id, record.id)
    assert kept == record.model_copy(update={"conversation_id": chat.id, "parent_id": question.id, "node_id": node.id})
    assert kept.prompt_sha256 == record.prompt_sha256 and node.generation_id == record.id
    last = store.path(ANNE, chat.id)[-1]
    assert (last.finish, last.model) == ("stop", "scripted")
    assert store.node(ANNE, chat.id, node.id) == node


def test_a_failure_is_kept_and_the_chat_stays_as_it_was(store: Store) -> None:
    chat, question = greeted(store)
    before = store.path(ANNE, chat.id), store.conversation(ANNE, chat.id)
    fields = {"conversation_id": chat.id, "parent_id": question.id, "error_reason": "timeout", "error": "no answer in 60 s"}
    record = generation("failed", **fields)
    store.record_failure(ANNE, record)
    assert store.generation(ANNE, chat.id, record.id) == record
    assert (store.path(ANNE, chat.id), store.conversation(ANNE, chat.id)) == before


def test_a_generation_is_found_in_its_own_chat_only(store: Store) -> None:
    chat, question = greeted(store)
    other, _ = greeted(store)
    answer = reply(store, question, "one")
    assert store.generation(ANNE, chat.id, str(answer.generation_id)).raw == "one"
    for chat_id, generation_id in ((other.id, str(answer.generation_id)), (chat.id, new_id())):
        with pytest.raises(NotFound, match="there is no record"):
            store.generation(ANNE, chat_id, generation_id)


@pytest.mark.whole
def test_a_head_that_is_gone_shows_nothing(store: Store, tmp_path: Path) -> None:
    """As after a repair of the file by hand."""
    chat, question = greeted(store)
    sql(tmp_path / "her.sqlite3", f"UPDATE nodes SET deleted_at = 1 WHERE id = '{question.id}'")
    assert store.path(ANNE, chat.id) == ()


def test_a_turn_that_fails_halfway_leaves_no_generation(store: Store) -> None:
    chat, question = greeted(store)
    record = generation()
    with pytest.raises(InputError, match="a turn of this id exists already"):
        store.add_turn(ANNE, chat.id, question.id, question.turn, "model", generation=record)
    with pytest.raises(NotFound):
        store.generation(ANNE, chat.id, record.id)
    assert store.conversation(ANNE, chat.id).head_id == question.id


def test_swipes_are_siblings_and_swiping_back_finds_the_continuation(store: Store) -> None:
    chat, question = greeted(store)
    first = reply(store, question, "one")
    after = store.add_turn(ANNE, chat.id, first.id, turn("Go on.", "Cassio"), "visitor")
    second = reply(store, question, "two")
    assert shown(store, chat.id)[-1] == "two"
    assert [(node.swipe_index, node.swipe_count) for node in store.path(ANNE, chat.id)][-1] == (1, 2)
    assert store.leaf_of(ANNE, chat.id, first.id) == after.id and store.leaf_of(ANNE, chat.id, second.id) == second.id
    store.move_head(ANNE, chat.id, after.id)
    assert shown(store, chat.id)[-2:] == ["one", "Go on."]
    unseen = store.add_turn(ANNE, chat.id, question.id, turn("three"), "model", move_head=False)
    assert shown(store, chat.id)[-1] == "Go on."
    assert [node.id for node in store.siblings(ANNE, chat.id, unseen.id)] == [first.id, second.id, unseen.id]


def test_an_edit_is_a_sibling_and_loses_nothing(store: Store) -> None:
    chat, question = greeted(store)
    original = reply(store, question, "What, man?")
    edited = store.add_edit(ANNE, chat.id, original.id, turn("What ho!"))
    assert (edited.origin, edited.edit_of, edited.parent_id) == ("edit", original.id, question.id)
    assert shown(store, chat.id)[-1] == "What ho!"
    own = store.add_edit(ANNE, chat.id, question.id, turn("Good night.", "Cassio"))
    assert shown(store, chat.id) == ["Who goes there?", "Good night."]
    assert store.node(ANNE, chat.id, original.id) == original and own.edit_of == question.id


def test_a_deleted_turn_hides_all_below_it(store: Store) -> None:
    chat, question = greeted(store)
    first = reply(store, question, "one")
    store.add_turn(ANNE, chat.id, first.id, turn("Go on.", "Cassio"), "visitor")
    store.delete_turn(ANNE, chat.id, first.id)
    assert shown(store, chat.id) == ["Who goes there?", "Good evening."]
    with pytest.raises(NotFound):
        store.move_head(ANNE, chat.id, first.id)
    second = reply(store, question, "two")
    third = reply(store, question, "three")
    store.delete_turn(ANNE, chat.id, second.id)
    assert store.conversation(ANNE, chat.id).head_id == third.id, "a head elsewhere stays"


def test_deleting_the_root_leaves_an_empty_chat(store: Store) -> None:
    chat, _ = greeted(store)
    store.delete_turn(ANNE, chat.id, str(chat.head_id))
    assert store.path(ANNE, chat.id) == () and store.conversation(ANNE, chat.id).head_id is None


def test_a_long_chat_is_deleted_from_any_turn(store: Store, tmp_path: Path) -> None:
    turns = [(turn(str(number)), "book") for number in range(1_200)]
    chat = store.create_conversation(ANNE, DRAFT, turns)
    assert len(store.path(ANNE, chat.id)) == 1_200
    store.delete_turn(ANNE, chat.id, turns[3][0].id)
    assert shown(store, chat.id) == ["0", "1", "2"]
    file = tmp_path / "her.sqlite3"
    assert sql(file, "SELECT count(*) FROM nodes WHERE deleted_at IS NULL") == [(3,)]
    assert sql(file, "SELECT count(DISTINCT target_id) FROM tombstones WHERE kind = 'node'") == [(1_197,)]


def test_the_list_of_chats_is_bounded(store: Store, tmp_path: Path) -> None:
    chat, _ = greeted(store)
    columns = 'title, persona_id, language, visitor_name, speaker, scenario, "cast", created_at, updated_at, visitor_id'
    sql(
        tmp_path / "her.sqlite3",
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 250) "
        f"INSERT INTO conversations (id, {columns}) SELECT n, {columns} FROM numbers, conversations WHERE id = '{chat.id}'",
    )
    assert len(store.conversations(ANNE)) == 200 and len(store.conversations(ANNE, 3)) == 3


def test_a_message_whose_reply_was_lost_is_shown_at_the_next_start(store: Store) -> None:
    """It is stored before its reply, without the head; after a kill nobody would see it again."""
    lost, shown = greeted(store), greeted(store)
    message = turn("Are you there?", "Cassio")
    store.add_turn(ANNE, lost[0].id, lost[1].id, message, "visitor", move_head=False)
    store.add_turn(ANNE, shown[0].id, shown[1].id, turn("And you?", "Cassio"), "visitor")
    assert store.path(ANNE, lost[0].id)[-1].id != message.id
    assert (store.show_unanswered(), store.show_unanswered()) == (1, 0)
    assert store.path(ANNE, lost[0].id)[-1].id == message.id


def test_what_was_left_on_purpose_stays_hidden(store: Store) -> None:
    chat, asked = greeted(store)
    first = reply(store, asked, "One.")
    other = reply(store, asked, "Two.")
    store.move_head(ANNE, chat.id, first.id)
    store.add_edit(ANNE, chat.id, first.id, turn("Edited."), move_head=False)  # of the model's turn
    store.delete_turn(
        ANNE, chat.id, store.add_turn(ANNE, chat.id, other.id, turn("Hm.", "Cassio"), "visitor", move_head=False).id
    )
    assert store.show_unanswered() == 0 and store.path(ANNE, chat.id)[-1].id == first.id
    store.add_turn(ANNE, chat.id, first.id, turn("Gone.", "Cassio"), "visitor", move_head=False)
    store.delete_conversation(ANNE, chat.id)
    assert store.show_unanswered() == 0


def test_a_visitor_has_so_many_chats_and_no_more(store: Store) -> None:
    chat, asked = greeted(store)
    with pytest.raises(InputError, match="you have 1 chats and at most 1 are kept"):
        store.create_conversation(ANNE, DRAFT, most=1)
    with pytest.raises(InputError, match="at most 1 are kept"):
        store.branch(ANNE, chat.id, asked.id, most=1)
    store.create_conversation(BEN, DRAFT, most=1)
    store.delete_conversation(ANNE, chat.id)
    store.create_conversation(ANNE, DRAFT, most=1)


def test_a_branch_is_a_copy_with_ids_of_its_own(store: Store) -> None:
    chat, question = greeted(store)
    answer = reply(store, question, "one")
    reply(store, question, "two")
    branch = store.branch(ANNE, chat.id, answer.id)
    copied, source = store.path(ANNE, branch.id), [store.node(ANNE, chat.id, node_id) for node_id in (question.id, answer.id)]
    assert [node.turn.parts for node in copied[1:]] == [node.turn.parts for node in source]
    assert not {node.id for node in copied} & {node.id for node in source}
    assert (branch.branch_of, branch.branch_node, branch.cast) == (chat.id, answer.id, chat.cast)
    assert copied[-1].generation_id == answer.generation_id
    assert store.generation(ANNE, branch.id, str(answer.generation_id)).raw == "one"
    store.delete_turn(ANNE, branch.id, copied[-1].id)
    assert shown(store, chat.id)[-1] == "two"


def test_the_list_shows_the_last_used_first_and_not_the_deleted(store: Store) -> None:
    first, _ = greeted(store)
    second, _ = greeted(store)
    greeted(store, BEN)
    assert {summary.id for summary in store.conversations(ANNE)} == {first.id, second.id}
    store.rename(ANNE, first.id, "Later")
    listed = store.conversations(ANNE)
    assert listed[0].updated_at >= listed[1].updated_at
    assert {(summary.title, summary.turns) for summary in listed} == {("Later", 2), ("On the ramparts", 2)}
    store.delete_conversation(ANNE, second.id)
    assert [summary.id for summary in store.conversations(ANNE)] == [first.id]
    with pytest.raises(NotFound):
        store.path(ANNE, second.id)


Act = Callable[[Store, str, str, str], object]
ACTS: dict[str, Act] = {
    "conversation": lambda store, who, chat, _: store.conversation(who, chat),
    "path": lambda store, who, chat, _: store.path(who, chat),
    "node": lambda store, who, chat, node: store.node(who, chat, node),
    "siblings": lambda store, who, chat, node: store.siblings(who, chat, node),
    "leaf_of": lambda store, who, chat, node: store.leaf_of(who, chat, node),
    "add_turn": lambda store, who, chat, node: store.add_turn(who, chat, node, turn("x"), "visitor"),
    "add_edit": lambda store, who, chat, node: store.add_edit(who, chat, node, turn("x")),
    "failure": lambda store, who, chat, node: store.record_failure(
        who, generation("failed", conversation_id=chat, parent_id=node)
    ),
    "move_head": lambda store, who, chat, node: store.move_head(who, chat, node),
    "rename": lambda store, who, chat, _: store.rename(who, chat, "mine"),
    "delete_turn": lambda store, who, chat, node: store.delete_turn(who, chat, node),
    "delete": lambda store, who, chat, _: store.delete_conversation(who, chat),
    "branch": lambda store, who, chat, node: store.branch(who, chat, node),
    "rate": lambda store, who, chat, node: store.rate(who, chat, node, rating(1)),
    "rate chat": lambda store, who, chat, _: store.rate(who, chat, None, rating(1)),
    "ratings": lambda store, who, chat, _: store.ratings(who, chat),
    "choose": lambda store, who, chat, node: store.add_choice(who, chat, node),
    "choices": lambda store, who, chat, _: store.choices(who, chat),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_anothers_chat_and_no_chat_are_the_same_sentence(store: Store, act: Act) -> None:
    chat, question = greeted(store)
    reply(store, question, "one")
    before = store.conversation(ANNE, chat.id), store.path(ANNE, chat.id)
    store.ensure_visitor(BEN)
    refusals = []
    for who, chat_id in ((BEN, chat.id), (BEN, new_id()), (ANNE, new_id()), (ANNE, "'; DROP TABLE nodes; --\x00\ud800")):
        with pytest.raises(NotFound) as caught:
            act(store, who, chat_id, question.id)
        refusals.append(str(caught.value).replace(repr(chat_id[:40]), "ID"))
    assert set(refusals) == {"there is no chat ID here; choose one from your list"}
    assert before == (store.conversation(ANNE, chat.id), store.path(ANNE, chat.id))


@pytest.mark.parametrize("name", [name for name in ACTS if "node" in ACTS[name].__code__.co_varnames])
def test_a_turn_of_another_chat_is_not_found(store: Store, name: str) -> None:
    chat, _ = greeted(store)
    _, elsewhere = greeted(store)
    with pytest.raises(NotFound, match="there is no turn"):
        ACTS[name](store, ANNE, chat.id, elsewhere.id)


@pytest.mark.parametrize(
    ("text", "sentence"), [("\ud83d", "half a character .* at position 0"), ("a\x00", "NUL character at position 1")]
)
def test_text_that_no_database_can_hold_is_refused(store: Store, text: str, sentence: str) -> None:
    chat, question = greeted(store)
    with pytest.raises(InputError, match=sentence):
        store.rename(ANNE, chat.id, text)
    with pytest.raises(InputError, match=sentence):
        store.add_turn(ANNE, chat.id, question.id, turn("x"), "model", generation=generation(model=text))
    assert store.conversation(ANNE, chat.id).title == "On the ramparts"


def test_half_a_character_in_a_turn_is_refused_and_nothing_is_written(store: Store) -> None:
    chat, question = greeted(store)
    with pytest.raises(InputError, match="send valid Unicode"):
        store.add_turn(ANNE, chat.id, question.id, turn("\ud83d"), "visitor")
    assert store.conversation(ANNE, chat.id).head_id == question.id


def test_a_row_that_was_tampered_with_is_named(store: Store, tmp_path: Path) -> None:
    chat, _ = greeted(store)
    sql(tmp_path / "her.sqlite3", "UPDATE nodes SET turn = '{}'")
    with pytest.raises(StoreError, match="a stored row cannot be read"):
        store.path(ANNE, chat.id)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(speaker=TEXT.filter(bool), texts=st.lists(TEXT, max_size=4), raw=TEXT, comment=TEXT)
def test_any_text_comes_back_byte_for_byte(store: Store, speaker: str, texts: list[str], raw: str, comment: str) -> None:
    given_turn = Turn(speaker=speaker, parts=tuple(Part(kind="speech", text=text) for text in texts), raw=raw)
    chat = store.create_conversation(ANNE, DRAFT, [(given_turn, "book")])
    assert store.path(ANNE, chat.id)[0].turn == given_turn
    opinion = rating(0, comment=comment.replace("\x00", ""), tags=("repeats",), seen=Seen(dwell_ms=1))
    store.rate(ANNE, chat.id, given_turn.id, opinion)
    assert store.ratings(ANNE, chat.id)[given_turn.id].rating == opinion


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_every_tree_has_one_path_and_whole_sets_of_swipes(store: Store, places: list[int]) -> None:
    chat = store.create_conversation(ANNE, DRAFT)
    parents: dict[str, str | None] = {}
    for place in places:  # a root, or below any earlier node
        parent = ([None, *parents])[place % (len(parents) + 1)]
        parents[store.add_turn(ANNE, chat.id, parent, turn("x"), "visitor").id] = parent
    for node_id, parent in parents.items():
        store.move_head(ANNE, chat.id, node_id)
        path = store.path(ANNE, chat.id)
        assert path[-1].id == node_id and [node.parent_id for node in path] == [None, *(node.id for node in path[:-1])]
        siblings = [node.id for node in store.siblings(ANNE, chat.id, node_id)]
        assert siblings == [node for node in parents if parents[node] == parent]
        assert (path[-1].swipe_index, path[-1].swipe_count) == (siblings.index(node_id), len(siblings))
        leaf = store.leaf_of(ANNE, chat.id, node_id)
        assert leaf not in parents.values()
