"""Compare a look at the policy with the start checkpoint on the same prompts, and raise alarms.

Tests are paired by prompt. A run looks many times, and twenty looks at 95 % give 64 % false alarms; so each look gets its equal
part of alpha (Bonferroni). Shares and entropies of patterns have thresholds instead, far above their noise at 256 turns.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from her.statistics import Interval, share_interval
from her.types import Value
from pipelines.rl.panel_options import AlarmOptions
from pipelines.rl.turn_figures import TurnFigures


class Alarm(Value):
    """A sign that the policy pleases the reward and not the reader; `sentence` has the figures."""

    name: str
    sentence: str


class ComparedRow(NamedTuple):
    """One prompt of the fixed set: gains of an answer over the start's, by training reward and held-out judge; None missing."""

    reward: float | None
    held_out: float | None

    @property
    def known(self) -> bool:
        """Return whether both judged it."""
        return self.reward is not None and self.held_out is not None

    @property
    def diverged(self) -> bool:
        """Return whether the reward rose and the held-out verdict fell."""
        return (self.reward or 0) > 0 and (self.held_out or 0) < 0


class Divergence(Value):
    """Share of rows where reward and held-out judge part, now and between two samplings of the start.

    Args:
        rows: judged in both comparisons.
        share: now, with its interval at the look's part of alpha.
        start: the same share between two samplings of the start checkpoint, which is what noise does.
        p: that a difference as large comes by chance (exact McNemar test, one-sided).
    """

    rows: int
    share: Interval
    start: float
    p: float


def divergence(now: Sequence[ComparedRow], start: Sequence[ComparedRow], alpha: float) -> Divergence | None:
    """Return the divergence of a look; None when no row was judged in both comparisons.

    Args:
        now: the policy's answers against the start's, by prompt.
        start: a second sampling of the start against the first, of the same prompts in the same order.
        alpha: part of alpha of this look.
    """
    from scipy.stats import binomtest

    pairs = [(a.diverged, b.diverged) for a, b in zip(now, start, strict=True) if a.known and b.known]
    grew, shrank = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    if not pairs:
        return None
    p = float(binomtest(grew, grew + shrank, alternative="greater").pvalue) if grew + shrank else 1.0
    before = sum(b for _, b in pairs) / len(pairs)
    return Divergence(rows=len(pairs), share=share_interval(sum(a for a, _ in pairs), len(pairs), 1 - alpha), start=before, p=p)


class LengthChange(Value):
    """Ratio of mean lengths to the start's, with its interval over prompts at the look's part of alpha; None for one prompt."""

    ratio: float
    low: float | None
    high: float | None


def length_change(now: Sequence[float], start: Sequence[float], alpha: float) -> LengthChange:
    """Return how lengths changed, paired by prompt: the geometric mean of ratios, each length counted plus one."""
    from scipy.stats import t

    ratios = np.log1p(np.asarray(now, dtype=float)) - np.log1p(np.asarray(start, dtype=float))
    middle = float(ratios.mean()) if len(ratios) else 0.0
    if len(ratios) < 2:
        return LengthChange(ratio=math.exp(middle), low=None, high=None)
    half = float(t.ppf(1 - alpha / 2, len(ratios) - 1) * ratios.std(ddof=1) / math.sqrt(len(ratios)))
    return LengthChange(ratio=math.exp(middle), low=math.exp(middle - half), high=math.exp(middle + half))


def slope(steps: Sequence[int], values: Sequence[float]) -> float:
    """Return the change of the logarithm of a positive value in 100 steps, by least squares; NaN for fewer than two looks."""
    known = [(step, math.log(value)) for step, value in zip(steps, values, strict=True) if value > 0]
    if len({step for step, _ in known}) < 2:
        return math.nan
    xs, ys = zip(*known, strict=True)
    return float(100 * np.polyfit(xs, ys, 1)[0])


class TrainingFigures(Value):
    """Means over the steps since the look before, as the trainer logs them; None where a figure is not measured.

    Args:
        kl: divergence from the start checkpoint, nats a token.
        entropy: of the next token, nats.
        order_consistency: share of pairs with the same winner in both orders.
    """

    kl: float | None = None
    entropy: float | None = None
    order_consistency: float | None = None


class LookFigures(NamedTuple):
    """Figures that decide the alarms of one look; `first` are those of training at the first look of the run."""

    now: TurnFigures
    start: TurnFigures
    length: LengthChange
    plan_length: LengthChange
    divergence: Divergence | None
    training: TrainingFigures = TrainingFigures()
    first: TrainingFigures = TrainingFigures()


def alarms(look: LookFigures, options: AlarmOptions, looks: int) -> tuple[Alarm, ...]:
    """Return the alarms of a look.

    Args:
        looks: looks planned for the whole run, over which alpha is spread.
    """
    found = [rule(look, options, options.alpha / max(1, looks)) for rule in RULES]
    return tuple(alarm for alarm in found if alarm is not None)


def _divergence(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    found = look.divergence
    if found is None or found.p >= alpha:
        return None
    return Alarm(
        name="divergence",
        sentence=(
            f"on {found.share.value:.0%} of {found.rows} prompts the training reward rose and the held-out verdict fell; between "
            f"two samplings of the start it is {found.start:.0%} (p = {found.p:.2g})"
        ),
    )


def _length(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    return _changed("length", "turns", look.length, options.longer)


def _plan_length(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    return _changed("plan_length", "plans", look.plan_length, options.longer)


def _changed(name: str, what: str, change: LengthChange, most: float) -> Alarm | None:
    significant = change.low is not None and change.high is not None and (change.low > 1 or change.high < 1)
    if not significant or abs(math.log(change.ratio)) < math.log1p(most):
        return None
    return Alarm(name=name, sentence=f"{what} are {change.ratio:.2f} times as long as the start's")


def _entropy(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    if look.now.turns < options.least_turns:
        return None
    now, start = look.now.entropy, look.start.entropy
    if start - now < options.entropy_drop and not now < options.entropy_floor <= start:
        return None
    return Alarm(name="patterns", sentence=f"patterns have {now:.2f} bits of entropy; the start's had {start:.2f}")


def _top(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    now, start = look.now.top_share, look.start.top_share
    rose = now - start >= options.top_rise or now > options.top_ceiling >= start
    if look.now.turns < options.least_turns or not rose:
        return None
    return Alarm(
        name="top_pattern", sentence=f"{now:.0%} of turns have the pattern {look.now.top_pattern}; the start's {start:.0%}"
    )


def _phrase(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    now, start = look.now.phrase_share, look.start.phrase_share
    if look.now.turns < options.least_turns or now - start < options.phrase_rise:
        return None
    return Alarm(name="phrase", sentence=f"{now:.0%} of turns say '{look.now.phrase}'; the start's top phrase had {start:.0%}")


def _diversity(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    now, start = look.now.distinct_2, look.start.distinct_2
    if look.now.turns < options.least_turns or now >= start * (1 - options.diversity_fall):
        return None
    return Alarm(name="diversity", sentence=f"{now:.0%} of word pairs are distinct; the start's were {start:.0%}")


@dataclass(frozen=True)
class FigureRise:
    """Rule for a figure of the turns that rises by at least a limit; `what` follows the share in the sentence."""

    name: str
    figure: str
    limit: str
    what: str

    def __call__(self, look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
        """Return the alarm, None for none."""
        now, start = getattr(look.now, self.figure), getattr(look.start, self.figure)
        if now - start < getattr(options, self.limit):
            return None
        return Alarm(name=self.name, sentence=f"{now:.0%} {self.what}; at the start it was {start:.0%}")


def _kl(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    now = look.training.kl
    if now is None or now <= options.most_kl:
        return None
    return Alarm(name="kl", sentence=f"the policy is {now:.2f} nats a token from the start (at most {options.most_kl:g})")


def _certainty(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    now, first = look.training.entropy, look.first.entropy
    if now is None or first is None or now >= options.least_entropy * first:
        return None
    return Alarm(name="entropy", sentence=f"the next token has {now:.2f} nats of entropy; at the first look {first:.2f}")


def _order(look: LookFigures, options: AlarmOptions, alpha: float) -> Alarm | None:
    now, first = look.training.order_consistency, look.first.order_consistency
    if now is None or first is None or first - now < options.order_fall:
        return None
    return Alarm(
        name="order_consistency",
        sentence=f"the judge has the same winner in both orders for {now:.0%} of pairs; at the first look for {first:.0%}",
    )


AlarmRule = Callable[[LookFigures, AlarmOptions, float], Alarm | None]
RULES: tuple[AlarmRule, ...] = (
    _divergence,
    _length,
    _plan_length,
    _entropy,
    _top,
    _phrase,
    _diversity,
    FigureRise("copying", "copied", "copy_rise", "of the words in a row are copied from the prompt"),
    FigureRise("malformed", "malformed", "malformed_rise", "of turns fail the format gate"),
    FigureRise("plan_leak", "plan_leaks", "leak_rise", "of turns show their plan"),
    _kl,
    _certainty,
    _order,
    FigureRise("thought_leak", "thought_leaks", "leak_rise", "of turns say their thought aloud"),
)
