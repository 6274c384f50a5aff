"""Let the organiser of a playtest in: a link that works once, and a session of its own behind a cookie.

The secrets are 32 random bytes; a file in HER_HOME holds only their hashes, so that `her admin link` and `her admin revoke` reach
a playground that is running. A file that cannot be read lets nobody in.
"""

import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from pydantic import Field, ValidationError

from her.files.atomic import replacing
from her.types import Value

LINK_SECONDS = 15 * 60
SESSION_SECONDS = 12 * 60 * 60
FILE = "organiser.json"
_BEFORE = 60
"""Seconds that a clock may be set back after a secret was made; with more it is refused, or it would live for hours longer."""
log = logging.getLogger(__name__)


class SecretEntry(Value):
    """A secret that is valid: the sha256 of it, when it was made and when it ends, in seconds since 1970."""

    sha256: str
    made: float
    ends: float


class DoorState(Value):
    """Valid links and sessions, and the address under which the playground was opened last."""

    links: tuple[SecretEntry, ...] = ()
    sessions: tuple[SecretEntry, ...] = ()
    address: str = Field(default="")


class OrganiserDoor:
    """Links and sessions of the organiser.

    Args:
        folder: HER_HOME.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / FILE
        self._lock = FileLock(folder / f"{FILE}.lock", timeout=10)
        self._clock = clock

    def link(self, address: str = "") -> str:
        """Return a new link: the address of the page with a secret that works once; `address` is kept for later links."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            state = self._read()
            address = address.rstrip("/") or state.address
            links = (*self._valid(state.links), self._entry(secret, LINK_SECONDS))
            self._write(state.model_copy(update={"links": links, "address": address}))
        return f"{address}/organiser?key={secret}"

    def admits(self, *, key: str = "", session: str = "") -> bool:
        """Tell whether a link's secret could be used, or a session is open. Nothing changes."""
        state = self._read()
        # Both are always compared, so that the time says nothing of which one was right.
        found = [self._find(state.links, key), self._find(state.sessions, session)]
        return any(entry is not None for entry in found)

    def enter(self, key: str) -> str | None:
        """Use a link and return the secret of a new session; None for a link that is unknown, used, ended or revoked."""
        if not key:
            return None
        with self._lock:
            state = self._read()
            used = self._find(state.links, key)
            if used is None:
                return None
            session = secrets.token_urlsafe(32)
            links = tuple(entry for entry in self._valid(state.links) if entry != used)
            sessions = (*self._valid(state.sessions), self._entry(session, SESSION_SECONDS))
            self._write(state.model_copy(update={"links": links, "sessions": sessions}))
        return session

    def leave(self, session: str) -> None:
        """End a session."""
        with self._lock:
            state = self._read()
            ended = self._find(state.sessions, session)
            sessions = tuple(entry for entry in self._valid(state.sessions) if entry != ended)
            self._write(state.model_copy(update={"sessions": sessions}))

    def revoke(self) -> None:
        """End every link and session."""
        with self._lock:
            self._write(DoorState(address=self._read().address))

    def _find(self, entries: tuple[SecretEntry, ...], secret: str) -> SecretEntry | None:
        digest, found = _digest(secret), None
        for entry in self._valid(entries):
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        return found

    def _valid(self, entries: tuple[SecretEntry, ...]) -> tuple[SecretEntry, ...]:
        now = self._clock()
        return tuple(entry for entry in entries if entry.made - _BEFORE <= now < entry.ends)

    def _entry(self, secret: str, seconds: int) -> SecretEntry:
        now = self._clock()
        return SecretEntry(sha256=_digest(secret), made=now, ends=now + seconds)

    def _read(self) -> DoorState:
        try:
            return DoorState.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return DoorState()
        except (OSError, ValidationError) as error:
            log.error(
                "'%s' cannot be read (%s); nobody is let in until her admin link writes it anew", self._path, type(error).__name__
            )
            return DoorState()

    def _write(self, state: DoorState) -> None:
        with replacing(self._path) as file:
            file.write(json.dumps(state.model_dump(), indent=1) + "\n")
        self._path.chmod(0o600)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()
