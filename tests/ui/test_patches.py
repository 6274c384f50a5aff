"""her/ui/patches.py: what the page is sent for a chat, for a running generation, and for the window of a long chat."""

from typing import Any, get_type_hints

import pytest

from her.chat.views import ChatView, GenerationSnapshot, Meter, Replay, TurnView
from her.format import plain_turn
from her.store.records import Rated, Rating, Seen
from her.types import Scenario, Turn
from her.ui import patches
from her.ui.answers import ChatFrame, ChatPatch, ShownRating

METER = Meter(tokens=1_234, budget=6_144, context=8_192, exact=True)


def said(speaker: str, text: str = "Well.", origin: Any = "model", **more: Any) -> TurnView:
    return TurnView(turn=plain_turn(speaker, text), origin=origin, mine=origin == "visitor", **more)


def chat(*turns: TurnView, **more: Any) -> ChatView:
    fields: dict[str, Any] = {"meter": METER, "title": "Storm", "language": "en"} | more
    return ChatView(id="c", speaker="Mara", visitor_name="Anne", scenario=Scenario(id="s"), cast=(), turns=turns, **fields)


def test_a_running_generation_is_one_live_turn_and_its_question() -> None:
    snapshot = GenerationSnapshot(chat="c", speaker="Iago", pending="p", question=plain_turn("Mara", "Who?"), replaces="old")
    question = patches.drawn_question(snapshot)
    assert [drawn["id"] for drawn in question] == [snapshot.question and snapshot.question.id] and "Who?" in question[0]["html"]
    patch = patches.generation_patch(snapshot, question)
    assert (patch["chat"], patch["put"], patch["live"]["id"], patch["live"]["replaces"]) == ("c", question, "p", "old")
    assert "end" not in patch and 'id="t-p"' in patch["live"]["html"]


def test_a_failed_generation_ends_and_gives_the_text_back() -> None:
    snapshot = GenerationSnapshot(chat="c", speaker="Iago", pending="p", state="failed", error="down", give_back="Who?")
    assert patches.drawn_question(snapshot) == []
    assert patches.generation_patch(snapshot, []) == {
        "chat": "c",
        "put": [],
        "end": True,
        "error": "down",
        "give_back": "Who?",
        "notice": "",
    }


@pytest.mark.parametrize(
    ("turns", "can_answer"),
    [
        ((), True),
        ((said("Anne", origin="visitor"),), True),
        ((said("Environment", origin="opening"),), True),
        ((said("Anne", origin="visitor"), said("Mara")), False),
        ((said("Mara", origin="greeting"),), False),
        ((said("Mara", origin="book"),), False),
    ],
)
def test_the_model_is_offered_the_next_turn_unless_it_spoke_last(turns: tuple[TurnView, ...], can_answer: bool) -> None:
    assert patches.chat_frame(chat(*turns))["can_answer"] is can_answer


@pytest.mark.parametrize(
    ("turns", "can_continue"),
    [
        ((), False),
        ((said("Anne", origin="visitor"),), False),
        ((said("Mara"),), True),
        ((said("Mara", origin="edit"),), True),
        ((said("Mara", origin="greeting"),), False),
        ((said("Mara", origin="book"),), False),
    ],
)
def test_only_a_reply_of_the_model_can_be_continued(turns: tuple[TurnView, ...], can_continue: bool) -> None:
    assert patches.chat_frame(chat(*turns))["can_continue"] is can_continue


@pytest.mark.parametrize(
    ("language", "exact", "text"),
    [
        ("en", True, "1,234 of 6,144 tokens"),
        ("en", False, "about 1,234 of 6,144 tokens"),
        ("zh", True, "1,234 / 6,144 词元"),
        ("zh", False, "约 1,234 / 6,144 词元"),
    ],
)
def test_the_meter_says_when_it_is_an_estimate(language: Any, exact: bool, text: str) -> None:
    frame = patches.chat_frame(chat(language=language, meter=METER.model_copy(update={"exact": exact})))
    assert (frame["meter"], frame["meter_hint"], frame["cut"], frame["cut_note"]) == (text, "8,192", 0, "")


def test_turns_that_no_longer_fit_are_counted() -> None:
    frame = patches.chat_frame(chat(meter=METER.model_copy(update={"dropped": 3})))
    assert frame["cut"] == 3 and frame["cut_note"].startswith("The 3 oldest turns")


def test_a_rating_is_shown_without_what_the_rater_saw() -> None:
    rating = Rating(rubric="r", thumb=1, stars={"voice": 5}, tags=("repeats",), comment="!", seen=Seen(role_thinking=True))
    rated = Rated(id="1", visitor_id="v", conversation_id="c", node_id=None, rating=rating, created_at=7)
    shown = patches.chat_frame(chat(rating=rated))["rating"]
    assert shown == {"rubric": "r", "thumb": 1, "stars": {"voice": 5}, "tags": ["repeats"], "comment": "!"}
    assert set(shown or {}) == set(get_type_hints(ShownRating))


def test_a_long_chat_is_a_window_of_its_last_turns() -> None:
    turns = tuple(said("Mara", str(number)) for number in range(100))
    view = chat(*turns, replay=Replay(shown=2, total=4))
    ids = [shown.turn.id for shown in turns]
    patch = patches.chat_patch(view, redrawn=4)
    assert patch["order"] == ids[60:] and [drawn["id"] for drawn in patch["put"]] == ids[96:]
    assert len(patches.chat_patch(view)["put"]) == patches.WINDOW == 40
    assert (patch["view"]["total"], patch["view"]["replay"]) == (100, {"shown": 2, "total": 4})
    assert [drawn["id"] for drawn in patches.older_turns(view, ids[60])["put"]] == ids[20:60]
    assert [drawn["id"] for drawn in patches.older_turns(view, ids[20])["put"]] == ids[:20]
    assert patches.older_turns(view, "gone")["put"] == []


def test_patches_have_the_fields_that_their_types_declare() -> None:
    patch = patches.chat_patch(chat(said("Mara")))
    assert set(patch) <= set(get_type_hints(ChatPatch)) and set(patch["view"]) == set(get_type_hints(ChatFrame))


def test_a_turn_is_drawn_under_its_own_id() -> None:
    turn = Turn(id="n7", speaker="Mara", raw="x")
    [drawn] = patches.drawn_turns([TurnView(turn=turn, origin="model", mine=False)], "en")
    assert drawn["id"] == "n7" and 'data-id="n7"' in drawn["html"]
