"""Play the cases of an evaluation: one scene for each case and run, by the engine of her/rollouts/scene.py.

Nothing here judges. A simulation is determined by its key: what the case says, the protocol, models, seeds and code. Two
processes with equal answers write equal bytes.
"""

import hashlib
from typing import NamedTuple

from her.characters.coser import stable_id
from her.errors import InputError
from her.rollouts.players import Players
from her.rollouts.scene import SceneEngine
from her.rollouts.scene_values import Ended, SceneCounters, SceneSettings
from her.types import ENVIRONMENT, NonEmpty, Transcript, Value
from pipelines.evaluate.cases import ActingCase
from pipelines.evaluate.options import EvaluateOptions
from pipelines.evaluate.players import ActingPlayer, ChoosingPlayer, RolePlayer, TurnFailed, reader_of
from pipelines.evaluate.retrieval import BookMemory
from pipelines.evaluate.role_callers import RoleAsker
from pipelines.evaluate.scores import transcript_id


class Simulation(Value):
    """Record of one simulation, a line of `simulations.jsonl`; its turns are in `transcripts.jsonl`.

    Args:
        case: key of the case.
        run: number of the simulation of this case.
        key: hash of all that determines it.
        transcript: id of its transcript.
        model: model of the actor.
        counters: what went wrong or was decided by lot.
        ended: why it ended.
        given: turns of the book at its beginning.
        failed: why it could not be played to its end; empty for one that was.
        leaked: whether held-out plots could be retrieved.
    """

    case: NonEmpty
    run: int
    key: NonEmpty
    transcript: NonEmpty
    model: NonEmpty
    counters: SceneCounters = SceneCounters()
    ended: Ended = ""
    given: int = 0
    failed: str = ""
    leaked: bool = False


class Played(NamedTuple):
    """A simulation with its transcript."""

    simulation: Simulation
    transcript: Transcript


class PlayStage(NamedTuple):
    """Settings and callers that all simulations of a run share.

    Args:
        options: of the run.
        asker: asks the models.
        model: of the actor.
        key: hash of what determines every simulation of the run, but case and run.
    """

    options: EvaluateOptions
    asker: RoleAsker
    model: str
    key: str

    def key_of(self, case: ActingCase, run: int) -> str:
        """Return the key of one simulation."""
        return hashlib.sha256(f"{self.key}\n{run}\n{case.model_dump_json()}".encode()).hexdigest()


async def simulate(case: ActingCase, run: int, stage: PlayStage) -> Played:
    """Play one case.

    Raises:
        BudgetSpent, BackendError: the run ends.
    """
    options, protocol = stage.options, stage.options.acting
    memory = BookMemory(case, options.retrieval) if options.retrieval.mode != "none" else None
    name = (case.key, run)
    players = Players(
        actor=ActingPlayer(stage.asker, name, case, protocol, memory),
        environment=RolePlayer(stage.asker, "environment", name, protocol.environment),
        next_speaker=ChoosingPlayer(stage.asker, name, case, protocol),
    )
    settings = SceneSettings(
        rounds=protocol.rounds,
        seed=scene_seed(options.seed, run),
        first=case.first(protocol),
        shortest=protocol.earliest_end,
        pool=(*case.major, ENVIRONMENT),
        asks=protocol.asks,
        notation="coser" if protocol.prompt == "coser" else "auto",
    )
    given = case.scene.turns[: options.given]
    begun = Transcript(
        id=stable_id("simulation", case.key, settings.seed), scenario=case.scene.scenario, cast=case.cast(protocol), turns=given
    )
    failed = ""
    engine = SceneEngine(begun.scenario, begun.cast, players, settings, resume=begun, read=reader_of(protocol))
    try:
        await engine.run()
    except (TurnFailed, InputError) as error:  # InputError: the character does not fit into the model's context
        failed = str(error)
    record = engine.record
    identity = transcript_id(case.key, run, stage.model)
    simulation = Simulation(
        case=case.key,
        run=run,
        key=stage.key_of(case, run),
        transcript=identity,
        model=stage.model,
        counters=record.counters,
        ended=record.ended,
        given=len(given),
        failed=failed,
        leaked=memory is not None and memory.leaked,
    )
    return Played(simulation, record.transcript.model_copy(update={"id": identity}))


def scene_seed(seed: int, run: int) -> int:
    """Return the seed of one run's scenes: runs of one case differ by it, and it is equal in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} run {run}".encode()).digest()[:4]) >> 1
