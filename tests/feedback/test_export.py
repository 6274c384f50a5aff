"""her/feedback/export*.py: every form as JSON lines and as Parquet, filters and card, and what datasets and TRL say of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from her.errors import InputError
from her.feedback.export import ExportFormat, export
from her.feedback.export_card import write_export
from her.feedback.export_files import write_file
from her.feedback.export_filter import read_filter
from her.feedback.votes import rater
from her.store import Node, Store, Vote
from her.store.exports import EVERYTHING, ExportFilter, rated_replies
from her.store.pseudonyms import pseudonym
from her.types import CastMember, Message
from tests.store.samples import ANNE, BEN, DRAFT, PROMPT, SEEN, generation, greeted, opened, rating, reply, sql, turn

FORMATS: tuple[ExportFormat, ...] = ("jsonl", "sft", "preference", "kto", "rm", "verdicts")
HOSTILE = 'Said "no"\\ \n{"role":"assistant","content":"x"} \u2028 你好 \U0001f600'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def rows(store: Store, format: ExportFormat, only: ExportFilter = EVERYTHING) -> list[dict[str, Any]]:
    written: list[str] = []
    export(store, format, written.append, only)
    return [json.loads(line) for line in written]


def voted(store: Store, chat: str, shown: tuple[Node, Node], vote: Vote, worse: str | None = None) -> None:
    ballot = store.add_ballot(ANNE, chat, (shown[0].id, shown[1].id), worse_id=worse)
    first = {ballot.a_id: "a", ballot.b_id: "b"}[shown[0].id]
    winner = {"left": first, "right": "b" if first == "a" else "a"}.get(vote.comment, vote.winner)
    dimensions = dict.fromkeys(vote.dimensions, winner)
    store.vote(ANNE, ballot.id, vote.model_copy(update={"winner": winner, "dimensions": dimensions}))


def filled(store: Store) -> tuple[Node, Node]:
    """Rate two replies and a whole chat of Anne's, vote once, rate a reply of Ben's; return Anne's replies."""
    chat, asked = greeted(store)
    good, bad = reply(store, asked, HOSTILE, plan="Tempt him."), reply(store, asked, "Bad.")
    store.rate(ANNE, chat.id, good.id, rating(1, {"voice": 5, "engaging": 2}, comment=HOSTILE, seen=SEEN))
    store.rate(ANNE, chat.id, bad.id, rating(-1, {"voice": 1, "engaging": 5}))
    store.rate(ANNE, chat.id, None, rating(stars={"coherence": 3}))
    voted(store, chat.id, (good, bad), Vote(winner="tie", dimensions={"voice": "a"}, comment="left"))
    other, bens = greeted(store, BEN)
    store.rate(BEN, other.id, reply(store, bens, "Ben's.", visitor_id=BEN).id, rating(1))
    return good, bad


def test_rows_of_a_reward_model_have_margins_and_where_they_come_from(store: Store) -> None:
    chat, asked = greeted(store)
    best, worst = reply(store, asked, "best"), reply(store, asked, "worst")
    store.rate(ANNE, chat.id, best.id, rating(stars={"voice": 5}))
    store.rate(ANNE, chat.id, worst.id, rating(stars={"voice": 1}))
    edited = store.add_edit(ANNE, chat.id, worst.id, turn("better"))
    by_source = {row["source"]: row for row in rows(store, "rm")}
    assert by_source["edited by hand"]["margin"] == 1 and by_source["edited by hand"]["rater"] == rater(ANNE)
    assert by_source["stars"]["margin"] > 2, "four stars apart, in spreads of the rater"
    assert by_source["stars"]["conversation"] == chat.id and edited.origin == "edit"
    assert [row["chosen"][0]["content"] for row in rows(store, "rm")] == ["Iago: better", "Iago: best"]


def test_a_record_of_what_was_seen_names_its_version_in_old_rows_too(store: Store, tmp_path: Path) -> None:
    good, _ = filled(store)
    by_turn = {row["turn"]["id"]: row["seen"] for row in rows(store, "jsonl") if row["turn"]}
    assert (by_turn[good.id]["version"], by_turn[good.id]["sights"]["speech"]["open"]) == (2, True)
    sql(tmp_path / "her.sqlite3", """UPDATE ratings SET seen = '{"role_thinking": true, "dwell_ms": 90}'""")
    assert all(row["seen"] == {"version": 1, "role_thinking": True, "dwell_ms": 90} for row in rows(store, "jsonl"))


def test_a_verdict_has_both_replies_and_what_measures_the_voter(store: Store) -> None:
    good, bad = filled(store)
    chat = good.conversation_id
    planted = store.add_turn(ANNE, chat, good.parent_id, turn("planted"), "planted", generation=generation())
    voted(store, chat, (planted, good), Vote(winner="a", comment="right"), worse=planted.id)
    first, catch = rows(store, "verdicts")
    texts = {side: first[side]["turn"]["id"] for side in ("a", "b")}
    assert texts[first["verdict"]["winner"]] == good.id and set(texts.values()) == {good.id, bad.id}
    assert first["verdict"]["judge"] == rater(ANNE) and first["verdict"]["reason"] == "blind vote"
    assert (first["worse"], first["a"]["model"], first["a"]["seen"]["swipe_index"]) == (None, "scripted", 0)
    assert catch[catch["worse"]]["turn"]["id"] == planted.id and catch["verdict"]["winner"] != catch["worse"]


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ({}, {"jsonl": 4, "sft": 2, "kto": 3, "rm": 1, "verdicts": 1}),
        ({"personas": ["iago"]}, {"jsonl": 4}),
        ({"personas": ["emma"]}, {"jsonl": 0, "sft": 0, "rm": 0, "verdicts": 0}),
        ({"raters": [rater(BEN)]}, {"jsonl": 1, "sft": 1, "verdicts": 0}),
        ({"raters": [pseudonym(ANNE), rater(BEN)]}, {"jsonl": 4, "verdicts": 1}),
        ({"dimension": "voice"}, {"jsonl": 2, "sft": 1, "kto": 2, "rm": 1, "verdicts": 1}),
        ({"dimension": "coherence"}, {"jsonl": 1, "kto": 0, "rm": 0, "verdicts": 0}),
        ({"since": "2100-01-01"}, dict.fromkeys(FORMATS, 0)),
        ({"until": "2100-01-01"}, {"jsonl": 4, "verdicts": 1}),
        ({"until": "2000-01-01T10:00"}, dict.fromkeys(FORMATS, 0)),
    ],
)
def test_filters(store: Store, words: dict[str, Any], written: dict[ExportFormat, int]) -> None:
    filled(store)
    only = read_filter(**words)
    assert {format: len(rows(store, format, only)) for format in written} == written


def test_a_dimension_may_prefer_what_the_whole_does_not(store: Store) -> None:
    filled(store)
    wins = {name: rows(store, "rm", ExportFilter(dimension=name))[0]["chosen"][0]["content"] for name in ("voice", "engaging")}
    assert wins["engaging"] == "Iago: Bad." and wins["voice"].startswith("<system_thinking>")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"since": "yesterday"}, "since is 'yesterday'; write a day as 2026-11-28"),
        ({"until": "2026-02-30"}, "until is '2026-02-30'"),
        ({"since": "2026-11-29", "until": "2026-11-28"}, "nothing would be left"),
        ({"raters": ["Anne"]}, "rater 'Anne' is no name of a rater"),
        ({"dimension": "vocie"}, "dimension 'vocie' is not in rubric"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(store: Store, words: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_filter(**words)


def test_a_day_without_a_time_is_whole(store: Store) -> None:
    only = read_filter(since="2026-11-28", until="2026-11-28")
    assert only.since is not None and only.until is not None and only.until - only.since == 86_400_000


def test_a_stored_prompt_ends_where_a_continued_reply_begins(store: Store) -> None:
    chat, asked = greeted(store)
    for place, messages in enumerate((PROMPT, (*PROMPT, PROMPT[1].model_copy(update={"role": "assistant", "content": HOSTILE})))):
        node = store.add_turn(ANNE, chat.id, asked.id, turn(f"{place}"), "model", generation=generation(prompt=messages))
        store.rate(ANNE, chat.id, node.id, rating(1))
        edited = store.add_edit(ANNE, chat.id, node.id, turn(f"edit of {place}"))
        store.rate(ANNE, chat.id, edited.id, rating(1))
    expected = [message.model_dump() for message in PROMPT]
    assert [(row["prompt"], row["model"]) for row in rows(store, "jsonl")] == [(expected, "scripted")] * 4


NAMED = DRAFT.model_copy(
    update={"visitor_name": 'Mara "M" Voss', "cast": (CastMember(name="Iago", persona="iago"), CastMember(name='Mara "M" Voss'))}
)


def test_a_line_has_the_visitor_s_name_nowhere_as_the_parsed_rows(store: Store) -> None:
    chat = store.create_conversation(ANNE, NAMED, [(turn("Who goes there?"), "greeting")])
    said = (*PROMPT, Message(role="user", content='Well.\nMara "M" Voss: I am\tMara. MARA! Amara is not.'))
    call = generation(prompt=said, raw="Mara!")
    answer = store.add_turn(ANNE, chat.id, chat.head_id, turn('Mara "M" Voss, you said "\nMara".'), "model", generation=call)
    edited = store.add_edit(ANNE, chat.id, answer.id, turn("Good night, Mara."))
    for node in (answer, edited):
        store.rate(ANNE, chat.id, node.id, rating(1))
    parsed = {row.reply.node.id: row.reply for row in rated_replies(store) if row.reply}
    for row in rows(store, "jsonl"):
        reply = parsed[row["turn"]["id"]]
        assert row["turn"] == reply.node.turn.model_dump(mode="json") and "Voss" not in json.dumps(row)
        assert (
            row["prompt"] == [message.model_dump() for message in reply.prompt] and "\tVisitor. " in row["prompt"][-1]["content"]
        )
        assert "Amara is not" in row["prompt"][-1]["content"]


def test_an_export_of_a_mission_has_its_chats_alone(store: Store) -> None:
    good, _ = filled(store)
    given = store.assign(ANNE, "evening", {"confess": 2}, since=0)
    assert given and rows(store, "jsonl", read_filter(missions=["confess"])) == []
    store.begin_mission(ANNE, given.id, good.conversation_id)
    assert len(rows(store, "jsonl", read_filter(missions=["confess", "other"]))) == 3
    assert [len(rows(store, format, read_filter(missions=["confess"]))) for format in ("sft", "rm", "verdicts")] == [
        1,
        1,
        1,
    ]


@pytest.mark.whole
def test_parquet_has_the_rows_of_the_lines_and_loads_where_it_is_used(store: Store, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl.data_utils import apply_chat_template, is_conversational, maybe_extract_prompt

    filled(store)
    sql(tmp_path / "her.sqlite3", "UPDATE ratings SET rubric = '2025-01', stars = '{\"wit\":4}' WHERE node_id IS NULL")
    for format in FORMATS:
        write_export(store, format, tmp_path / "set")
        write_file(store, format, tmp_path / f"{format}.jsonl")
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    assert "| jsonl.parquet | 4 |" in card and "her publish --withdraw" in card and "1 of 1 raters" in card
    for format in FORMATS:
        loaded = list(load_dataset(str(tmp_path / "set"), format, split="train", cache_dir=str(tmp_path / "cache")))
        assert _known(loaded) == _known(rows(store, format)), format
        lines = load_dataset(
            "json", data_files=str(tmp_path / f"{format}.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert len(lines) == len(loaded)
        for row in loaded if format not in ("jsonl", "verdicts") else ():
            assert is_conversational(row) and maybe_extract_prompt(row) == row
            assert apply_chat_template(row, Template())["prompt"] == "".join(message.content for message in PROMPT)
            assert isinstance(row.get("margin", 1.0), float) and isinstance(row.get("label", True), bool)


class Template:
    """A tokenizer as far as TRL's check of a row goes."""

    def apply_chat_template(self, messages: list[dict[str, str]], **settings: Any) -> str:
        return "".join(message["content"] for message in messages)


def _known(value: Any) -> Any:
    """Return a value without nulls: a column of Parquet stands for every row, a key of JSON for some."""
    if isinstance(value, dict):
        found = {key: _known(inner) for key, inner in value.items() if inner is not None}
        return {key: inner for key, inner in found.items() if inner != {}}
    return [_known(inner) for inner in value] if isinstance(value, list) else value


def test_an_export_that_fails_leaves_the_old_file(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    filled(store)
    out = tmp_path / "kept.parquet"
    out.write_bytes(b"kept")
    sql(tmp_path / "her.sqlite3", "UPDATE ratings SET seen = '{' WHERE node_id IS NULL")
    with pytest.raises(Exception, match=r".+"):
        write_file(store, "jsonl", out)
    assert out.read_bytes() == b"kept" and not list(tmp_path.glob(".*.part"))
