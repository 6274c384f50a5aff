"""her/store/stand_ins.py: which names are replaced in exports, and where."""

import json
from collections.abc import Callable
from io import StringIO

import pytest

from her.feedback.export import export
from her.store import Draft, Store, Vote
from her.store.stand_ins import stand_in
from her.types import CastMember, Language, Message, Scenario
from tests.store.samples import ANNE, generation, rating, turn

AHAB = CastMember(name="Captain Ahab", profile="Captain of the Pequod.", persona="ahab")


def replaced(name: str, text: str, cast: tuple[CastMember, ...] = (AHAB,), language: Language = "en") -> str:
    found = stand_in(name, (*cast, CastMember(name=name)), Scenario(setting="The Rose, an inn."), language)
    return found.text(text) if found else text


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Anna", "Anna: Good evening. ANNA! Annabel, anna-lise", "Visitor: Good evening. VISITOR! Annabel, anna-lise"),
        ("anna", "Come, Anna.", "Come, Visitor."),
        ("Will", "Will: Will you? I will.", "Visitor: Visitor you? I will."),
        ("Anna Schmidt", "Anna Schmidt, Miss Schmidt, Anna", "Visitor, Miss Visitor, Visitor"),
        ("Captain Schmidt", "Captain Ahab greets Captain Schmidt. Schmidt!", "Captain Ahab greets Visitor. Visitor!"),
        ("Rose Miller", "At the Rose sits Rose Miller; Miller waits.", "At the Rose sits Visitor; Visitor waits."),
        ("Jan de Boer", "de facto, Jan de Boer", "de facto, Visitor"),
        ("a.b", "a.b axb", "Visitor axb"),
        ("Zoë", "Zoë, Zoës", "Visitor, Zoës"),
        ("Visitor", "Visitor: Hello.", "Visitor: Hello."),
    ],
)
def test_a_name_is_replaced_as_a_word(name: str, text: str, expected: str) -> None:
    assert replaced(name, text).lower() == expected.lower()


def test_chinese_names_have_no_spaces_around_them() -> None:
    assert replaced("小明", "黛玉看着小明说：小明，坐。", language="zh") == "黛玉看着来客说：来客，坐。"
    assert replaced("王", "王：我见过国王。", language="zh") == "来客：我见过国王。"


def test_characters_keep_their_names() -> None:
    iago, watson = CastMember(name="Iago"), CastMember(name="Watson", persona="watson")
    assert stand_in("Cassio", (iago, CastMember(name="Cassio")), Scenario(), "en") is None, "a book"
    assert stand_in("Watson", (AHAB, watson), Scenario(), "en") is None, "a persona whom the visitor plays"
    assert stand_in("", (AHAB,), Scenario(), "en") is None, "nobody"


LEAVES: dict[str, Callable[[Store, str, str, str], object]] = {
    "jsonl": lambda store, chat, one, two: store.rate(ANNE, chat, one, rating(1)),
    "sft": lambda store, chat, one, two: store.rate(ANNE, chat, one, rating(1)),
    "kto": lambda store, chat, one, two: store.rate(ANNE, chat, one, rating(-1)),
    "preference": lambda store, chat, one, two: store.add_choice(ANNE, chat, one),
    "rm": lambda store, chat, one, two: store.add_choice(ANNE, chat, one),
    "verdicts": lambda store, chat, one, two: store.vote(ANNE, store.add_ballot(ANNE, chat, (one, two)).id, Vote(winner="a")),
}


@pytest.mark.parametrize("format", LEAVES)
def test_no_export_holds_a_visitors_name_or_id(store: Store, format: str) -> None:
    cast = (AHAB, CastMember(name="Klothilde", profile="A sailor."))
    draft = Draft(
        title="Ahab", persona_id="ahab", visitor_name="Klothilde", speaker="Captain Ahab", scenario=Scenario(), cast=cast
    )
    chat = store.create_conversation(ANNE, draft, [(turn("Who goes there, Klothilde?", "Captain Ahab"), "greeting")])
    asked = store.add_turn(ANNE, chat.id, chat.head_id, turn("Ahoy.", "Klothilde"), "visitor")
    prompt = (Message(role="system", content="With Klothilde."), Message(role="user", content="Klothilde: Ahoy."))
    answers = []
    for text in ("Well, Klothilde?", "Go, KLOTHILDE."):
        record = generation(prompt=prompt, raw=text)
        said = turn(text, "Captain Ahab")
        answers.append(store.add_turn(ANNE, chat.id, asked.id, said, "model", generation=record))
    LEAVES[format](store, chat.id, answers[0].id, answers[1].id)
    out = StringIO()
    assert export(store, format, out.write).written == 1  # type: ignore[arg-type]
    text = out.getvalue()
    assert "klothilde" not in text.lower() and "Visitor: Ahoy." in json.dumps(json.loads(text))
    assert ANNE[:12] not in text
