"""Measure what the scene engine costs outside its players. Run: `python -m benchmarks.scene`

Six characters and a narrator play 40 turns; a model chooses who is next, in several forms of answer. The players answer at once
with turns of about 120 words and a plan, and their prompts are fitted to a context, as a small model needs it. The figure is the
CPU time of the whole scene minus that inside the players (answers and counting tokens, both of the backend), by turn: the median
of several scenes. Nothing in a scene waits, so on a free machine the time of the clock is the same. Prints one JSON object.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Sequence

from benchmarks.report import report
from her.backends.base import Completion
from her.rollouts.players import Player, PlayerRequest, Players
from her.rollouts.scene import SceneEngine, SceneMove, SceneSettings
from her.tokens import estimate_tokens
from her.types import CastMember, Message, Scenario

TURNS, REPEATS = 40, 7
BAR = {"ms_a_turn_at_most": 5.0}
NAMES = ("Othello", "Desdemona", "Iago", "Emilia", "Cassio", "Brabantio")
PLAN = "I need to portray {name} as somebody who hides a fear behind good manners, and who watches the others closely. " * 8
SPEECH = (
    "<role_thinking>They must not see that I know, not before the night is over</role_thinking><role_action>turns to the window"
    "</role_action>You ask what I saw, and I shall tell you {number} times over. The lamp was lit, the door was shut, and the "
    "man who left had his hat in his hand. Make of it what you will, but do not ask me to swear to it. "
) * 2
FORMS = (
    "Next Speaker: {name}",
    "Reasoning: it is time.\n**Next Speaker:** {name}.",
    "{name}: well",
    "It should be somebody else.",
)
PROFILE = "A person of the city with a long memory, a short temper and a great wish to be thought well of by everybody. " * 12


class InstantPlayer(Player):
    """Answers at once; `seconds` is the time spent in here.

    Args:
        budget: most tokens of a prompt.
    """

    def __init__(self, budget: int = 6000) -> None:
        self.budget = budget
        self.seconds = 0.0

    def count(self, messages: Sequence[Message]) -> int:
        """Estimate the tokens."""
        began = time.process_time()
        tokens = estimate_tokens(messages)
        self.seconds += time.process_time() - began
        return tokens

    async def answer(self, request: PlayerRequest) -> Completion:
        """Return a turn, or a name."""
        began = time.process_time()
        if request.purpose == "next_speaker":
            text = FORMS[request.turn % len(FORMS)].format(name=NAMES[(request.turn * 5 + request.attempt) % len(NAMES)])
        else:
            plan = PLAN.format(name=request.speaker)
            text = f"<system_thinking>{plan}</system_thinking>{request.speaker}: {SPEECH.format(number=request.turn)}"
        completion = Completion(text=text, finish="stop")
        self.seconds += time.process_time() - began
        return completion


def milliseconds_a_turn(seed: int) -> float:
    """Play one scene and return its time outside the player, by turn."""
    player = InstantPlayer()
    cast = [CastMember(name=name, source="Othello", profile=PROFILE, motivation="To be left alone.") for name in NAMES]
    scenario = Scenario(id="benchmark", place="a house in Venice", setting="Night. A storm is coming in from the sea. " * 8)
    settings = SceneSettings(rounds=TURNS, seed=seed, moves=(SceneMove(turn=9, leaves=("Cassio",)),))
    engine = SceneEngine(scenario, cast, Players(actor=player, environment=player, next_speaker=player), settings)
    gc.collect()
    began = time.process_time()
    record = asyncio.run(engine.run())
    seconds = time.process_time() - began - player.seconds
    assert len(record.transcript.turns) == TURNS, record.ended
    return 1000 * seconds / TURNS


def main() -> None:
    """Play the scenes and print the object."""
    figures = [milliseconds_a_turn(seed) for seed in range(REPEATS)]
    measured = {"ms_a_turn": round(statistics.median(figures), 3), "slowest_ms_a_turn": round(max(figures), 3)}
    report("scene", BAR, measured, measured["ms_a_turn"] <= BAR["ms_a_turn_at_most"])


if __name__ == "__main__":
    main()
