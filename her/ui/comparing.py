"""Open the comparisons that the file of a playtest describes."""

from collections.abc import Callable, Mapping

from her.backends.base import Backend
from her.backends.open import open_backend
from her.chat.comparisons import ComparedArm, Comparing
from her.feedback.playtest import Playtest
from her.judging.catches import Catches
from her.store import Conversation
from her.types import Persona


def comparing(
    playtest: Playtest | None, personas: Mapping[str, Persona], mission_of: Callable[[Conversation], str]
) -> Comparing | None:
    """Return the comparisons of a playtest with the backends of its arms; None where it has none.

    Args:
        playtest: the playtest.
        personas: by id.
        mission_of: returns the id of the mission that a chat is for, empty for none; it is called in a thread.

    Raises:
        HerError: the backend of an arm cannot be opened.
    """
    if playtest is None or not playtest.comparisons.arms:
        return None
    settings = playtest.comparisons
    backends: dict[str, Backend] = {}
    for arm in settings.arms:
        if arm.backend and arm.backend not in backends:
            backends[arm.backend] = open_backend(arm.backend, personas=personas)
    arms = [ComparedArm(arm.name, backends.get(arm.backend), arm.sampling, arm.thinking) for arm in settings.arms]
    return Comparing(
        arms,
        lambda chat: playtest.every(mission_of(chat)),
        catch=settings.catch,
        repeat=settings.repeat,
        plant=Catches(personas),
    )
