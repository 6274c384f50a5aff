"""Make rows of an export into rows that strangers may read: no id by which a row is found elsewhere, nothing of a visitor's life.

    row = PublicRows(store, salt).row(row)

Every id is replaced by a hash of it and of the data set's salt, which stands in the data set itself. Ids hold 122 random bits and
more, so nobody finds one by trying; who has it, as the database does, finds its rows, and so does a withdrawal. The name that a
visitor gave is replaced in every export (her/store/stand_ins.py); what they say of themselves is left out here.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from her.errors import HerError
from her.feedback.votes import rater
from her.store import Store
from her.store.chat_owners import ChatOwner, chat_owners, visitor_ids
from her.store.exports import rated_replies, votes_cast
from her.types import Language

SALT_FILE = "pseudonyms.json"
"""File of a data set that holds its salt."""
_LEFT_OUT: dict[Language, str] = {"en": "(left out)", "zh": "（略）"}
_IDS = frozenset({"id", "pair", "conversation", "conversation_id", "repeat_of", "turn", "turns", "transcript", "sources"})
_PEOPLE = frozenset({"rater", "judge"})
_DROPPED = frozenset({"comment", "created_at"})
"""Fields that are not published: free text about nobody knows what, and times by which a person may be recognised."""
CHANGED: Mapping[str, Any] = MappingProxyType({"player": str, "sources": tuple[str, ...], **dict.fromkeys(_DROPPED)})
"""Columns that public rows have beside those of an export, or not; see `her.feedback.export_schema.schema_of`."""


def hashed_id(identity: str, salt: str) -> str:
    """Return what stands for an id in the data set of this salt."""
    return hashlib.sha256(f"{salt}:{identity}".encode()).hexdigest()[:16]


class PublicRows:
    """Makes rows of one database public.

    Args:
        store: the database.
        salt: of the data set.
    """

    def __init__(self, store: Store, salt: str) -> None:
        self._salt = salt
        self._chats = {chat.conversation_id: chat for chat in chat_owners(store)}
        self._people = {rater(visitor): f"rater:{hashed_id(visitor, salt)}" for visitor in visitor_ids(store)}
        self._opinions = _opinions(store)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of one chat, which its field `conversation` names.

        It gets `player`: whose chat it is, and `sources`: the votes and ratings of its rater on its turns.

        Raises:
            HerError: the chat or the rater is not known, so no withdrawal would find the row.
        """
        conversation = str(row.get("conversation", ""))
        if conversation not in self._chats:
            raise HerError(f"a row is of the chat {conversation[:40]!r}, which the database does not know; export again")
        chat = self._chats[conversation]
        rated = {(str(row.get("rater", "")), turn) for turn in row.get("turns", ())}
        sources = sorted(identity for key in rated for identity in self._opinions.get(key, ()))
        public = self._value({**row, "sources": sources}, chat)
        assert isinstance(public, dict)
        return {**public, "player": f"player:{hashed_id(chat.visitor_id, self._salt)}"}

    def _value(self, value: Any, chat: ChatOwner, key: str = "") -> Any:
        if isinstance(value, Mapping):
            return {name: self._value(inner, chat, name) for name, inner in value.items() if name not in _DROPPED}
        if isinstance(value, list | tuple):
            return [self._value(inner, chat, key) for inner in value]
        if not isinstance(value, str) or not value:
            return value
        if key in _IDS:
            return hashed_id(value, self._salt)
        if key in _PEOPLE and value.startswith("rater:"):
            return self._person(value)
        return value.replace(chat.about, _LEFT_OUT[chat.language]) if chat.about else value

    def _person(self, name: str) -> str:
        if name not in self._people:
            raise HerError(f"a row is of '{name}', whom the database does not know; export again")
        return self._people[name]


def _opinions(store: Store) -> Mapping[tuple[str, str], list[str]]:
    """Return the ids of ratings and votes by their rater and the turn that they are about."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rated_replies(store):
        if row.rated.node_id:
            found[rater(row.rated.visitor_id), row.rated.node_id].append(row.rated.id)
    for ballot, vote in votes_cast(store):
        for turn in (ballot.a_id, ballot.b_id):
            found[rater(ballot.visitor_id), turn].append(vote.id)
    return found
