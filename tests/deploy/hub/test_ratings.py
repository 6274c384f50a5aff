"""pipelines/ratings and her publish: ratings and votes become a data set without names and ids; people can withdraw from it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from her.deploy.hub.publishing import PublicationOptions, prepare, publish
from her.deploy.hub.pulling import pull
from her.deploy.hub.secrets import texts_of
from her.deploy.hub.withdrawing import withdraw
from her.errors import HerError, InputError
from her.feedback.public_rows import SALT_FILE
from her.store import Conversation, Node, Store, Vote
from her.store.chat_owners import row_ids
from her.training_data.preference_files import preferences_in
from her.types import CastMember, Message, Winner
from pipelines.ratings.__main__ import run
from pipelines.ratings.options import RatingsOptions
from tests.hub import Hub
from tests.store.samples import ANNE, BEN, DRAFT, generation, opened, rating, turn

ABOUT = "I teach Dutch in Delft"
VOTER = "c" * 64
"""A person who only votes, on a chat of somebody else."""


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    home.mkdir(exist_ok=True)
    store = opened(home)
    yield store
    store.close()


def chat(store: Store, visitor: str, name: str) -> tuple[Conversation, Node, Node]:
    """Return a chat of this visitor with two replies of the model, a good one and a bad one, rated by thumbs and stars."""
    cast = (CastMember(name="Iago", profile="An ensign.", persona="iago"), CastMember(name=name, profile=ABOUT))
    begun = store.create_conversation(visitor, DRAFT.model_copy(update={"visitor_name": name, "cast": cast}))
    asked = store.add_turn(visitor, begun.id, None, turn("Good evening.", name), "visitor")
    prompt = (
        Message(role="system", content=f"Play Iago. {name}: {ABOUT}"),
        Message(role="user", content=f"{name}: Good evening."),
    )
    written = [
        store.add_turn(visitor, begun.id, asked.id, turn(text), "model", generation=generation(prompt=prompt, raw=text))
        for text in (f"Well met, {name.split()[0].upper()}, and {name}!", "Go.")
    ]
    for node, stars in zip(written, (5, 1), strict=True):
        store.rate(visitor, begun.id, node.id, rating(1 if stars == 5 else -1, {"voice": stars}, comment=f"by {name}"))
    return begun, written[0], written[1]


def vote(store: Store, begun: tuple[Conversation, Node, Node], visitor: str = VOTER) -> None:
    store.create_conversation(visitor, DRAFT)
    ballot = store.add_ballot(visitor, begun[0].id, (begun[1].id, begun[2].id))
    winner: Winner = "a" if ballot.a_id == begun[1].id else "b"
    store.vote(visitor, ballot.id, Vote(winner=winner, comment="Cassio Verhoeven knows why"))


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(text) for _, text in texts_of(folder / f"{name}.parquet")]


def everything(folder: Path) -> str:
    return "\n".join(text for path in sorted(folder.iterdir()) for _, text in texts_of(path))


def test_ratings_are_published_without_names_and_ids(store: Store, hub: Hub, home: Path) -> None:
    vote(store, chat(store, ANNE, "Cassio Verhoeven"))
    chat(store, BEN, "user")
    card = run(RatingsOptions(name="votes"))
    publish(prepare("votes", "ada/votes", PublicationOptions(licence="cc-by-4.0")))
    folder, manifest, _ = pull("ada/votes")
    assert manifest.kind == "preferences and verdicts" and manifest.repository_type == "dataset"
    text = everything(folder)
    assert not [word for word in ("assio", "CASSIO", "Verhoeven", "Delft", "knows why") if word in text]
    assert not [each for each in row_ids(store) if each[:12] in text]
    chosen = {row["chosen"][0]["content"] for row in rows(folder, "rm")}
    assert chosen == {"Iago: Well met, Visitor, and Visitor!"}, "his first name alone and in capitals, and one called user"
    assert {message["role"] for row in rows(folder, "rm") for message in row["prompt"]} == {"system", "user"}
    assert {row["source"] for row in rows(folder, "rm")} == {"blind vote", "stars"} and len(rows(folder, "kto")) == 4
    assert [row["verdict"]["reason"] for row in rows(folder, "verdicts")] == ["blind vote"]
    front = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert front["license"] == "cc-by-4.0"
    assert [each["data_files"] for each in front["configs"]] == ["kto.parquet", "rm.parquet", "verdicts.parquet"]
    assert "Krippendorff" in text and "--withdraw" in text and str(home) not in text
    pairs = list(preferences_in(folder / "rm.parquet"))
    assert [pair.chosen.speaker for pair in pairs] == ["Iago"] * 3 and all(pair.rater and pair.split for pair in pairs)
    assert run(RatingsOptions(name="votes")) == card and json.loads((folder / SALT_FILE).read_text()) == json.loads(
        (card.parent / SALT_FILE).read_text()
    ), "a run that is done stays as it is"


def test_who_withdraws_is_in_none_of_it(store: Store, hub: Hub) -> None:
    first, second = chat(store, ANNE, "Anne"), chat(store, BEN, "Ben")
    vote(store, first)
    vote(store, second)
    third = chat(store, "d" * 64, "Dee")
    store.withdraw_visitor("d" * 64)
    folder = run(RatingsOptions(name="votes")).parent
    assert len({row["player"] for row in rows(folder, "rm")}) == 2, "who withdrew before the export is not in it"
    publish(prepare("votes", "ada/votes", PublicationOptions()))
    assert withdraw("ada/votes", [BEN]).rows == 5, "his pair and replies, and the vote of another on his chat"
    rating_id = next(row[0] for row in _ratings(store) if row[1] == first[1].id)
    assert withdraw("ada/votes", [rating_id]).rows == 2, "a rating takes its pair and its label away, and no vote"
    left, _, _ = pull("ada/votes")
    assert [row["source"] for row in rows(left, "rm")] == ["blind vote"] and len(rows(left, "kto")) == 1
    with pytest.raises(InputError, match="nobody has withdrawn|were withdrawn"):
        store.withdraw_visitor(ANNE)
        prepare("votes", "ada/again", PublicationOptions())
    assert third[0].id not in everything(left)


def _ratings(store: Store) -> list[tuple[str, str | None]]:
    from her.store.exports import rated_replies

    return [(row.rated.id, row.rated.node_id) for row in rated_replies(store)]


def test_what_would_name_somebody_is_refused(store: Store, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nobody has rated or voted in .* yet"):
        run(RatingsOptions(name="none"))
    with pytest.raises(InputError, match="there is no database '.*gone.sqlite3'; name that of the playground"):
        run(RatingsOptions(name="gone", database=str(tmp_path / "gone.sqlite3")))
    chat(store, ANNE, "Anne")
    with pytest.raises(InputError, match="the rows are of 1 people, and least_raters=2: whoever knows them"):
        run(RatingsOptions(name="one"))
    chat(store, BEN, "Ben")
    monkeypatch.setattr("her.feedback.public_rows.hashed_id", lambda identity, salt: identity)
    with pytest.raises(HerError, match=r"'kto.parquet' row 1 holds the id \w{6}... of the database"):
        run(RatingsOptions(name="raw"))
