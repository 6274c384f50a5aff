"""Settings of a reinforcement-learning run, with their defaults.

    python -m pipelines.rl @pipelines/configs/rl_smoke.toml learning_rate=1e-5 --dry-run

Settings of the model are in pipelines/models/options.py, of prompts in prompts.py, of the reward in reward_options.py. Batches
that split a group are refused here, before anything is loaded.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from her.capacity.recipe import Checkpointing
from her.config import MAY_CHANGE
from her.runs.folder import run_folder
from her.types import NonEmpty, Value
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.rl.panel_options import PanelOptions
from pipelines.rl.prompts import PromptOptions
from pipelines.rl.reward_options import RolloutRewardOptions
from pipelines.rl.token_weights import TokenWeightOptions

Method = Literal["grpo", "dapo", "dr_grpo", "gspo", "cispo", "dpo", "kto", "best_of_n"]
ONLINE = ("grpo", "dapo", "dr_grpo", "gspo", "cispo")
"""Methods that sample answers and ask for their rewards while they train."""
FROM_PREFERENCES = ("dpo", "kto")
"""Methods that learn from preferences which are there already."""


class RolloutOptions(Value):
    """Answers of the policy and what of them is learned.

    Args:
        answers: answers of one prompt, a group.
        tokens: most tokens of an answer; a longer one is truncated and fails the format gate.
        temperature: sampling temperature; log-probabilities are divided by it as well.
        iterations: optimiser steps over one batch of answers.
        redraws: how often a group without different rewards is drawn again before it is dropped.
        most_dropped: share of a step's groups that may be dropped; above it the run stops.
        shared_prefix: read the prompt of a group once; False is TRL's own layout.
        divide: divide advantages by the group's deviation (GRPO); Dr. GRPO and DAPO's authors differ here, so it is a setting.
        sampler: `transformers` in the training process, `vllm_colocate` beside it on the same GPU, `vllm_server` at `url`.
        url: address of a server that `trl vllm-serve` started.
        gpu_share: share of the GPU's memory for vLLM beside the policy.
        token_weights: weights of tokens by their mutual information with the persona.
        unit: `turn`: one answer to each prompt. `session`: the policy plays chats of personas on for `session_turns` turns, and
            each session is judged as a whole (pipelines/rl/sessions.py).
        session_turns: turns of the policy in a session.
        visitor: spec of the model that plays the visitors of sessions; empty plays written lines such as "Go on."
    """

    answers: int = Field(default=8, ge=2)
    tokens: int = Field(default=1024, ge=4)
    temperature: float = Field(default=1, gt=0, le=2)
    iterations: int = Field(default=1, ge=1)
    redraws: int = Field(default=2, ge=0, le=2)
    most_dropped: float = Field(default=0.5, ge=0, le=1)
    shared_prefix: bool = True
    divide: bool = True
    sampler: Literal["transformers", "vllm_colocate", "vllm_server"] = "transformers"
    url: str = Field(default="", json_schema_extra=MAY_CHANGE)
    gpu_share: float = Field(default=0.3, gt=0, lt=1)
    token_weights: TokenWeightOptions = TokenWeightOptions()
    unit: Literal["turn", "session"] = "turn"
    session_turns: int = Field(default=4, ge=1)
    visitor: str = ""


class FormatCheckOptions(Value):
    """Answers of the untrained policy that are looked at before the first step.

    Args:
        answers: how many; 0 for no check.
        least: share that must pass the format gate. A checkpoint that was not fine-tuned on the format passes none.
    """

    answers: int = Field(default=20, ge=0)
    least: float = Field(default=0.25, ge=0, le=1)


class PreferenceOptions(Value):
    """Preferences for `dpo` and `kto`.

    Args:
        files: JSONL of preferences, as `her ratings export --format preference` writes it.
        most_tokens: longest prompt and answer together; longer ones are left out and counted.
        beta: strength of the pull to the start checkpoint.
    """

    files: tuple[Path, ...] = ()
    most_tokens: int = Field(default=8192, ge=64)
    beta: float = Field(default=0.1, gt=0)


class RlOptions(Value):
    """All settings of a reinforcement-learning run.

    Args:
        name: name of the run's folder in HER_HOME/runs.
        seed: seed of prompts, sampling and adapters.
        device: `cuda` refuses to start without a GPU; `auto` uses one when there is one.
        method: `grpo`, `dapo`, `dr_grpo`, `gspo` (importance of sequences) and `cispo` sample and judge; `dpo` and `kto` learn
            from `preferences`; `best_of_n` samples, judges and keeps the best answers as samples for `her run sft`.
        start: name of a run of `her run sft`, or of this pipeline, whose model is the start; in place of `model.base`.
        prompts: what the policy answers.
        reward: the one reward function.
        batch: answers of one optimiser step over all devices, a multiple of `rollout.answers`.
        rows: answers in one batch on one device, a multiple of `rollout.answers`, since no batch holds half a group.
        steps: number of optimiser steps.
        learning_rate: peak learning rate of AdamW.
        warmup: share of all steps in which the learning rate rises linearly; 0 to 1.
        schedule: course of the learning rate after the warm-up.
        beta2: decay of AdamW's second moment.
        clip: largest norm of the gradients.
        kl: weight of the divergence from the start checkpoint; 0 loads no reference model.
        clip_low: how far a probability ratio may fall below 1.
        clip_high: how far it may rise above 1; of `cispo` as well.
        checkpointing: activations kept for the backward pass (pipelines/models/activation_checkpointing.py).
        save_every: steps between checkpoints, from which a run resumes; a multiple of `rollout.iterations`. One is saved at every
            look of the panel as well.
        keep: checkpoints that are kept, besides the one that the panel chose.
        log_every: steps between lines of metrics.jsonl.
    """

    name: NonEmpty = "rl"
    seed: int = 42
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", json_schema_extra=MAY_CHANGE)
    method: Method = "dapo"
    start: str = ""
    model: ModelOptions = ModelOptions()
    lora: LoraOptions = LoraOptions()
    prompts: PromptOptions | None = None
    reward: RolloutRewardOptions | None = None
    rollout: RolloutOptions = RolloutOptions()
    preferences: PreferenceOptions = PreferenceOptions()
    panel: PanelOptions = PanelOptions()
    format_check: FormatCheckOptions = FormatCheckOptions()
    batch: int = Field(default=64, ge=1)
    rows: int = Field(default=8, ge=1)
    steps: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=1e-6, gt=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = "constant"
    beta2: float = Field(default=0.99, gt=0, lt=1)
    clip: float = Field(default=1, gt=0)
    kl: float = Field(default=0, ge=0)
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    checkpointing: Checkpointing = "light"
    save_every: int = Field(default=50, ge=1, json_schema_extra=MAY_CHANGE)
    keep: int = Field(default=2, ge=1, json_schema_extra=MAY_CHANGE)
    log_every: int = Field(default=1, ge=1, json_schema_extra=MAY_CHANGE)

    def with_base(self) -> "RlOptions":
        """Return the settings with the folder of the run `start` as base."""
        if not self.start:
            return self
        base = str(run_folder(self.start) / "model")
        return self.model_copy(update={"start": "", "model": self.model.model_copy(update={"base": base})})

    @property
    def online(self) -> bool:
        """Return whether answers are sampled and judged while training."""
        return self.method in ONLINE

    @model_validator(mode="after")
    def _require_consistent(self) -> "RlOptions":
        if bool(self.model.base) == bool(self.start):
            raise ValueError(
                'reinforcement learning starts from a fine-tuned checkpoint: give start="sft-smoke", the name of its run, or '
                "model.base, its folder"
            )
        if self.method in FROM_PREFERENCES:
            if not self.preferences.files:
                raise ValueError(f"method={self.method} learns from preferences; give preferences.files=[...]")
            return self
        if self.prompts is None or self.reward is None:
            raise ValueError(f"method={self.method} needs prompts.* to answer and reward.* to judge the answers")
        if self.online:
            self._require_whole_groups()
        if self.rollout.unit == "session":
            self._require_sessions()
        return self

    def _require_sessions(self) -> None:
        if self.prompts is not None and not self.prompts.personas:
            raise ValueError("rollout.unit=session plays chats of personas; give prompts.personas=['bundled']")
        if not self.online:
            raise ValueError(f"rollout.unit=session needs a method that trains while it plays; method={self.method} does not")
        if self.reward is not None and any(source.kind == "paper" for source in self.reward.sources):
            raise ValueError(
                "a session has no frozen reference to compare with; give reward.sources of another kind than 'paper'"
            )

    def _require_whole_groups(self) -> None:
        size = self.rollout.answers
        for name, value in (("rows", self.rows), ("batch", self.batch)):
            if value % size:
                raise ValueError(
                    f"{name}={value} splits a group of rollout.answers={size}; take {max(1, round(value / size)) * size}"
                )
        if self.batch % self.rows:
            raise ValueError(
                f"batch={self.batch} is not a multiple of rows={self.rows}; take {-(-self.batch // self.rows) * self.rows}"
            )
        if self.save_every % self.rollout.iterations:
            raise ValueError(
                f"save_every={self.save_every} is inside the rollout.iterations={self.rollout.iterations} steps over one batch "
                "of answers, which a resumed run could not repeat; take a multiple"
            )
        if self.rollout.sampler == "vllm_server" and not self.rollout.url:
            raise ValueError("rollout.sampler=vllm_server needs rollout.url, the address of a `trl vllm-serve`")
        if self.lora.quantise and self.device == "cpu":
            raise ValueError("lora.quantise=nf4 needs a GPU; leave it out with device=cpu")
