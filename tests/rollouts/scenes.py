"""Players that answer from a list or a function and keep what they were asked, and a small cast."""

from collections.abc import Callable, Sequence

from her.backends.base import Completion, FinishReason
from her.rollouts.players import Player, PlayerRequest, Players
from her.rollouts.scene import SceneEngine, SceneSettings
from her.types import CastMember, Scenario

CAST = tuple(CastMember(name=name, profile=f"{name} is a sailor.") for name in ("Mara", "Tom", "Ann"))
SCENARIO = Scenario(id="s", place="the tower", setting="Night.")


class RecordingPlayer(Player):
    """Answers with the next text of a list, again and again, or with what a function makes of the request."""

    def __init__(self, *texts: str, say: Callable[[PlayerRequest], str] | None = None, finish: FinishReason = "stop") -> None:
        self.texts, self.say, self.finish = texts, say, finish
        self.requests: list[PlayerRequest] = []

    async def answer(self, request: PlayerRequest) -> Completion:
        self.requests.append(request)
        text = self.say(request) if self.say else self.texts[(len(self.requests) - 1) % len(self.texts)]
        return Completion(text=text, finish=self.finish)

    @property
    def asked(self) -> list[str]:
        """The prompts, each as one text."""
        return ["\n".join(message.content for message in request.messages) for request in self.requests]


def talker() -> RecordingPlayer:
    """A player who always says something in good form."""
    return RecordingPlayer(say=lambda request: f"{request.speaker}: Line {request.turn}.")


def engine(
    *texts: str,
    chooser: RecordingPlayer | None = None,
    cast: Sequence[CastMember] = CAST,
    narrator: RecordingPlayer | None = None,
    **settings: object,
) -> SceneEngine:
    """A scene whose characters say `texts`, or a line in good form, and which takes turns unless a chooser is given."""
    actor = RecordingPlayer(*texts) if texts else talker()
    mode = "model" if chooser else "round_robin"
    players = Players(actor=actor, environment=narrator, next_speaker=chooser)
    return SceneEngine(SCENARIO, cast, players, SceneSettings(**{"next_speaker": mode, **settings}))  # type: ignore[arg-type]


def speakers(scene: SceneEngine) -> list[str]:
    """Return who spoke, in order."""
    return [turn.speaker for turn in scene.transcript.turns]
