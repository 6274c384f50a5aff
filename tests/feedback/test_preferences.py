"""her/feedback/preferences.py: ratings, edits and choices become training data; withdrawn ones do not."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from her.feedback.export import Exported, ExportFormat, export
from her.feedback.preferences import preferences, stats, well_rated
from her.feedback.rubric import RUBRIC
from her.feedback.votes import rater
from her.files.jsonl import read, write
from her.format import render
from her.store import Node, Rating, Store
from her.types import Message, Part, Preference, Turn
from tests.store.samples import ANNE, BEN, DRAFT, PROMPT, SEEN, SHUT, generation, greeted, opened, rating, reply, turn

PROMPT_ROWS = [{"role": message.role, "content": message.content} for message in PROMPT]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def exported(store: Store, format: ExportFormat) -> tuple[list[dict[str, Any]], Exported]:
    """Return the rows of an export and its summary."""
    lines: list[str] = []
    summary = export(store, format, lines.append)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines) and summary.written == len(lines)
    return [json.loads(line) for line in lines], summary


def rate(store: Store, node: Node, opinion: Rating, visitor_id: str = ANNE) -> None:
    store.rate(visitor_id, node.conversation_id, node.id, opinion)


def shown(preference: Preference) -> tuple[str, str, str]:
    return preference.chosen.text("speech"), preference.rejected.text("speech"), preference.verdict.reason


def test_a_rating_exports_with_all_that_it_refers_to(store: Store) -> None:
    chat, asked = greeted(store)
    answer = reply(store, asked, "What, man? 你好", plan="Tempt him.")
    rate(store, answer, rating(1, {"voice": 5}, tags=("lovely_line",), comment="好", seen=SEEN))
    store.rate(ANNE, chat.id, None, rating(stars={"engaging": 4}))
    whole, turned = sorted(exported(store, "jsonl")[0], key=lambda row: row["turn"] is not None)
    assert turned["conversation_id"] == chat.id and turned["rater"] == rater(ANNE)
    assert Turn.model_validate_json(json.dumps(turned["turn"])) == answer.turn
    assert turned["rating"] == {"thumb": 1, "stars": {"voice": 5}, "tags": ["lovely_line"], "comment": "好"}
    assert turned["seen"] == SEEN.model_dump(mode="json") and turned["rubric"] == RUBRIC.version
    assert (turned["model"], turned["finish"], turned["prompt"]) == ("scripted", "stop", PROMPT_ROWS)
    assert whole["turn"] is None and whole["rating"]["stars"] == {"engaging": 4} and whole["prompt"] == []


def test_a_rated_greeting_is_in_the_record_and_in_no_training_file(store: Store) -> None:
    chat, _ = greeted(store)
    store.rate(ANNE, chat.id, chat.head_id, rating(1))
    assert exported(store, "jsonl")[0][0]["origin"] == "greeting"
    assert exported(store, "sft") == ([], Exported(written=0, left_out={"no model wrote it": 1}))


@pytest.mark.parametrize(
    ("opinion", "good"),
    [
        (rating(1), True),
        (rating(1, {"voice": 1}), True),
        (rating(0), False),
        (rating(-1, {"voice": 5}), False),
        (rating(stars={"voice": 4}), True),
        (rating(stars={"voice": 5, "engaging": 2}), False),
        (rating(comment="good"), False),
    ],
)
def test_what_counts_as_well_rated(opinion: Rating, good: bool) -> None:
    assert well_rated(opinion) is good


def test_sft_has_the_exact_prompt_and_the_canonical_reply_with_its_plan(store: Store) -> None:
    _, asked = greeted(store)
    good, bad = reply(store, asked, "Good.", plan="Tempt him."), reply(store, asked, "Bad.")
    rate(store, good, rating(stars={"voice": 5, "engaging": 4}))
    rate(store, bad, rating(-1))
    rows, summary = exported(store, "sft")
    content = render(good.turn.parts, "Iago")
    origin = {"turn": good.id, "transcript": asked.conversation_id, "speaker": "Iago"}
    assert rows == [{"prompt": PROMPT_ROWS, "completion": [{"role": "assistant", "content": content}], **origin}]
    assert "Tempt him." in content and summary.left_out == {"no clear opinion": 1}


def test_kto_takes_its_labels_from_thumbs(store: Store) -> None:
    _, asked = greeted(store)
    for text, opinion in (("up", rating(1)), ("down", rating(-1)), ("none", rating(stars={"voice": 5})), ("even", rating(0))):
        rate(store, reply(store, asked, text), opinion)
    rows, summary = exported(store, "kto")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [("Iago: up", True), ("Iago: down", False)]
    assert rows[0]["prompt"] == PROMPT_ROWS and summary.left_out == {"no clear opinion": 2}


def test_the_last_word_counts_and_an_empty_one_withdraws(store: Store) -> None:
    _, asked = greeted(store)
    answer = reply(store, asked, "x")
    rate(store, answer, rating(1))
    rate(store, answer, rating(-1))
    assert [row["label"] for row in exported(store, "kto")[0]] == [False]
    rate(store, answer, rating())
    assert [exported(store, format)[0] for format in ("jsonl", "kto", "sft")] == [[], [], []]


@pytest.mark.parametrize("finish", ["stopped", "failed"])
def test_a_reply_that_was_cut_off_says_nothing_of_the_model(store: Store, finish: Any) -> None:
    chat, asked = greeted(store)
    cut, whole = reply(store, asked, "And then I", finish), reply(store, asked, "Whole.")
    for node in (cut, whole):
        rate(store, node, rating(1))
    store.add_choice(ANNE, chat.id, whole.id)
    store.add_edit(ANNE, chat.id, cut.id, turn("And then I left."))
    for format, written in (("jsonl", 1), ("sft", 1), ("kto", 1), ("preference", 0)):
        rows, summary = exported(store, format)
        assert (len(rows), summary.left_out[f"generation {finish}"]) == (written, 2 if format == "preference" else 1)


def test_a_truncated_reply_is_rejected_or_left_out_but_never_imitated(store: Store) -> None:
    chat, asked = greeted(store)
    truncated, whole = reply(store, asked, "And then I", "length"), reply(store, asked, "Whole.")
    rate(store, truncated, rating(1))
    assert exported(store, "sft") == ([], Exported(written=0, left_out={"generation truncated": 1}))
    store.add_choice(ANNE, chat.id, whole.id)
    assert [shown(preference) for preference in preferences(store)] == [("Whole.", "And then I", "kept among swipes")]
    store.add_choice(ANNE, chat.id, truncated.id)
    assert list(preferences(store)) == []


def test_an_edit_is_preferred_to_its_original_under_its_prompt(store: Store) -> None:
    chat, asked = greeted(store)
    original = reply(store, asked, "What, man?")
    better = store.add_edit(ANNE, chat.id, original.id, turn("What ho!"))
    store.add_edit(ANNE, chat.id, better.id, turn("What ho, lieutenant!"))
    store.add_edit(ANNE, chat.id, asked.id, turn("Good night.", "Cassio"))
    pairs = list(preferences(store))
    assert [shown(preference) for preference in pairs] == [
        ("What ho!", "What, man?", "edited by hand"),
        ("What ho, lieutenant!", "What ho!", "edited by hand"),
    ], "a visitor's own turn teaches nothing"
    assert pairs[0].prompt == pairs[1].prompt == PROMPT
    assert (pairs[0].verdict.judge, pairs[0].verdict.winner) == (rater(ANNE), "a")
    rows, _ = exported(store, "preference")
    assert rows[0] == {
        "prompt": PROMPT_ROWS,
        "chosen": [{"role": "assistant", "content": "Iago: What ho!"}],
        "rejected": [{"role": "assistant", "content": "Iago: What, man?"}],
        "speaker": "Iago",
        "rater": rater(ANNE),
        "conversation": chat.id,
        "turns": [better.id, original.id],
    }


def test_an_edit_that_changes_nothing_is_none(store: Store) -> None:
    chat, asked = greeted(store)
    original = reply(store, asked, "What, man?")
    same = Turn(speaker="Iago", parts=(Part(kind="speech", text="What, "), Part(kind="speech", text="man? ")))
    store.add_edit(ANNE, chat.id, original.id, turn("What, man?"))
    store.add_edit(ANNE, chat.id, original.id, same)
    left_out: Counter[str] = Counter()
    assert list(preferences(store, left_out)) == [] and left_out == {"edit changed nothing": 2}


def test_a_choice_is_a_pair_with_each_swipe(store: Store) -> None:
    chat, asked = greeted(store)
    one, two, three = (reply(store, asked, text) for text in ("one", "two", "three"))
    store.add_choice(ANNE, chat.id, one.id)
    store.add_choice(ANNE, chat.id, three.id)
    pairs = [shown(preference) for preference in preferences(store)]
    assert pairs == [("three", "one", "kept among swipes"), ("three", "two", "kept among swipes")]
    store.delete_turn(ANNE, chat.id, one.id)
    assert [shown(preference) for preference in preferences(store)] == [("three", "two", "kept among swipes")]


def test_stars_make_a_pair_only_with_a_margin_and_shared_dimensions(store: Store) -> None:
    _, asked = greeted(store)
    best, good, other = (reply(store, asked, text) for text in ("best", "good", "other"))
    rate(store, best, rating(stars={"voice": 5, "engaging": 5, "coherence": 3}))
    rate(store, good, rating(stars={"voice": 5, "engaging": 3}))
    rate(store, other, rating(stars={"emotional_depth": 1}))
    left_out: Counter[str] = Counter()
    (pair,) = preferences(store, left_out)
    assert shown(pair) == ("best", "good", "stars")
    assert {comparison.principle: comparison.winner for comparison in pair.verdict.comparisons} == {
        "voice": "tie",
        "engaging": "a",
    }
    assert left_out == {"no dimension rated in both": 2}
    rate(store, good, rating(stars={"voice": 5, "engaging": 4}))
    assert list(preferences(store)) == []


def test_stars_of_other_raters_and_other_prompts_are_not_compared(store: Store) -> None:
    _, asked = greeted(store)
    _, elsewhere = greeted(store)
    _, bens = greeted(store, BEN)
    changed = generation(prompt=(*PROMPT, Message(role="user", content="Cassio: Well?")))
    nodes = [reply(store, asked, "one"), reply(store, elsewhere, "two")]
    nodes.append(store.add_turn(ANNE, asked.conversation_id, asked.id, turn("new prompt"), "model", generation=changed))
    for node, count in zip(nodes, (1, 5, 5), strict=True):
        rate(store, node, rating(stars={"voice": count}))
    rate(store, reply(store, bens, "three", visitor_id=BEN), rating(stars={"voice": 5}), BEN)
    left_out: Counter[str] = Counter()
    assert list(preferences(store, left_out)) == [] and left_out == {"prompts differ": 1}


def test_a_pair_is_said_once_and_a_choice_outweighs_stars(store: Store) -> None:
    chat, asked = greeted(store)
    kept, starred = reply(store, asked, "kept"), reply(store, asked, "starred")
    rate(store, kept, rating(stars={"voice": 1}))
    rate(store, starred, rating(stars={"voice": 5}))
    store.add_choice(ANNE, chat.id, kept.id)
    assert [shown(preference) for preference in preferences(store)] == [("kept", "starred", "kept among swipes")]
    edited = store.add_edit(ANNE, chat.id, starred.id, turn("edited"))
    store.add_choice(ANNE, chat.id, edited.id)
    pairs = [shown(preference) for preference in preferences(store)]
    assert pairs == [
        ("edited", "starred", "edited by hand"),
        ("edited", "kept", "kept among swipes"),
        ("starred", "kept", "stars"),
    ], "the later choice says nothing of the last two"


def test_a_continued_reply_answers_the_prompt_without_its_own_beginning(store: Store) -> None:
    _, asked = greeted(store)
    begun = reply(store, asked, "And then", "length")
    record = generation(prompt=(*PROMPT, Message(role="assistant", content="Iago: And then")))
    fields = {"generation": record, "edit_of": begun.id}
    whole = store.add_turn(ANNE, asked.conversation_id, asked.id, turn("And then I left."), "continue", **fields)
    rate(store, whole, rating(1))
    rows, _ = exported(store, "sft")
    assert rows[0]["prompt"] == PROMPT_ROWS and rows[0]["completion"][0]["content"] == "Iago: And then I left."


def test_preferences_travel_as_jsonl(store: Store, tmp_path: Path) -> None:
    chat, asked = greeted(store)
    store.add_edit(ANNE, chat.id, reply(store, asked, "a").id, turn("b"))
    file = tmp_path / "preferences.jsonl"
    write(file, preferences(store))
    assert list(read(file, Preference)) == list(preferences(store))


Withdrawal = Callable[[Store, Node], None]
WITHDRAWALS: dict[str, Withdrawal] = {
    "visitor": lambda store, node: store.withdraw_visitor(ANNE),
    "conversation": lambda store, node: store.delete_conversation(ANNE, node.conversation_id),
    "turn": lambda store, node: store.delete_turn(ANNE, node.conversation_id, node.id),
    "turn above": lambda store, node: store.delete_turn(ANNE, node.conversation_id, str(node.parent_id)),
}


@pytest.mark.parametrize("withdraw", WITHDRAWALS.values(), ids=WITHDRAWALS.keys())
def test_what_is_under_a_tombstone_is_in_no_export_and_no_number(store: Store, withdraw: Withdrawal) -> None:
    for visitor_id in (ANNE, BEN):
        chat, asked = greeted(store, visitor_id)
        answer, other = (reply(store, asked, text, visitor_id=visitor_id) for text in ("a", "b"))
        rate(store, answer, rating(1), visitor_id)
        store.add_choice(visitor_id, chat.id, answer.id)
        store.add_edit(visitor_id, chat.id, answer.id, turn("c"))
        if visitor_id == ANNE:
            mine = answer
    withdraw(store, mine)
    for format, written in (("jsonl", 1), ("sft", 1), ("kto", 1), ("preference", 2)):
        assert exported(store, format)[1].written == written, format
    numbers = stats(store)
    assert (numbers["ratings"]["turns"], numbers["raters"], numbers["edits"], numbers["choices"]) == (1, 1, 1, 1)


def test_one_rating_is_withdrawn_alone(store: Store) -> None:
    chat, asked = greeted(store)
    answer = reply(store, asked, "a")
    rate(store, answer, rating(1))
    store.rate(ANNE, chat.id, None, rating(1))
    store.withdraw_rating(ANNE, store.ratings(ANNE, chat.id)[answer.id].id)
    assert [row["turn"] for row in exported(store, "jsonl")[0]] == [None]


def test_the_numbers(store: Store) -> None:
    assert stats(store)["ratings"] == {"turns": 0, "chats": 0, "thumbs_up": 0, "thumbs_down": 0}
    chat, asked = greeted(store)
    rate(store, reply(store, asked, "a"), rating(1, {"voice": 5, "in_character": 4}, tags=("repeats",)))
    shut = SEEN.model_copy(update={"sights": SEEN.sights | {"role_thinking": SHUT}})
    rate(store, reply(store, asked, "b"), rating(-1, {"voice": 2}, seen=shut))
    store.rate(ANNE, chat.id, None, rating(stars={"engaging": 3}))
    failed = generation("failed", conversation_id=chat.id, parent_id=asked.id, error_reason="timeout", error="late")
    store.record_failure(ANNE, failed)
    store.create_conversation(BEN, DRAFT.model_copy(update={"persona_id": "emma"}))
    numbers = stats(store)
    assert json.loads(json.dumps(numbers)) == numbers
    assert numbers == {
        "visitors": 2,
        "conversations": 2,
        "turns": 4,
        "generations": {"failed": 1, "stop": 2},
        "rating_rows": 3,
        "raters": 1,
        "ratings": {"turns": 2, "chats": 1, "thumbs_up": 1, "thumbs_down": 1},
        "edits": 0,
        "choices": 0,
        "votes": 0,
        "dimensions": {
            "in_character": {"mean": 4.0, "n": 1},
            "voice": {"mean": 3.5, "n": 2},
            "engaging": {"mean": 3.0, "n": 1},
        },
        "tags": {"repeats": 1},
        "thoughts": {"closed": 1, "unknown": 1},
        "personas": {
            "iago": {
                "ratings": 3,
                "dimensions": {
                    "in_character": {"mean": 4.0, "n": 1},
                    "voice": {"mean": 3.5, "n": 2},
                    "engaging": {"mean": 3.0, "n": 1},
                },
            }
        },
    }
