"""Keep the ratings of a playground outside its machine: HER_DURABLE=OWNER/NAME, on a Space whose disk is lost at a restart.

At the start the database is rebuilt from the segments of a private data set; a start that cannot read them opens nothing. Then
changes are sent at a steady pace and at the end, each time in one commit. A change counts as safe only after its commit was
confirmed: by the answer, or, where the line was cut, by what the data set holds when it can be asked again.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from her import paths
from her.deploy.hub.segment_repository import MARKER, HeldSegments, MovedError, SegmentRepository
from her.errors import HerError, InputError
from her.store import Store, segments, withdrawals
from her.store.records import Safety
from her.store.segments import CutSegments, Keeping, Place, parse_name

log = logging.getLogger(__name__)
COMPACT_AT = 1_000
"""Files in the data set above which the next push writes everything anew, so that a start reads few files."""
PATIENCE = 10
"""Paces without a success after which the page shows the alarm, also where a request hangs."""
CLOSING = 20.0
"""Seconds that the end waits for a push that is under way."""


class PendingPush(NamedTuple):
    """A push without a confirmation: it is sent again with the same bytes until it has one.

    Args:
        files: segments, by name.
        gone: paths that leave in the same commit.
        began: moment before its changes were read, by the monotonic clock.
    """

    files: Mapping[str, bytes]
    gone: tuple[str, ...]
    began: float


class DurableRatings:
    """Copies of what a store holds in a data set. `open` first; then `start` pushes in a thread, `close` pushes the rest.

    Args:
        store: the open database, on SQLite.
        name: the data set, `OWNER/NAME`.
        every: seconds between two pushes.
    """

    def __init__(self, store: Store, name: str, every: float = 60.0) -> None:
        if not store.is_file:
            raise InputError("HER_DURABLE keeps a SQLite file, and HER_DATABASE_URL names a database server; unset one of them")
        self._store, self._every = store, every
        self._repository = SegmentRepository(name)
        self._held = HeldSegments("", {})
        self._place = Place(1, 1)
        self._pending: PendingPush | None = None
        self._unsure = False
        self._taken_over = False
        self._failing = False
        self._safe = 0.0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable ratings", daemon=True)

    def open(self) -> None:
        """Rebuild the database where it is empty, and become the one that writes.

        Raises:
            InputError: the data set is not ours, public, or holds other ratings than a database with unsent ones.
            HerError: the Hub refuses or cannot be reached; nothing was opened.
            StoreError: a segment is missing or damaged.
        """
        began = time.monotonic()
        held = self._repository.open()
        everything = self._match(held)
        self._place = Place(held.boot + 1, 1)
        self._held = self._repository.claim(held, self._place.boot)
        segments.keep(self._store, Keeping(repository=self._repository.name, kept=held.last), everything)
        self._safe = began
        if MARKER in self._held.files:
            self._forget()

    def _match(self, held: HeldSegments) -> bool:
        """Rebuild an empty database; return whether one with rows has to be written whole.

        A database with rows is used only where the data set holds exactly what was kept from it: two that went apart are never
        merged, and nothing is ever deleted here.
        """
        if not segments.holds_rows(self._store):
            if held.last:
                self._rebuild(held)
            return False
        state = segments.keeping(self._store)
        if state is None or state.repository != self._repository.name:
            state = Keeping(repository=self._repository.name)
        elif state.sending and state.sending in held.files:
            segments.confirm(self._store)  # it arrived, and the answer did not
            state = state.model_copy(update={"kept": state.sending})
        if held.last and held.last != state.kept:
            raise InputError(
                f"the database {self._store.where} and the data set '{self._repository.name}' hold different ratings; move the "
                "database away to begin with those of the data set, or name an empty one with HER_DURABLE"
            )
        return not held.last

    def _rebuild(self, held: HeldSegments) -> None:
        state = Keeping(repository=self._repository.name, kept=held.last)
        count = segments.rebuild(self._store, self._repository.download(held), state)
        log.info("rebuilt the database from %d segments, %d rows", len(held.segments), count)

    # Pushing

    def push(self) -> None:
        """Send what has changed, or settle what an earlier push left open.

        Raises:
            HerError: it is not known to be kept; the same call tries again.
        """
        with self._lock:
            try:
                self._push()
            except Exception:
                self._failing = True
                raise
            self._failing = False

    def _push(self) -> None:
        if self._pending is None and not self._taken_over:
            began = time.monotonic()
            self._pending = self._cut(began)
            if self._pending is None:
                self._safe = began
        for _ in range(2):
            if self._unsure:
                self._settle()
            if self._taken_over:
                raise MovedError(
                    f"another playground writes to '{self._repository.name}' now, so nothing more is kept from here; "
                    "stop one of the two, and start this one again if it is to go on"
                )
            if self._pending is None or self._sent():
                break
        else:
            raise HerError(f"'{self._repository.name}' changes all the time; nothing was overwritten, it is tried again")
        if MARKER in self._held.files:
            self._forget()

    def _sent(self) -> bool:
        """Send the pending push; return whether it was confirmed, False where the repository has moved."""
        assert self._pending is not None
        files, gone = self._pending.files, self._pending.gone
        self._unsure = True
        try:
            head = self._repository.commit(self._held.head, files, gone, "Ratings")
        except MovedError:
            return False
        self._confirm(self._held.after(head, files, gone))
        return True

    def _cut(self, began: float) -> PendingPush | None:
        """Cut the next push; after a withdrawal, or with many files, everything is written anew."""
        anew = len(self._held.files) >= COMPACT_AT and segments.waiting(self._store) > 0
        cut = self._cut_segments(anew)
        erased = 0
        # Again, because somebody may withdraw between the deletion and the cut.
        while cut is not None and withdrawals.has_withdrawn(self._store, erased, cut.through):
            erased = cut.through
            withdrawals.erase_withdrawn(self._store)
            cut = self._cut_segments(anew=True)
        if cut is None:
            return None
        segments.note_sending(self._store, list(cut.files)[-1], cut.through)
        opened = f"boot-{self._place.boot:06d}/opened"
        old = [name for name in self._held.files if name.startswith("boot-") and name != opened]
        files = {**cut.files, MARKER: b"yes\n"} if erased else dict(cut.files)
        return PendingPush(files, tuple(old) if anew or erased else (), began)

    def _cut_segments(self, anew: bool) -> CutSegments | None:
        return segments.cut_segments(self._store, self._place, "" if anew else self._held.last, everything=anew)

    def _settle(self) -> None:
        """Find out what became of a push whose answer did not come, and who else has written."""
        held = self._repository.read()
        if self._pending is not None and held.holds(self._pending.files):
            self._confirm(held)
        elif held.segments != self._held.segments:
            self._taken_over = True
        else:
            self._held = held  # somebody edited another file, or nothing happened
        self._taken_over |= held.boot > self._place.boot
        self._unsure = False

    def _confirm(self, held: HeldSegments) -> None:
        assert self._pending is not None
        segments.confirm(self._store)
        last = parse_name(held.last)
        assert last is not None
        self._held, self._place = held, Place(self._place.boot, last.sequence + 1)
        self._safe, self._pending, self._unsure = self._pending.began, None, False

    def _forget(self) -> None:
        """Remove the history of a withdrawal; what fails is tried again at the next push and at the next start."""
        try:
            self._held = self._repository.forget_history(self._held)
        except HerError as error:
            self._unsure = True  # the history may be squashed, and the head another one
            log.warning("the history of a withdrawal is not removed yet: %s", error)

    # Running

    def safety(self) -> Safety:
        """Return how far everything is kept; the page shows it."""
        age = time.monotonic() - self._safe
        waiting = segments.waiting(self._store)
        failing = self._failing or (waiting > 0 and age > PATIENCE * max(self._every, 1))
        return Safety(waiting=waiting, age=age, alarm="taken_over" if self._taken_over else "failing" if failing else "")

    def start(self) -> None:
        """Push at a steady pace from now on."""
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(self._every):
            self._try()
            if self._taken_over:
                return

    def _try(self) -> None:
        try:
            self.push()
        except HerError as error:
            log.error("ratings are not kept outside this machine: %s", error)
        except Exception:
            log.exception("ratings are not kept outside this machine")  # the thread must live, and the page shows the alarm

    def close(self) -> None:
        """Push the rest and stop."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(CLOSING)
        if not self._thread.is_alive() and not self._taken_over:
            self._try()
        if count := segments.waiting(self._store):
            log.error("%d changes are not kept outside this machine", count)


@contextmanager
def kept_durably(store: Store, name: str) -> Iterator[DurableRatings]:
    """Keep a store in a data set until the block ends.

    Raises:
        HerError: what is kept there cannot be read; nothing must be opened then.
    """
    ratings = DurableRatings(store, name, paths.durable_every())
    ratings.open()
    ratings.start()
    try:
        yield ratings
    finally:
        ratings.close()
