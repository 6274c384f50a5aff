"""Knowledge of a playground about the people in its playtest, so that no request has to ask the database first."""

from her.chat.ceilings import Pace
from her.feedback.playtest import Playtest
from her.store import Store
from her.store.withdrawals import withdrawn_visitors

AT_ONCE, SECONDS = 120, 2.0


class Participants:
    """People of a playground, by the ids of visitors.

    Attributes:
        playtest: what they are asked to agree to, to do and to compare; None for a playground without.
        agreed: who is known to have agreed to its text.
        withdrawn: who deleted everything; nothing is stored for them any more.
        pace: of consents, files and deletions from one address. Anybody may draw a new secret for each, and a deletion reads
            whole tables; a class behind one address is far below it.
    """

    def __init__(self, store: Store, playtest: Playtest | None = None) -> None:
        self.playtest = playtest
        self.agreed: set[str] = set()
        self.withdrawn = set(withdrawn_visitors(store))
        self.pace = Pace(AT_ONCE, SECONDS, "too much is going on from your network address; wait a minute and try again")
