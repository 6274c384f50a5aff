"""Settings of a check of a judge, with their defaults.

    python -m pipelines.judge_check @pipelines/configs/judge_check_smoke.toml --dry-run

Unknown keys and impossible values are refused.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from her.config import MAY_CHANGE
from her.inference.options import CallOptions
from her.judging.principles import LIBRARY
from her.judging.role_play_benchmarks import Layout
from her.types import NonEmpty, Value


class LabelOptions(Value):
    """Labelled pairs and turns.

    Args:
        path: file or folder with labels; empty for planted ones.
        layout: `preferences` of this project, `pairs` as RewardBench has them, `character_bench` or `rp_bench`; `auto` reads it
            from the fields.
        planted: number of pairs that are made instead, with a known rule, from the lines of this project's personas.
        limit: most pairs, and most turns, that are judged; chosen by the seed; 0 for all.
    """

    path: Path | None = None
    layout: Layout = "auto"
    planted: int = Field(default=0, ge=0)
    limit: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _require_source(self) -> "LabelOptions":
        if (self.path is None) == (not self.planted):
            raise ValueError("give either input.path=FILE (or --data FILE) or input.planted=200")
        return self


class JudgeOptions(Value):
    """Design of the judge.

    Args:
        form: `pairwise` compares two candidates in both orders, `pointwise` scores each alone, `scalar` is a scalar reward model
            behind `/classify` (her/backends/reward_model.py), which reads no instructions.
        principles: `by_case` shows the library and lets the judge choose what matters at this moment, `general` shows one
            criterion for each dimension that all turns are judged by, `own` shows none, as a reward model is asked.
        reasoning: whether the judge writes its analysis before the verdict.
        library: folder of the principles; empty for that of this package.
        samples: answers for each candidate of a pointwise judge, whose mean is the score.
        soft: whether verdicts and scores are read from log-probabilities, where the judge's server gives them.
        trained: whether the judge is a generative reward model of this project, which is asked with short instructions.
    """

    form: Literal["pairwise", "pointwise", "scalar"] = "pairwise"
    principles: Literal["by_case", "general", "own"] = "by_case"
    reasoning: bool = True
    library: Path = LIBRARY
    samples: int = Field(default=1, ge=1)
    soft: bool = True
    trained: bool = False

    @model_validator(mode="after")
    def _require_design(self) -> "JudgeOptions":
        if self.trained and (self.principles != "own" or not self.reasoning):
            raise ValueError(
                "judge.trained=true needs judge.principles=own and reasoning: a trained model names its own principles"
            )
        if self.principles == "general" and self.reasoning:
            raise ValueError("judge.principles=general asks for the verdict alone; give judge.reasoning=false as well")
        if self.samples > 1 and self.form != "pointwise":
            raise ValueError("judge.samples is for judge.form=pointwise; a pairwise judge is asked in both orders instead")
        return self

    @property
    def title(self) -> str:
        """The design in words."""
        if self.form == "scalar":
            return "scalar reward model"
        words = {"by_case": "by case", "general": "general", "own": "own principles"}[self.principles]
        return f"{words}, {self.form}{', reasoning' if self.reasoning else ''}"


class ScriptedOptions(Value):
    """Biases of the scripted judge that answers when no endpoint is named (scripted_judge.py).

    Args:
        slot: log odds for the first candidate.
        length: log odds for each log ratio of lengths.
        noise: deviation of what it sees of quality, in log odds; twice as much without reasoning.
        unreadable: share of answers without a verdict.
    """

    slot: float = 0.6
    length: float = 0.3
    noise: float = Field(default=1.0, ge=0)
    unreadable: float = Field(default=0.02, ge=0, lt=1)


class JudgeCheckOptions(Value):
    """All settings of a check.

    Args:
        name: name of the run's folder in HER_HOME/runs.
        seed: of planted pairs, of the choice under a limit, and of the resamples.
        endpoints: backend specs of the judge, all of one model; of a scalar reward model `http://HOST:PORT#MODEL`; empty asks the
            scripted judge about planted pairs.
        ablation: judge the same pairs with all four designs of the paper (arXiv:2601.21459) instead of `judge`.
        family: model family of the judge as RP-Bench spells it, such as `claude`, for self-preference.
        attacked: honest turns that each kind of attack is tried on; 0 for none.
        resamples: resamples of conversations for an interval.
    """

    name: NonEmpty = "judge-check"
    seed: int = 42
    input: LabelOptions
    endpoints: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    judge: JudgeOptions = JudgeOptions()
    ablation: bool = False
    scripted: ScriptedOptions = ScriptedOptions()
    family: str = ""
    attacked: int = Field(default=20, ge=0)
    resamples: int = Field(default=1000, ge=10)
    calls: CallOptions = Field(default=CallOptions(), json_schema_extra=MAY_CHANGE)

    @model_validator(mode="after")
    def _require_judge(self) -> "JudgeCheckOptions":
        if not self.endpoints and (not self.input.planted or self.judge.form == "scalar"):
            raise ValueError(
                'name the judge: endpoints=["openai:http://127.0.0.1:8000/v1"]; the scripted judge knows planted pairs'
            )
        return self

    @model_validator(mode="after")
    def _require_scalar(self) -> "JudgeCheckOptions":
        if self.judge.form == "scalar" and (self.ablation or not all(each.startswith("http") for each in self.endpoints)):
            raise ValueError('judge.form=scalar has one design, without ablation, at endpoints=["http://127.0.0.1:8000#MODEL"]')
        return self

    def designs(self) -> tuple[JudgeOptions, ...]:
        """Return the designs that are compared: one, or the paper's four in the order of their agreement there."""
        if not self.ablation:
            return (self.judge,)
        cells = (
            ("general", "pointwise", False),
            ("by_case", "pointwise", False),
            ("by_case", "pairwise", False),
            ("by_case", "pairwise", True),
        )
        return tuple(
            self.judge.model_copy(update={"principles": principles, "form": form, "reasoning": reasoning, "trained": False})
            for principles, form, reasoning in cells
        )
