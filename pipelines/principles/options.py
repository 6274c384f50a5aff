"""Settings of a run that makes principles, with their defaults.

    python -m pipelines.principles @pipelines/configs/principles_smoke.toml --dry-run

Unknown keys and impossible values are refused.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from her.backends.teacher_principles import TRAITS
from her.config import MAY_CHANGE
from her.inference.options import CallOptions
from her.types import NonEmpty, Value


class PlantedWorld(Value):
    """Pairs with hidden rules, to try a run without votes and without a model (pipelines/principles/planted.py).

    Args:
        pairs: number of pairs; 0 for none.
        conversations: conversations that the pairs belong to.
        rules: traits that decide the label; all other traits are noise.
        wrong: share of the labels that are turned round.
    """

    pairs: int = Field(default=0, ge=0)
    conversations: int = Field(default=60, ge=2)
    rules: int = Field(default=5, ge=0, le=len(TRAITS))
    wrong: float = Field(default=0.05, ge=0, le=0.5)


class ContrastOptions(Value):
    """Preferences to make principles from and to test them on.

    Args:
        files: JSONL files of `her.types.Preference`.
        planted: preferences that are made instead.
        held_out_share: share of the conversations that no principle is made from; all tests are on them.
        most_named: pairs that principles are named for, drawn by the seed; 0 for all.
        most_held_out: pairs that principles are tested on, drawn by the seed; 0 for all.
        length_gap: pairs whose longer turn has more than so many times the characters of the shorter are left out; 0 keeps all.
    """

    files: tuple[Path, ...] = ()
    planted: PlantedWorld = PlantedWorld()
    held_out_share: float = Field(default=0.4, gt=0, lt=1)
    most_named: int = Field(default=0, ge=0)
    most_held_out: int = Field(default=0, ge=0)
    length_gap: float = Field(default=4, ge=0)

    @model_validator(mode="after")
    def _require_source(self) -> "ContrastOptions":
        if bool(self.files) == bool(self.planted.pairs):
            raise ValueError('give either pairs.files=["preferences.jsonl"] or pairs.planted.pairs=400')
        return self


class ClusterOptions(Value):
    """Clusters of the named principles (pipelines/principles/clusters.py).

    Args:
        distance: cosine distance of TF-IDF vectors below which two clusters are joined; 0 joins equal texts only.
        least: namings of the smallest cluster that is distilled; smaller ones are counted and left out.
        most: clusters that are distilled, the largest first; 0 for all.
        same: cosine distance below which two distilled principles are one.
    """

    distance: float = Field(default=0.7, ge=0, le=1)
    least: int = Field(default=3, ge=1)
    most: int = Field(default=200, ge=0)
    same: float = Field(default=0.3, ge=0, le=1)


class SelectionOptions(Value):
    """The test that a principle has to pass (pipelines/principles/selection.py).

    Args:
        at_once: principles that one question applies to a pair.
        orders: 2 asks with both orders of the candidates and takes a disagreement as a tie; 1 asks once, in a drawn order.
        least_decided: held-out pairs that a principle has to decide before it is tested.
        false_discovery: rate of the Benjamini-Hochberg procedure.
        resamples: shufflings of the labels by conversation; all of them where there are fewer.
    """

    at_once: int = Field(default=8, ge=1, le=50)
    orders: Literal[1, 2] = 1
    least_decided: int = Field(default=10, ge=1)
    false_discovery: float = Field(default=0.1, gt=0, lt=1)
    resamples: int = Field(default=9999, ge=99)


class PrinciplesOptions(Value):
    """All settings of a run.

    Args:
        name: name of the run's folder in HER_HOME/runs.
        seed: seed of the split, of drawn pairs, of the order of candidates and of planted pairs.
        endpoints: backend specs that name and distil principles.
        judges: backend specs that apply them to held-out pairs; empty uses `endpoints`. Another model is better here: one that
            finds its own principles in the turn it likes agrees with itself.
        temperature: of naming and distilling; principles are applied at 0.
        library: folder of the library that the kept principles are added to; none takes the one of the package.
        most_missing: share of the answers of a step that may be missing; above it the run fails and says why.
        shown: held-out pairs a principle that the expert's page shows.
    """

    name: NonEmpty = "principles"
    seed: int = 42
    endpoints: tuple[NonEmpty, ...] = Field(default=("teacher:",), min_length=1, json_schema_extra=MAY_CHANGE)
    judges: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    temperature: float = Field(default=0.7, ge=0, le=2)
    library: Path | None = None
    pairs: ContrastOptions
    clusters: ClusterOptions = ClusterOptions()
    selection: SelectionOptions = SelectionOptions()
    calls: CallOptions = Field(default=CallOptions(), json_schema_extra=MAY_CHANGE)
    most_missing: float = Field(default=0.3, ge=0, le=1, json_schema_extra=MAY_CHANGE)
    shown: int = Field(default=12, ge=0, json_schema_extra=MAY_CHANGE)
