"""The planted judge writes what the reader reads: every critique, of attacks as well, has evidence and the label."""

from collections import Counter

import pytest

from her.judging.adversarial import ATTACKS
from her.judging.judge import turn_words
from her.judging.verdicts import in_candidates, read_verdict
from pipelines.reward.generative_heads import HEADS, is_asked
from pipelines.reward.generative_material import attack_pairs
from pipelines.reward.labelled_pairs import SIDES, LabelledPair
from pipelines.reward.options import PairOptions, PlantedOptions
from pipelines.reward.planted_critic import STYLES, critique, decided_by, honest_pairs, planted_pairs, rating

PLANTED = PairOptions(planted=PlantedOptions(pairs=1))


def read(pair: LabelledPair, side: str) -> object:
    shown = (pair.a, pair.b) if side == "a" else (pair.b, pair.a)
    reading = read_verdict(critique(pair, "a" if side == "a" else "b"), *map(turn_words, shown))
    assert reading.outcome is not None, (pair.kind, reading.problem, critique(pair, "a"))
    assert reading.comparisons and not reading.unsupported
    return in_candidates(reading.outcome, (), "a" if side == "a" else "b")[0]


@pytest.mark.whole
def test_every_critique_is_readable_and_gives_the_label_in_both_orders() -> None:
    pairs = planted_pairs(300, (), seed=0)
    assert all(read(pair, side) == pair.label for pair in pairs for side in SIDES)
    labels = Counter(pair.label for pair in pairs)
    assert 10 < labels["tie"] < 60 and 90 < labels["a"] < 180 and 90 < labels["b"] < 180
    assert pairs == planted_pairs(300, (), seed=0) != planted_pairs(300, (), seed=1)


def test_the_prompt_decides_half_of_the_pairs() -> None:
    pairs = planted_pairs(300, (), seed=0)
    decided = Counter(map(decided_by, pairs))
    assert decided["fitting act"] + decided["own words"] > 150
    # the same candidates under a prompt of the other occasion: what was better is worse
    for pair in [pair for pair in pairs if decided_by(pair) == "fitting act"][:5]:
        text = pair.prompt[0].content
        for secret, public in (("(secret)", "(public)"), ("(private)", "(open)")):
            text = text.replace(secret, public) if secret in text else text.replace(public, secret)
        other = pair.model_copy(update={"prompt": (pair.prompt[0].model_copy(update={"content": text}), *pair.prompt[1:])})
        line, turned = (next(row for row in critique(each, "a").splitlines() if "fitting" in row) for each in (pair, other))
        assert line[-1] != turned[-1] and {line[-1], turned[-1]} == {"A", "B"}


@pytest.mark.whole
@pytest.mark.parametrize("kind", sorted(ATTACKS))
def test_attacks_lose_and_the_critique_says_so(kind: str) -> None:
    attacks = attack_pairs(planted_pairs(120, (), seed=0), PLANTED, [kind], 12, seed=0)
    assert attacks and all(pair.label == "a" and pair.kind == kind for pair in attacks)
    asked = [pair for pair in attacks if is_asked(pair)]
    assert bool(asked) == (kind != "empty")
    readable = [pair for pair in asked if turn_words(pair.a)]
    assert all(read(pair, side) == "a" for pair in readable for side in SIDES)


def test_ratings_stand_to_each_other_as_the_rule_says() -> None:
    head, pairs = HEADS["point"], planted_pairs(200, (), seed=0)
    scores = [tuple(head.read(pair, side, rating(pair, side)).value for side in SIDES) for pair in pairs]
    agreed = [head.agrees(pair, (first, second)) for pair, (first, second) in zip(pairs, scores, strict=True)]
    assert sum(agreed) > 0.8 * len(pairs)
    order = {"a": 1, "b": -1, "tie": 0}
    for pair, (first, second) in zip(pairs, scores, strict=True):
        assert isinstance(first, float) and isinstance(second, float)
        assert (first - second) * order[pair.label] >= 0  # never the other way round
    attack = attack_pairs(pairs, PLANTED, ["flattering"], 1, seed=0)[0]
    assert head.agrees(attack, (head.read(attack, "a", rating(attack, "a")).value, 1.0))


def test_honest_look_alikes_are_as_good_as_plain_turns() -> None:
    pairs = honest_pairs(4, (), seed=0)
    assert Counter(pair.kind for pair in pairs) == dict.fromkeys(STYLES, 4)
    assert all(pair.label == "tie" and not decided_by(pair) for pair in pairs)
    lengths = {
        kind: [len(pair.a.text("speech")) - len(pair.b.text("speech")) for pair in pairs if pair.kind == kind] for kind in STYLES
    }
    assert max(lengths["short"]) < 0 < min(lengths["long"])
