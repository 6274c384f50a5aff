"""Settings of the reward of reinforcement learning, with their defaults."""

from typing import Literal

from pydantic import Field, model_validator

from her.types import NonEmpty, Value

SourceKind = Literal["paper", "pairwise", "pointwise", "scalar"]
Planted = Literal["", "short", "questions", "long"]


class RewardSourceOptions(Value):
    """One source of rewards; every source's rewards are from -1 to 1 within a group.

    Args:
        kind: `paper`: a relative-reward service with `--design paper` (+1, 0, -1 against the frozen reference). `pairwise`: one
            with any other design, or a member of the group as reference. `pointwise`: one with `--judge pointwise`. `scalar`:
            a scalar reward model (`her serve scores`).
        url: address of the server; its token is read from HER_REWARD_TOKEN.
        weight: share in the mix.
    """

    kind: SourceKind = "pairwise"
    url: NonEmpty
    weight: float = Field(default=1, gt=0)


class ShapingOptions(Value):
    """Group-relative, zero-centred shaping: the largest change of a reward by each feature; 0 switches it off.

    Args:
        length: for answers longer than the group's median; full at twice it. Shorter ones are not rewarded.
        repetition: by the share of word triples that repeat within the answer.
        pattern: by the share of the group's other answers with the same order of thought, act and speech.
    """

    length: float = Field(default=0, ge=0, le=1)
    repetition: float = Field(default=0, ge=0, le=1)
    pattern: float = Field(default=0, ge=0, le=1)


class RolloutRewardOptions(Value):
    """The reward of a run: sources, gate and shaping make one number or none.

    Args:
        sources: at least one, or `planted`.
        planted: a known reward for tests, in place of sources: `short`, `long` or `questions`.
        shaping: additions within the group.
        gate: a malformed or truncated answer gets the worst reward of the scale without being judged. False is for the
            ablation `addend`: it is judged, and `addend` is taken off.
        addend: what a malformed answer loses when `gate` is off.
        plans: whether an answer without system_thinking is malformed.
        deadline: seconds for the judges of one group, retries included.
        replay: whether every rollout is written to `replay/`.
    """

    sources: tuple[RewardSourceOptions, ...] = ()
    planted: Planted = ""
    shaping: ShapingOptions = ShapingOptions()
    gate: bool = True
    addend: float = Field(default=0.5, ge=0, le=2)
    plans: bool = True
    deadline: float = Field(default=600, gt=0)
    replay: bool = True

    @model_validator(mode="after")
    def _require_one(self) -> "RolloutRewardOptions":
        if bool(self.sources) == bool(self.planted):
            raise ValueError(
                "give the rewards one source: reward.sources=[{kind='pairwise', url='http://127.0.0.1:8100'}] of a server that "
                "`her serve reward` starts, or reward.planted='questions' for a test"
            )
        return self
