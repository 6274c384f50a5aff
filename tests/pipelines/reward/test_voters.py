"""pipelines/reward/voters.py: scripted raters vote through the store, and the run reads them like people."""

import json
from collections import Counter
from pathlib import Path

import pytest

from her.feedback.raters import reliabilities
from her.feedback.votes import rater, rater_votes
from her.store import Store
from her.training_data.splits import chat_split
from her.types import Preference
from pipelines.reward.options import PairOptions, PeopleOptions, PlantedOptions
from pipelines.reward.pairs import PairSet, load_pair_sets
from pipelines.reward.people import people_pairs
from pipelines.reward.planted import planted_preferences
from pipelines.reward.voters import CATCH_PAIRS, REPEATED, TASTES, planted_votes, raters

pytestmark = pytest.mark.whole
PAIRS, VOTES = 60, 30
NAMES = {rater(each.visitor_id): each for each in raters()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a database of planted votes."""
    folder = tmp_path_factory.mktemp("votes")
    planted_votes(planted_preferences(PAIRS, (), 1), VOTES, folder / "votes.sqlite3", 1)
    return folder


def sets(folder: Path, length_gap: float = 4, **people: object) -> dict[str, PairSet]:
    options = PairOptions(
        length_gap=length_gap,
        people=PeopleOptions(resamples=100, **people),  # type: ignore[arg-type]
        planted=PlantedOptions(pairs=PAIRS, votes=VOTES),
        held_out_share=0.3,
    )
    return load_pair_sets(options, 1, folder)


def test_every_rater_votes_as_scripted(folder: Path) -> None:
    store = Store(f"sqlite:///{folder / 'votes.sqlite3'}")
    votes = rater_votes(store)
    store.close()
    assert Counter(vote.rater for vote in votes) == dict.fromkeys(NAMES, VOTES + CATCH_PAIRS + VOTES // REPEATED)
    assert sum(vote.repeat for vote in votes) == 12 * VOTES // REPEATED
    assert sum(vote.worse is not None for vote in votes) == 12 * CATCH_PAIRS
    found = reliabilities(votes)
    kinds = {name: each.kind for name, each in NAMES.items()}
    assert {kinds[name] for name in sorted(found, key=lambda name: found[name].weight)[:2]} == {"careless", "left"}
    (left,) = (found[name] for name, kind in kinds.items() if kind == "left")
    assert left.left_share == 1 and left.passed < CATCH_PAIRS
    assert sorted(path.name for path in folder.glob("votes*")) == ["votes.sqlite3", "votes.sqlite3.lock"]


def test_each_camp_gets_the_labels_of_its_own_taste(folder: Path) -> None:
    """The hidden rule of each camp is found again in its labels, better than the other camp's."""
    found = sets(folder)
    report = json.loads((folder / "people.json").read_text())
    assert list(found) == ["camp-1", "camp-2"] and report["taste"]
    for number, part in enumerate(found.values()):
        tastes = {NAMES[name].taste for name in report["camps"][number]["raters"] if NAMES[name].kind == "honest"}
        assert len(tastes) == 1
        own, other = (_right((*part.train, *part.held_out), taste) for taste in (tastes.pop(), "AB"[number]))
        assert own > 0.85 and own >= other
        assert part.ceiling is not None and part.ceiling.value > report["agreement"]["agreement"][0]
        assert part.left_out["catch pair"] == 12 * CATCH_PAIRS and part.left_out["rater of low weight"] > 0
    assert {_right((*part.train, *part.held_out), "A") > 0.8 for part in found.values()} == {True, False}


def test_one_model_of_all_is_a_setting_and_the_same_seed_holds_out_the_same(folder: Path) -> None:
    ((name, together),) = sets(folder, models="one").items()
    assert name == "" and together.ceiling is not None
    again = sets(folder, models="one")[""]
    strict = sets(folder, length_gap=1.3, models="one")[""]
    assert strict.left_out["length gap"] == len(again.train) + len(again.held_out) - len(strict.train) - len(strict.held_out) > 5
    assert [each.conversation for each in again.held_out] == [each.conversation for each in together.held_out]
    assert {each.conversation.partition(":")[0] for each in together.train} == {"persona"}
    assert not {each.conversation for each in together.train} & {each.conversation for each in together.held_out}


def test_votes_of_chats_that_rl_answers_train_no_reward_model(folder: Path) -> None:
    """As a playground's database, the votes of chats of other splits are left out, whole chats each."""
    options = PeopleOptions(resamples=100)
    read = people_pairs(options, str(folder / "votes.sqlite3"), folder, 1)
    kept = {each.conversation for group in read.groups.values() for each in group}
    every = people_pairs(options.model_copy(update={"splits": ()}), str(folder / "votes.sqlite3"), folder, 1)
    chats = {each.conversation for group in every.groups.values() for each in group}
    assert kept == {chat for chat in chats if chat_split(chat) in ("rm_sft", "rm_rl")}
    assert 0 < len(kept) < len(chats) and read.left_out["other split"] > 0 == every.left_out["other split"]


def _right(rows: tuple[Preference, ...], taste: str) -> float:
    """Return how often the label is what this taste says."""
    rule, planted = TASTES[taste], {each.chosen.id.rpartition("-")[0]: each for each in planted_preferences(PAIRS, (), 1)}
    right = []
    for row in rows:
        pair = planted[row.chosen.id.rpartition("-")[0]]
        worth = sum(rule[each.principle] * {"a": 1, "b": -1, "tie": 0}[each.winner] for each in pair.verdict.comparisons)
        right.append((worth > 0) == row.chosen.id.endswith("-0"))
    return sum(right) / len(right)
