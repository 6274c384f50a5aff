"""Test the arena's tables: scores and intervals, orders, what is no tie, fragile leads, and judges that part."""

import pytest

from her.judging.arena_table import ArenaGame, arena_tables, fragility, parted_judges
from her.judging.statistics import Uncertainty
from her.types import Outcome

QUICK = Uncertainty(resamples=60)
TURNED: dict[Outcome, Outcome] = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad"}


def game(case: int, winner: Outcome | None, first: str = "x", second: str = "y", **changes: object) -> ArenaGame:
    values: dict[str, object] = {
        "source": "held_out",
        "judge": "reader",
        "case": f"case {case}",
        "cluster": f"book {case}",
        "first": first,
        "second": second,
        "winner": winner,
        "forth": winner,
        "back": winner,
    }
    return ArenaGame(**{**values, **changes})  # type: ignore[arg-type]


def test_who_wins_more_leads_with_an_interval() -> None:
    games = [game(case, "a" if case % 4 else "b") for case in range(20)]
    (table,) = arena_tables(games, QUICK)
    best, second = table.standings
    assert (best.contestant, best.wins, best.losses) == ("x", 15, 5) and second.contestant == "y"
    assert best.score is not None and best.low is not None and best.high is not None
    assert 0 < best.low < best.score < best.high and best.score == -second.score
    assert table.first_slot == 0.5 and table.consistent == 1


@pytest.mark.parametrize("games", [1, 4], ids="{} a book".format)
@pytest.mark.parametrize(("books", "low"), [(12, 1.4808), (50, 2.9709)])
def test_a_contestant_that_won_all_games_has_a_finite_score_and_an_interval(books: int, low: float, games: int) -> None:
    """`low` is the logit of Jeffreys' lower limit, Beta(books + 1/2, 1/2) at 2.5 %: games of one book are no further evidence."""
    won = [game(book * 10 + number, "a", cluster=f"book {book}") for book in range(books) for number in range(games)]
    (table,) = arena_tables(won, Uncertainty(resamples=300))
    best, last = table.standings
    assert best.score is not None and best.low is not None and best.high is not None
    assert 0 < best.low < best.score < best.high < 6 and 2 * best.low == pytest.approx(low, abs=0.3)
    assert (last.low, last.high) == pytest.approx((-best.high, -best.low))


def test_of_three_each_has_an_interval_though_one_lost_all_its_games() -> None:
    pairs = (("x", "y"), ("x", "z"), ("y", "z"))
    games = [game(case, "a" if two == "z" or case % 3 else "b", one, two) for case in range(15) for one, two in pairs]
    (table,) = arena_tables(games, QUICK)
    assert [each.contestant for each in table.standings] == ["x", "y", "z"]
    assert all(each.high is not None and each.low is not None and each.high - each.low > 0.5 for each in table.standings)


def test_few_books_have_no_interval_and_nothing_decided_has_no_score() -> None:
    (table,) = arena_tables([game(case, "a") for case in range(9)], QUICK)
    assert table.standings[0].low is None and table.standings[0].score is not None
    (empty,) = arena_tables([game(0, None, problem="prose", forth=None), game(1, "both_bad")], QUICK)
    assert all(one.score is None and one.missing == 1 and one.both_bad == 1 for one in empty.standings)
    assert empty.fragile is None and arena_tables([], QUICK) == []


def test_a_judge_that_always_takes_the_first_play_decides_nothing() -> None:
    (table,) = arena_tables([game(case, "tie", forth="a", back="b") for case in range(12)], QUICK)
    assert table.first_slot == 1 and table.consistent == 0
    assert all(abs(one.score or 0) < 1e-6 for one in table.standings)


def test_judges_and_people_have_tables_of_their_own() -> None:
    votes = [game(case, "b", source="people", judge=f"rater:{case % 3}", forth=None, back=None) for case in range(12)]
    ruled = [game(case, "a", source="by_case", judge="ruled") for case in range(12)]
    tables = arena_tables([*votes, *ruled, *(game(case, "a") for case in range(12))], QUICK)
    assert [(each.source, each.judge, each.games) for each in tables] == [
        ("held_out", "reader", 12),
        ("by_case", "ruled", 12),
        ("people", "people", 12),
    ]
    assert tables[2].standings[0].contestant == "y" and tables[2].first_slot is None


def test_the_fewest_games_that_unseat_the_leader() -> None:
    close = [game(case, "a") for case in range(4)] + [game(case, "b") for case in range(4, 7)]
    assert fragility(close) == 1
    assert fragility([game(case, "a") for case in range(4)]) == 4
    assert fragility([game(0, "a"), game(1, "b")]) is None  # nobody leads


@pytest.mark.whole  # imports scipy.stats
def test_who_pleases_the_principles_and_not_the_reader_is_marked() -> None:
    games = []
    for case in range(20):
        games += [game(case, "a", "gamer", "honest", source="by_case", judge="ruled"), game(case, "b", "gamer", "honest")]
        games += [game(case, "a", "honest", "other", source="by_case", judge="ruled"), game(case, "a", "honest", "other")]
    found = {each.contestant: each for each in parted_judges(games)}
    assert found["gamer"].flagged and found["gamer"].pleased == 20
    assert not found["honest"].flagged and found["honest"].doubted == 20 and not found["other"].flagged
    assert parted_judges([game(0, "a")]) == []
