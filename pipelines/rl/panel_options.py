"""Settings of the panel: how often it looks, who judges, and at which change it raises an alarm."""

from pydantic import Field, model_validator

from her.errors import InputError
from her.judging.families import require_other_family
from her.types import NonEmpty, Value


class AlarmOptions(Value):
    """Changes against the start checkpoint, on the same prompts, that raise an alarm.

    Args:
        alpha: chance of a false alarm of a test over all looks of the run; each look gets its equal part.
        longer: relative change of the mean length, of the whole turn or of the plan, that matters; significant as well.
        entropy_drop: fall of the entropy of patterns in bits, Miller-Madow corrected; `entropy_floor` in bits.
        top_rise: rise of the share of the most frequent pattern; `top_ceiling` its largest share. Floor and ceiling count only
            where the start was on the right side of them.
        phrase_rise: rise of the share of turns that hold the most frequent four words in a row.
        diversity_fall: relative fall of distinct word pairs.
        copy_rise: rise of the share of word fours that stand in the prompt.
        malformed_rise: rise of the share of turns that fail the format gate.
        leak_rise: rise of the share of turns that show their plan, or say their thought aloud.
        most_kl: divergence from the start checkpoint in nats a token, measured while training where `kl` is above 0.
        least_entropy: share of the next token's entropy at the first look below which the policy has become nearly certain.
        order_fall: fall of the share of pairs with the same winner in both orders since the first look: the judge guesses.
        least_turns: turns from which patterns and phrases are judged at all: 64 turns of people fall below 2.2 bits four times
            in five.
    """

    alpha: float = Field(default=0.05, gt=0, lt=1)
    longer: float = Field(default=0.3, gt=0)
    entropy_drop: float = Field(default=0.5, gt=0)
    entropy_floor: float = Field(default=1.5, ge=0)
    top_rise: float = Field(default=0.15, gt=0)
    top_ceiling: float = Field(default=0.7, gt=0, le=1)
    phrase_rise: float = Field(default=0.25, gt=0)
    diversity_fall: float = Field(default=0.35, gt=0, lt=1)
    copy_rise: float = Field(default=0.15, gt=0)
    malformed_rise: float = Field(default=0.15, gt=0)
    leak_rise: float = Field(default=0.1, gt=0)
    most_kl: float = Field(default=0.5, gt=0)
    least_entropy: float = Field(default=0.2, ge=0, lt=1)
    order_fall: float = Field(default=0.25, gt=0, le=1)
    least_turns: int = Field(default=256, ge=2)


class PanelOptions(Value):
    """The panel of a run.

    Args:
        every: steps between looks; 0 switches the panel off. A checkpoint is saved at every look.
        prompts: prompts of the fixed set, which are never trained on.
        turns: turns sampled at a look, over all prompts; at least `alarms.least_turns` for judgements about patterns.
        held_out: specs of the held-out judge, all of one model, such as `openai:http://127.0.0.1:8001/v1#model`. It gets no
            principles: judges with principles prefer what has learned to please principles (arXiv:2605.12474). Empty: no
            held-out judge, and the best checkpoint is the last one.
        held_out_family: its model family, such as `gpt`; required with `held_out`.
        policy_family: family of the policy, and `judge_family` that of the judges of the reward; neither may be the held-out
            judge's. `none` for a reward without a model.
        stop: alarms that end the run as collapsed; the others warn. `all` stops at any.
        guard: steps before the first alarm whose checkpoints are not chosen: what raised it began earlier.
    """

    every: int = Field(default=20, ge=0)
    prompts: int = Field(default=64, ge=2)
    turns: int = Field(default=256, ge=2)
    held_out: tuple[NonEmpty, ...] = ()
    held_out_family: str = ""
    policy_family: str = ""
    judge_family: str = ""
    alarms: AlarmOptions = AlarmOptions()
    stop: tuple[NonEmpty, ...] = ("all",)
    guard: int = Field(default=10, ge=0)

    @model_validator(mode="after")
    def _require_held_out(self) -> "PanelOptions":
        if self.held_out:
            others = {"panel.policy_family": self.policy_family, "panel.judge_family": self.judge_family}
            try:
                require_other_family(self.held_out_family, others)
            except InputError as error:
                raise ValueError(f"panel.held_out with panel.held_out_family='{self.held_out_family}': {error}") from error
        return self

    @model_validator(mode="after")
    def _require_turns(self) -> "PanelOptions":
        if self.every and self.turns < self.prompts:
            raise ValueError(f"panel.turns={self.turns} is below panel.prompts={self.prompts}: each prompt needs one turn")
        return self
