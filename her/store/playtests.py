"""Store what people agreed to and which missions they were given.

A mission has a number of places. A place is taken by a person who has done the mission, and by one who is at it: who was given
it, or wrote in its chat, after a moment that the caller states. Whoever comes back later goes on with the same mission.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, or_, select, update

from her.errors import InputError, NotFound
from her.store.chats import Chats
from her.store.core import now, owned
from her.store.feedback import newest
from her.store.mission_records import Assignment, MissionProgress
from her.store.tables import assignments, consents, conversations, nodes, ratings, tombstones
from her.types import Language, new_id


class Playtests(Chats):
    """Consent and missions. Methods take the visitor first."""

    def agree(self, visitor_id: str, playtest: str, version: str, language: Language, text: str) -> int:
        """Save that a visitor agreed to a text; return the time (UTC, ms), at which it is on disk."""
        self.ensure_visitor(visitor_id)
        row = {"id": new_id(), "visitor_id": visitor_id, "playtest": playtest, "version": version, "language": language}
        at = now()
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self.writing() as connection:
            connection.execute(insert(consents).values(row | {"text_sha256": digest, "created_at": at}))
        return at

    def agreed_version(self, visitor_id: str, playtest: str) -> str:
        """Return the version of the text that a visitor agreed to last; empty for none."""
        mine = select(consents.c.version).where(consents.c.visitor_id == visitor_id, consents.c.playtest == playtest)
        with self.reading() as connection:
            return connection.execute(mine.order_by(consents.c.seq.desc()).limit(1)).scalar() or ""

    def current_assignment(self, visitor_id: str, playtest: str, missions: Collection[str]) -> Assignment | None:
        """Return the mission among these that a visitor is at: the one taken up last; None when all of theirs are done."""
        with self.reading() as connection:
            rows = _assigned(connection, visitor_id, playtest)
        return next((_record(row) for row in rows if row.done_at is None and row.mission in missions), None)

    def done_missions(self, visitor_id: str, playtest: str) -> int:
        """Return how many missions a visitor has done."""
        with self.reading() as connection:
            return sum(row.done_at is not None for row in _assigned(connection, visitor_id, playtest))

    def assign(
        self,
        visitor_id: str,
        playtest: str,
        places: Mapping[str, int],
        *,
        since: int,
        wanted: str = "",
        readable: Collection[str] = (),
    ) -> Assignment | None:
        """Return the mission that a visitor is at, or give them one: the one with fewest people, then by chance.

        The chance is the same each time for one visitor, and another for each visitor.

        Args:
            visitor_id: who asks; registered if new.
            playtest: its name.
            places: people that each mission is for, by its id.
            since: moment (UTC, ms) before which a mission that is not done and was not used counts as given up.
            wanted: mission of a link; empty for any.
            readable: missions in the visitor's language, which are given before all others.

        Raises:
            InputError: the wanted mission has no place left.
        """
        self.ensure_visitor(visitor_id)
        with self.writing() as connection:  # counted and given in one transaction, so that no mission gets too many
            own = _assigned(connection, visitor_id, playtest)
            mine = [row for row in own if (row.mission == wanted if wanted else row.done_at is None)]
            mine = [row for row in mine if row.mission in places]
            if mine:
                _set(connection, mine[0].id, used_at=now())
                return _record(mine[0])
            taken = _taken(connection, playtest, since)
            had = set() if wanted else _given(connection, visitor_id, playtest)
            free = [name for name in ([wanted] if wanted else places) if name not in had and taken.get(name, 0) < places[name]]
            if wanted and not free:
                raise InputError("this mission has as many people as it is for")
            if not free:
                return None
            for row in own:  # a link takes the place of a mission that was not begun
                if row.done_at is None and row.conversation_id is None:
                    _set(connection, row.id, ended_at=now())
            mission = min(free, key=lambda name: (name not in readable, taken.get(name, 0), _chance(visitor_id, name)))
            given = Assignment(
                id=new_id(), visitor_id=visitor_id, playtest=playtest, mission=mission, created_at=now(), used_at=now()
            )
            connection.execute(insert(assignments).values(given.model_dump()))
        return given

    def begin_mission(self, visitor_id: str, assignment_id: str, conversation_id: str) -> None:
        """Save in which chat a visitor plays a mission.

        Raises:
            NotFound: mission or chat is not the visitor's.
        """
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            _owned_assignment(connection, visitor_id, assignment_id)
            _set(connection, assignment_id, conversation_id=conversation_id, used_at=now())

    def give_up_mission(self, visitor_id: str, assignment_id: str) -> None:
        """Free the place of a mission that a visitor does not want to play; it is not given to them again."""
        with self.writing() as connection:
            _owned_assignment(connection, visitor_id, assignment_id)
            _set(connection, assignment_id, ended_at=now())

    def finish_mission(self, visitor_id: str, assignment_id: str) -> None:
        """Save that a mission is done; it stays so."""
        with self.writing() as connection:
            row = _owned_assignment(connection, visitor_id, assignment_id)
            if row.done_at is None:
                _set(connection, assignment_id, done_at=now())

    def mission_progress(self, visitor_id: str, conversation_id: str) -> MissionProgress:
        """Count the turns of the visitor in a chat, and name the dimensions in which they rated anything in it."""
        own = select(func.count()).where(
            nodes.c.conversation_id == conversation_id, nodes.c.origin == "visitor", nodes.c.deleted_at.is_(None)
        )
        here = (ratings.c.visitor_id == visitor_id) & (ratings.c.conversation_id == conversation_id)
        stars = select(ratings.c.stars).where(here, ratings.c.seq.in_(newest(here)))
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            rated = {name for given in connection.execute(stars).scalars() for name in given}
            return MissionProgress(turns=connection.execute(own).scalar_one(), rated=frozenset(rated))

    def mission_of(self, visitor_id: str, conversation_id: str) -> str:
        """Return the id of the mission that a chat is for; empty for none."""
        here = (assignments.c.visitor_id == visitor_id) & (assignments.c.conversation_id == conversation_id)
        with self.reading() as connection:
            newest_first = select(assignments.c.mission).where(here).order_by(assignments.c.seq.desc())
            return connection.execute(newest_first.limit(1)).scalar() or ""

    def missions_taken(self, playtest: str, since: int) -> dict[str, int]:
        """Return how many places of each mission are taken; see `assign`."""
        with self.reading() as connection:
            return _taken(connection, playtest, since)


def _assigned(connection: Connection, visitor_id: str, playtest: str) -> list[Row[Any]]:
    """Return the missions of a visitor, given up ones left out, the one taken up last first; a deleted chat is none."""
    both = assignments.outerjoin(
        conversations, (conversations.c.id == assignments.c.conversation_id) & conversations.c.deleted_at.is_(None)
    )
    columns = [column for column in assignments.c if column.name != "conversation_id"]
    query = select(*columns, conversations.c.id.label("conversation_id")).select_from(both)
    query = query.where(assignments.c.visitor_id == visitor_id, assignments.c.playtest == playtest)
    query = query.where(assignments.c.ended_at.is_(None))
    return list(connection.execute(query.order_by(assignments.c.used_at.desc(), assignments.c.seq.desc())))


def _given(connection: Connection, visitor_id: str, playtest: str) -> set[str]:
    """Return all missions that a visitor ever had, those included that they gave up."""
    query = select(assignments.c.mission).where(assignments.c.visitor_id == visitor_id, assignments.c.playtest == playtest)
    return set(connection.execute(query).scalars())


def _taken(connection: Connection, playtest: str, since: int) -> dict[str, int]:
    both = assignments.outerjoin(conversations, conversations.c.id == assignments.c.conversation_id)
    withdrawn = select(tombstones.c.target_id).where(tombstones.c.kind == "visitor")
    used = or_(assignments.c.used_at > since, conversations.c.updated_at > since)
    query: Select[Any] = select(assignments.c.mission, func.count(assignments.c.visitor_id.distinct()).label("number"))
    query = query.select_from(both).where(assignments.c.playtest == playtest, assignments.c.ended_at.is_(None))
    query = query.where(assignments.c.visitor_id.not_in(withdrawn), or_(assignments.c.done_at.is_not(None), used))
    return {row.mission: row.number for row in connection.execute(query.group_by(assignments.c.mission))}


def _owned_assignment(connection: Connection, visitor_id: str, assignment_id: str) -> Row[Any]:
    query = select(assignments).where(assignments.c.id == assignment_id, assignments.c.visitor_id == visitor_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no mission {assignment_id[:40]!r} of yours; reload the page")
    return row


def _set(connection: Connection, assignment_id: str, **values: Any) -> None:
    connection.execute(update(assignments).where(assignments.c.id == assignment_id).values(values))


def _chance(visitor_id: str, mission: str) -> str:
    return hashlib.sha256(f"{visitor_id}\x00{mission}".encode()).hexdigest()


def _record(row: Row[Any]) -> Assignment:
    return Assignment(**{name: getattr(row, name) for name in Assignment.model_fields})
