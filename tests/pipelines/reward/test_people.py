"""pipelines/reward/people.py and pairs.py: preferences from a playground's database, by camp, and the refusals."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from her.errors import InputError
from her.feedback.raters import RaterVote
from her.feedback.votes import rater
from her.types import Preference
from pipelines.reward.options import PairOptions, PeopleOptions
from pipelines.reward.pairs import load_pair_sets
from pipelines.reward.people import PRIOR_WEIGHT, database_hash, join_raters, model_agreement, people_pairs
from tests.pipelines.reward.pairs_for_tests import preference, turn
from tests.store.samples import ANNE, BEN, greeted, opened, rating, reply


def told(name: str, chosen: str, rejected: str, margin: float = 1.0, **fields: Any) -> Preference:
    """Return the preference of one rater between two turns, named by their texts."""
    sides = [turn(text).model_copy(update={"id": text}) for text in (chosen, rejected)]
    return preference(*sides, rater=name, margin=margin, **fields)


def joined(rows: Iterable[Preference], **weights: float) -> list[tuple[str, float, float, float]]:
    """Return text of the chosen turn, probability that it is better, weight and margin."""
    found = []
    for each in join_raters(rows, weights):
        given = each.verdict.probability
        assert given is not None
        chosen = given if each.verdict.winner == "a" else 1 - given
        found.append((each.chosen.text("speech"), round(chosen, 4), round(each.weight, 4), round(each.margin, 4)))
    return found


def test_raters_of_a_pair_are_joined_by_their_weights() -> None:
    rows = [told("x", "one", "two"), told("y", "one", "two", 2.0), told("z", "two", "one", winner="b")]
    assert joined(rows[:1], x=0.8) == [("one", 0.9, 0.8, 1.0)]
    assert joined(rows[2:], z=0.8) == [("two", 0.9, 0.8, 1.0)], "the verdict may name either side"
    agreed = 0.9 * 0.8 / (0.9 * 0.8 + 0.1 * 0.2)
    assert joined(rows[:2], x=0.8, y=0.6) == [("one", round(agreed, 4), round(2 * agreed - 1, 4), 1.5)]
    assert joined(rows, x=0.2, y=0.2, z=0.9)[0][0] == "two", "one careful rater outweighs two careless ones"
    assert joined([rows[0], rows[2]], x=0.5, z=0.5) == [] and joined(rows[:1], x=0.0) == []
    assert joined(rows, other=0.9) == []


def test_a_joined_pair_names_its_rater_or_how_many() -> None:
    rows = [told("x", "one", "two"), told("y", "one", "two")]
    (alone,), (both,) = (list(join_raters(part, {"x": 0.8, "y": 0.8})) for part in (rows[:1], rows))
    assert (alone.rater, both.rater, both.verdict.judge) == ("x", "", "2 raters")


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "her.sqlite3"
    with pytest.raises(InputError, match="pairs.people.database is .* which is no file"):
        people_pairs(PeopleOptions(), str(missing), tmp_path, 1)
    assert not missing.exists() and database_hash("") == {}


@pytest.mark.whole
def test_a_database_without_shared_pairs_trains_nothing_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(tmp_path)
    for visitor in (ANNE, BEN):
        _, asked = greeted(store, visitor)
        for text, count in (("good", 5), ("bad", 1)):
            node = reply(store, asked, text, visitor_id=visitor)
            store.rate(visitor, node.conversation_id, node.id, rating(stars={"voice": count}))
    store.close()
    options = PairOptions(people=PeopleOptions(database=str(tmp_path / "her.sqlite3"), resamples=100))
    with caplog.at_level(logging.INFO), pytest.raises(InputError, match="no reward model is trained .* no pair has two raters"):
        load_pair_sets(options, 1, tmp_path)
    assert json.loads((tmp_path / "people.json").read_text())["refused"].startswith("no pair has two raters")
    assert "Krippendorff's alpha unknown" in caplog.text


def test_a_withdrawal_changes_the_hash_and_other_chats_do_not(tmp_path: Path) -> None:
    store = opened(tmp_path)
    database = str(tmp_path / "her.sqlite3")
    chat, asked = greeted(store)
    good = reply(store, asked, "good")
    reply(store, asked, "bad")
    store.add_choice(ANNE, chat.id, good.id)
    before = database_hash(database)
    greeted(store, BEN)
    assert database_hash(database) == before and len(before["pairs.people.database"]) == 64
    store.withdraw_visitor(ANNE)
    assert database_hash(database) != before
    store.close()


def test_a_rater_without_checks_has_the_weight_of_the_prior() -> None:
    assert pytest.approx(1 / 3) == PRIOR_WEIGHT and "aaaaaa" not in rater(ANNE)


def test_a_model_is_compared_with_single_votes_by_the_names_of_the_pair() -> None:
    rows = [told("x", "one", "two"), told("x", "zero", "nine", winner="b"), told("x", "six", "ten")]
    votes = [
        RaterVote(rater="x", pair="one-two", winner="a", conversation="c1"),
        RaterVote(rater="y", pair="one-two", winner="b", conversation="c1"),
        RaterVote(rater="x", pair="nine-zero", winner="b", conversation="c2"),
        RaterVote(rater="x", pair="six-ten", winner="tie", conversation="c3"),
        RaterVote(rater="x", pair="elsewhere", winner="a", conversation="c3"),
    ]
    found = model_agreement(votes, rows, [1.0, 2.0, 0.0], 50, 1)
    assert (found.pairs, found.raters, found.agreement.value, found.ceiling.value) == (3, 2, 0.75, 0.0)
    assert model_agreement(votes, rows, [-1.0, -2.0, 0.5], 50, 1).agreement.value == 0.25
