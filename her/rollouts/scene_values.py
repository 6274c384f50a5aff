"""Values of a scene: its settings, who comes and goes, a finished turn, the counters and the record to resume from."""

from typing import Literal

from pydantic import Field

from her.backends.base import FinishReason
from her.format import Notation
from her.types import Message, NonEmpty, Transcript, Turn, Value

NextSpeakerMode = Literal["manual", "round_robin", "mention", "model"]
Chosen = Literal["first", "written", "turn", "addressed", "narrator", "named", "drawn"]
"""How a speaker was chosen: named by the model or person, addressed by the turn before, the next in turn, drawn by the seed."""
Mark = Literal["empty", "silent", "truncated", "refused", "looped", "spoke_for_others", "retried"]
Ended = Literal["", "rounds", "end", "stopped", "stalled", "nobody"]


class SceneMove(Value):
    """Somebody comes in or goes, by a written turn of the environment.

    Args:
        turn: number of that turn in the scene, from 0.
        enters: who comes in; they witness this turn.
        leaves: who goes; they witness this turn and none after it.
        text: what the environment says; by default that they come in or leave.
    """

    turn: int = Field(ge=0)
    enters: tuple[NonEmpty, ...] = ()
    leaves: tuple[NonEmpty, ...] = ()
    text: str = ""


class SceneSettings(Value):
    """Settings of a scene.

    Args:
        rounds: turns of the whole scene, the narrator's and those before a resumption included.
        next_speaker: `model` and `manual` ask `Players.next_speaker`; `mention` takes who was addressed last, else who follows
            in turn; `round_robin` takes the cast in its order.
        seed: of the draws and of all calls.
        first: who begins; default the first of the cast who is there.
        shortest: turns before which <END CHAT> does not count.
        pool: who may be drawn when no choice was readable; default everybody who may be next. CoSER takes the major characters
            and the environment.
        asks: how often the next speaker is asked before one is drawn.
        retries: how often an empty turn is asked for again.
        narrator_every: turns after which the narrator speaks in `round_robin` and `mention`; 0 for never.
        may_repeat: whether a speaker may be next after their own turn.
        notation: how turns are read. A thought that a narrator writes in brackets is a thought as well, and nobody sees it.
        moves: who comes and goes.
    """

    rounds: int = Field(default=20, ge=1)
    next_speaker: NextSpeakerMode = "model"
    seed: int = 0
    first: str = ""
    shortest: int = Field(default=6, ge=0)
    pool: tuple[str, ...] = ()
    asks: int = Field(default=2, ge=1)
    retries: int = Field(default=1, ge=0)
    narrator_every: int = Field(default=0, ge=0)
    may_repeat: bool = False
    notation: Notation = "auto"
    moves: tuple[SceneMove, ...] = ()


class SceneCounters(Value):
    """Counts of what went wrong or was decided by lot in a scene; each is a number of turns, but `dropped`.

    Args:
        turns: turns that the players gave.
        fallbacks: speakers drawn by lot because no answer named one who may be next.
        random: speakers drawn because the model had no opinion (`random`).
        asked_again: choices for which the model was asked again.
        early_ends: answers <END CHAT> before `SceneSettings.shortest`.
        empty: turns without a thought, action or speech, also when asked again.
        silent: turns of thoughts alone.
        truncated: answers that ended at their limit of tokens.
        refused: turns in which the model speaks as a model that refuses.
        looped: turns that were shortened because they repeat without end.
        spoke_for_others: turns that went on with another speaker's line, which was cut off.
        dropped: turns that were left out of prompts because they did not fit.
    """

    turns: int = 0
    fallbacks: int = 0
    random: int = 0
    asked_again: int = 0
    early_ends: int = 0
    empty: int = 0
    silent: int = 0
    truncated: int = 0
    refused: int = 0
    looped: int = 0
    spoke_for_others: int = 0
    dropped: int = 0

    def plus(self, **more: int) -> "SceneCounters":
        """Return the counters with these numbers added."""
        return self.model_copy(update={name: getattr(self, name) + number for name, number in more.items()})


class SceneRecord(Value):
    """A scene as far as it is played; enough to go on with it.

    Args:
        transcript: scenario, cast and turns.
        counters: of all turns of the record.
        ended: why it ended; empty while it may go on.
    """

    transcript: Transcript
    counters: SceneCounters = SceneCounters()
    ended: Ended = ""


class PlayedTurn(Value):
    """A finished turn.

    Args:
        turn: the turn.
        chosen: how its speaker was chosen.
        marks: what was noted about it.
        messages: the prompt; empty for a written turn.
        finish: why the answer ended; None for a written turn.
    """

    turn: Turn
    chosen: Chosen
    marks: tuple[Mark, ...] = ()
    messages: tuple[Message, ...] = ()
    finish: FinishReason | None = None
