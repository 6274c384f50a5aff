"""Settings of an evaluation, with their defaults.

    python -m pipelines.evaluate @pipelines/configs/evaluate.toml --dry-run

Unknown keys and impossible values are refused.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from her.config import MAY_CHANGE
from her.inference.batch import Executor
from her.inference.options import CallOptions
from her.types import NonEmpty, Value
from pipelines.evaluate.protocols import PROTOCOLS, ActingProtocol, protocol_named
from pipelines.evaluate.retrieval import RetrievalOptions
from pipelines.evaluate.scores import Thoughts

Role = Literal["actor", "environment", "next_speaker", "judge"]
ROLES: tuple[Role, ...] = ("actor", "environment", "next_speaker", "judge")


class EvaluateOptions(Value):
    """All settings of an evaluation.

    Args:
        name: name of the run's folder in HER_HOME/runs.
        seed: of draws and calls; the runs of a case differ by their number.
        cases: test sets of CoSER, its books, or folders of them.
        limit: most cases, spread evenly over the files; 0 for all.
        runs: simulations of each case; with one there is no variance between runs, and so no honest interval.
        protocol: see protocols.py.
        actor: backend specs of the model that is evaluated; all of one model, as in the three below.
        checkpoint: run or folder of the model that the actor's server has, so that `her promote` knows what was evaluated; an
            actor `local:FOLDER` says so itself.
        environment: of the narrator; empty for the judge's. It is the same for every actor that is compared.
        next_speaker: of who chooses the next speaker; empty for the environment's.
        judge: of the judge.
        scripted: let rules without a model play every role that names no endpoint (scripted_scene.py), to try a whole run.
        rounds: most turns of a scene; 0 for the protocol's.
        thoughts: what the judge sees of the characters' thoughts; empty for the protocol's.
        anonymous: give people and places invented names, as a control for what a model knows of famous books; the protocol's name
            then ends in `+anonymous`.
        given: turns of the book that each scene begins with; they are not judged.
        judge_asks: attempts at a judgement; 0 for the protocol's. A run that is started again with more asks again for those that
            are missing, and for no others.
        transcripts: folder of an evaluation whose transcripts are judged again; nothing is played then.
        retrieval: passages of the book that the actors are given.
        executor: `ray` spreads the calls over the workers of a Ray cluster.
        pilot: cases that are played and judged first; the cost of all is forecast from them, and a run whose forecast is above
            its budget stops there. 0 for none.
        calibration: how far the judge agrees with people, for the report: a run or card of judge-check, or labels of people, such
            as a folder of CharacterBench, about which the judge of this run is asked.
        calls: limits, prices and budget of all calls.
    """

    name: NonEmpty = "coser"
    seed: int = 42
    cases: tuple[Path, ...] = Field(min_length=1)
    limit: int = Field(default=0, ge=0)
    runs: int = Field(default=2, ge=1)
    protocol: str = "corrected"
    actor: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    checkpoint: str = ""
    environment: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    next_speaker: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    judge: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    scripted: bool = False
    rounds: int = Field(default=0, ge=0)
    thoughts: tuple[Thoughts, ...] = ()
    anonymous: bool = False
    given: int = Field(default=0, ge=0)
    judge_asks: int = Field(default=0, ge=0, json_schema_extra=MAY_CHANGE)
    transcripts: Path | None = None
    retrieval: RetrievalOptions = RetrievalOptions()
    executor: Executor = Field(default="asyncio", json_schema_extra=MAY_CHANGE)
    pilot: int = Field(default=3, ge=0, json_schema_extra=MAY_CHANGE)
    calibration: str = Field(default="", json_schema_extra=MAY_CHANGE)
    calls: CallOptions = Field(default=CallOptions(), json_schema_extra=MAY_CHANGE)

    @model_validator(mode="after")
    def _require_protocol(self) -> Self:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol={self.protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
        return self

    @model_validator(mode="after")
    def _require_no_book(self) -> Self:
        if self.anonymous and self.retrieval.mode != "none":
            raise ValueError("anonymous=true and retrieval.mode exclude each other: passages of the book hold the true names")
        return self

    @model_validator(mode="after")
    def _require_models(self) -> Self:
        if self.scripted:
            return self
        for role in ("judge",) if self.transcripts is not None else ("actor", "judge"):
            if not getattr(self, role):
                raise ValueError(
                    f'name the {role}: {role}=["openai:http://127.0.0.1:8000/v1#MODEL"]; scripted=true tries a run without models'
                )
        return self

    @property
    def acting(self) -> ActingProtocol:
        """The protocol with what these settings change."""
        chosen = protocol_named(self.protocol)
        changes = {"rounds": self.rounds, "thoughts": self.thoughts, "judge_asks": self.judge_asks}
        if self.anonymous:
            changes["name"] = f"{chosen.name}+anonymous"
        return chosen.model_copy(update={name: value for name, value in changes.items() if value})

    def specs(self, role: Role) -> tuple[str, ...]:
        """Return the endpoints of a role; empty for the scripted one."""
        if role == "next_speaker":
            return self.next_speaker or self.specs("environment")
        if role == "environment":
            return self.environment or self.judge
        return self.actor if role == "actor" else self.judge
