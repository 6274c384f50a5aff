"""Presets of an ablation: what each changes in the run and in the service that judges it, and the settings of the kit."""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from her.judging.groups import Design
from her.types import NonEmpty, Value
from pipelines.rl.options import RlOptions
from pipelines.rl.reward_options import SourceKind

PresetName = Literal["group", "paper", "hard", "swapped", "unswapped", "addend"]


class Preset(NamedTuple):
    """One side of an ablation.

    Args:
        question: what it tells when it is compared with `group`.
        kind: of the reward's source.
        design: of `her serve reward`, as `rounds` and `soft` are.
        gate: `reward.gate` of the run.
        judged: whether it says anything only where a judge is asked.
    """

    question: str
    kind: SourceKind = "pairwise"
    design: Design = "circulant"
    rounds: int = 2
    soft: bool = True
    gate: bool = True
    judged: bool = True


PRESETS: Mapping[PresetName, Preset] = {
    "group": Preset("the default: members of the group as references, verdicts by log-probabilities", judged=False),
    "paper": Preset("is a frozen reference better than the group? +1, 0 or -1, both orders (HER)", "paper", "paper", soft=False),
    "hard": Preset("do labels serve as well as log-probabilities?", soft=False),
    "swapped": Preset("are all pairs in both orders worth their calls?", design="all_pairs"),
    "unswapped": Preset("what does asking each pair in one order only cost?", design="all_pairs", rounds=1),
    "addend": Preset("may a fault of the format be an addend, not a gate?", gate=False, judged=False),
}
"""All presets; the first is what the others are compared with."""
BASELINE: PresetName = "group"


class AblationSettings(Value):
    """Settings of the kit, `ablation.KEY=VALUE`.

    Args:
        presets: those that are run besides the baseline `group`.
        seeds: seeds of the runs; the difference of two presets is taken seed by seed.
        judge: backend specs of one judge model; the kit starts `her serve reward` with them for each preset in turn.
        principles: folder of a library for the judge; empty for that of this package, `own` for a reward model's own.
        trained: whether the judge is a generative reward model of this project.
        port: of the service, the same for all presets, so that a run that is resumed finds it.
        services: addresses of services that run already, by preset, in place of `judge`.
        launcher: words before `-m pipelines.rl`, such as ["accelerate", "launch"]; empty for this Python.
    """

    presets: tuple[PresetName, ...] = ("paper", "hard", "swapped", "unswapped", "addend")
    seeds: tuple[int, ...] = (1, 2, 3)
    judge: tuple[NonEmpty, ...] = ()
    principles: str = ""
    trained: bool = False
    port: int = Field(default=8190, ge=1, le=65535)
    services: dict[PresetName, NonEmpty] = {}
    launcher: tuple[NonEmpty, ...] = ()

    @property
    def compared(self) -> tuple[PresetName, ...]:
        """Return the baseline and the presets, each once."""
        return tuple(dict.fromkeys((BASELINE, *self.presets)))

    @model_validator(mode="after")
    def _require_seeds(self) -> "AblationSettings":
        if len(set(self.seeds)) < 2 or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)} give no interval; name two or more different ones, such as [1, 2, 3]")
        return self


class AblationOptions(RlOptions):
    """Settings of the runs and of the kit."""

    ablation: AblationSettings = AblationSettings()

    @model_validator(mode="after")
    def _require_comparable(self) -> "AblationOptions":
        if not self.online or self.reward is None:
            raise ValueError(f"presets are of rewards while training; method={self.method} asks for none")
        if not self.panel.every:
            raise ValueError("presets are compared by the panel's looks; set panel.every, such as panel.every=10")
        if self.reward.planted:
            self._require_no_judge(self.reward.planted)
        elif missing := [
            name for name in self.ablation.compared if name not in self.ablation.services and not self.ablation.judge
        ]:
            raise ValueError(
                f"preset '{missing[0]}' has no judge; give ablation.judge=['openai:http://127.0.0.1:8000/v1'], or "
                f"ablation.services.{missing[0]}=ADDRESS of a service that runs"
            )
        elif not self.panel.held_out:
            raise ValueError(
                "training rewards of two presets are on different scales; give panel.held_out=[SPEC], a judge of another family"
            )
        return self

    def _require_no_judge(self, planted: str) -> None:
        judged = [name for name in self.ablation.compared if PRESETS[name].judged]
        if judged:
            raise ValueError(
                f"preset '{judged[0]}' is about judges, and reward.planted={planted} asks none; "
                "give ablation.presets=['addend'], or reward.sources of a judge"
            )


def run_options(options: AblationOptions, preset: PresetName, seed: int, address: str) -> RlOptions:
    """Return the settings of one run: those given, with its name, its seed and what the preset changes."""
    if options.reward is None:
        raise ValueError("the settings have no reward")
    changes: dict[str, Any] = {"gate": PRESETS[preset].gate}
    if address:
        changes["sources"] = [{"kind": PRESETS[preset].kind, "url": address}]
    settings = options.model_dump(mode="json", exclude={"ablation"})
    settings["reward"] |= changes
    settings |= {"name": run_name(options, preset, seed), "seed": seed}
    return RlOptions.model_validate_json(json.dumps(settings))  # through JSON, because strict models take lists for tuples there


def run_name(options: AblationOptions, preset: PresetName, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{options.name}-{preset}-{seed}"
