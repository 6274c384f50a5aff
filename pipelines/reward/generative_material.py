"""Gather what a generative reward model is trained and evaluated on: labelled pairs, critiques, attacks, honest look-alikes."""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from her.files import jsonl
from her.judging.adversarial import ATTACKS
from her.judging.preference_pairs import conversation_of, split_conversations
from pipelines.reward import planted_critic
from pipelines.reward.attacks import attacked_pairs
from pipelines.reward.critics import label_candidates, write_critiques
from pipelines.reward.generative_evaluation import HeldOutTests
from pipelines.reward.generative_heads import is_asked
from pipelines.reward.labelled_pairs import SIDES, Critique, LabelledPair, as_preference, from_preferences
from pipelines.reward.options import PairOptions, RewardOptions
from pipelines.reward.pairs import PairSet, require_apart

log = logging.getLogger(__name__)
CRITIQUES = "critiques.jsonl"


class Material(NamedTuple):
    """Pairs and critiques that a run is made from.

    Args:
        train: labelled pairs for reinforcement learning, negatives included; all of them are asked about.
        critiques: what a judge wrote, on these pairs or on others.
        left_out: what was not used, by reason.
    """

    train: tuple[LabelledPair, ...]
    critiques: tuple[Critique, ...]
    tests: HeldOutTests
    left_out: dict[str, int]


def gather(options: RewardOptions, folder: Path, pairs: PairSet | None = None) -> Material:
    """Return the material of a run; critiques that were asked for are written to `critiques.jsonl` in its folder.

    Args:
        pairs: preferences to learn from; None for planted ones.

    Raises:
        InputError: a file cannot be read, a conversation is both trained and evaluated on, or a part is empty.
    """
    generative = options.generative
    train, held_out, left_out = _planted(options) if pairs is None else _labelled(pairs)
    negatives = attack_pairs(train, options.pairs, options.pairs.attacks, _negatives_of_each(options.pairs, train), options.seed)
    train = (*train, *(pair for pair in negatives if is_asked(pair) and not ATTACKS[pair.kind].tie_passes))
    critiques = [critique for path in generative.critiques for critique in jsonl.read(path, Critique)]
    if options.pairs.planted.pairs:
        write = planted_critic.rating if generative.form == "point" else planted_critic.critique
        critiques += [
            Critique(pair=pair, side=side, text=write(pair, side), judge=planted_critic.JUDGE) for pair in train for side in SIDES
        ]
    elif generative.judges:
        critiques += _asked(options, train, critiques, folder, left_out)
    require_apart(map(as_preference, (*train, *(critique.pair for critique in critiques))), map(as_preference, held_out))
    asked = tuple(pair for pair in train if is_asked(pair))
    left_out["settled without a judge"] += len(train) - len(asked)
    return Material(asked, tuple(critiques), _tests(options, held_out), {why: count for why, count in left_out.items() if count})


def attack_pairs(
    pairs: Sequence[LabelledPair], options: PairOptions, kinds: Sequence[str], count: int, seed: int
) -> list[LabelledPair]:
    """Return at most `count` attacks of each kind on turns that won; candidate a is the honest one."""
    planted = bool(options.planted.pairs)
    honest = [pair for pair in pairs if pair.label in ("a", "b") and (not planted or planted_critic.is_honest(pair))]
    if not honest or not kinds or not count:
        return []
    conversations = {pair.prompt: pair.conversation for pair in pairs}
    found = [
        LabelledPair(
            id=attacked.question.id,
            prompt=attacked.question.prompt,
            a=attacked.question.a,
            b=attacked.question.b,
            label="a",
            kind=attacked.kind,
            conversation=conversations.get(attacked.question.prompt, ""),
            language=attacked.question.language,
        )
        for attacked in attacked_pairs([as_preference(pair) for pair in honest], kinds, count, seed)
    ]
    return [pair for pair in found if not planted or planted_critic.is_told_apart(pair)]


def _labelled(found: PairSet) -> tuple[tuple[LabelledPair, ...], tuple[LabelledPair, ...], Counter[str]]:
    """Return the pairs to train on, those to hold out, and how many were left out, by reason."""
    return from_preferences(found.train, "train"), from_preferences(found.held_out, "test"), Counter(found.left_out)


def _planted(options: RewardOptions) -> tuple[tuple[LabelledPair, ...], tuple[LabelledPair, ...], Counter[str]]:
    settings = options.pairs
    pairs = planted_critic.planted_pairs(settings.planted.pairs, settings.planted.books, options.seed)
    _, apart = split_conversations([as_preference(pair) for pair in pairs], settings.held_out_share, options.seed)
    names = set(map(conversation_of, apart))
    parts = ([pair for pair in pairs if (pair.conversation in names) == held_out] for held_out in (False, True))
    train, held_out = (tuple(part) for part in parts)
    return train, held_out, Counter()


def _asked(
    options: RewardOptions, train: Sequence[LabelledPair], given: Sequence[Critique], folder: Path, left_out: Counter[str]
) -> list[Critique]:
    """Ask the judge about the pairs without a critique, and about the candidates of a model; keep what it wrote as a file."""
    have = {critique.pair.id for critique in given}
    wanted = [pair for pair in train if pair.id not in have and is_asked(pair)]
    written = [write_critiques(options.generative, wanted, folder)] if wanted else []
    if options.generative.candidates.samples:
        written.append(label_candidates(options.generative, folder))
    critiques = [critique for part in written for critique in part.critiques]
    for part in written:
        left_out.update(part.left_out)
    jsonl.write(folder / CRITIQUES, critiques)
    log.info("the judge wrote %d critiques, in %s", len(critiques), folder / CRITIQUES)
    return critiques


def _tests(options: RewardOptions, held_out: Sequence[LabelledPair]) -> HeldOutTests:
    """Return held-out pairs, attacks of every kind on them, and for planted ones the honest look-alikes."""
    settings, count = options.pairs, options.evaluation.attacked
    chosen = list(held_out)
    random.Random(f"tests {options.seed}").shuffle(chosen)
    chosen = chosen[: options.generative.evaluated]
    planted = settings.planted
    return HeldOutTests(
        pairs=tuple(chosen),
        attacks=tuple(attack_pairs(held_out, settings, tuple(ATTACKS), count, options.seed)),
        honest=planted_critic.honest_pairs(count, planted.books, options.seed + 1) if planted.pairs else (),
        decided={pair.id: planted_critic.decided_by(pair) for pair in chosen} if planted.pairs else {},
        resamples=options.evaluation.resamples,
        seed=options.seed,
    )


def _negatives_of_each(options: PairOptions, train: Sequence[LabelledPair]) -> int:
    return max(1, round(options.attack_share * len(train) / len(options.attacks))) if options.attacks else 0
