"""Knowledge of a playground about the people in its playtest, so that no request has to ask the database first."""

from her.feedback.playtest import Playtest
from her.store import Store
from her.store.withdrawals import withdrawn_visitors


class Participants:
    """People of a playground, by the ids of visitors.

    Attributes:
        playtest: what they are asked to agree to, to do and to compare; None for a playground without.
        agreed: who is known to have agreed to its text.
        withdrawn: who deleted everything; nothing is stored for them any more.
    """

    def __init__(self, store: Store, playtest: Playtest | None = None) -> None:
        self.playtest = playtest
        self.agreed: set[str] = set()
        self.withdrawn = set(withdrawn_visitors(store))
