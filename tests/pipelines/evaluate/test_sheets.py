"""Test the sheets: what is pooled and what never is, rates by play, breakdowns, noise, and warnings."""

import pytest

from her.errors import InputError
from her.judging.statistics import Uncertainty
from pipelines.evaluate.scores import JUDGED_DIMENSIONS, Flaw, transcript_id
from pipelines.evaluate.sheets import AVERAGE, observations, sheets
from tests.pipelines.evaluate.evaluated import rows, scene, score

QUICK = Uncertainty(resamples=200, permutations=200)


def test_a_sheet_has_scores_rates_breakdowns_and_noise() -> None:
    (sheet,) = sheets(rows(), settings=QUICK)
    assert list(sheet.figures) == [AVERAGE, *JUDGED_DIMENSIONS] and list(sheet.overlap) == ["bleu", "rouge_l"]
    assert (sheet.cases, sheet.books, sheet.runs) == (24, 12, 2)
    average = sheet.figures[AVERAGE]
    assert average.low is not None and average.low < 60 < average.high and average.missing == 2
    assert sheet.figures["anthropomorphism"].missing == 2 and sheet.figures["storyline_quality"].missing == 0
    assert sheet.reasons == {"invalid_reply: prose": 2} and sheet.rates.missing == pytest.approx(2 / 192)
    assert set(sheet.breakdowns) == {"split", "characters", "rounds"} and sheet.breakdowns["split"]["ood"].used == 12
    assert sheet.noise[AVERAGE].estimate.low < 0 < sheet.noise[AVERAGE].estimate.high
    assert not sheet.warnings


def test_rates_count_a_play_once_however_many_dimensions_it_has() -> None:
    (sheet,) = sheets(rows(), settings=QUICK)
    assert sheet.rates.plays == 48 and sheet.rates.rounds == 8 and sheet.rates.words == 10
    assert sheet.rates.fallbacks == pytest.approx(2 * 2 / (48 * 11)) and sheet.rates.empty == pytest.approx(2 / (48 * 8))
    none = sheets([score("c", 0, 0, "anthropomorphism", 50.0, rounds=0, choices=0)], settings=QUICK)[0].rates
    assert none.empty is None and none.fallbacks is None and none.ended == 0


def test_languages_judges_protocols_models_and_thoughts_are_never_pooled() -> None:
    whole = [row for row in rows(cases=4) if row.judge]
    others = [{"language": "zh"}, {"judge": "other"}, {"protocol": "her"}, {"model": "m2"}, {"thoughts": "visible"}]
    mixed = [row for changes in others for row in (each.model_copy(update=changes) for each in whole)]
    found = sheets([*whole, *mixed], settings=QUICK)
    assert len(found) == 6 and all(sheet.cases == 4 for sheet in found)
    assert all(sheet.rates.plays == 8 for sheet in found)


def test_the_average_needs_every_dimension() -> None:
    lost = [row for row in rows(cases=9) if row.case == "case 8"]
    assert [each.score for each in observations([row for row in lost if row.judge], AVERAGE)][0] is None


def test_the_weights_of_role_play_bench_are_those_published() -> None:
    names = ("basics", "logic", "knowledge", "diversity", "content_logic", "interaction")
    values = dict(zip(names, (80.55, 80.55, 80.55, 79.97, 79.97, 97.51), strict=True))
    played = [score("s", 0, 0, name, value, protocol="role-play-bench") for name, value in values.items()]
    assert observations(played, AVERAGE)[0].score == pytest.approx(84.645, abs=0.005)  # the leaderboard's first row


def test_two_scores_of_one_play_are_refused() -> None:
    twice = rows(cases=2)
    with pytest.raises(InputError, match="two scores"):
        sheets([*twice, twice[0]], settings=QUICK)


def test_flaws_are_placed_in_the_scene() -> None:
    scores = rows()
    late = [
        row.model_copy(update={"flaws": (Flaw(turn=f"{row.case}/{row.run}/11", severity=5),)})
        for row in scores
        if row.dimension == "storyline_quality"
    ]
    known = {transcript_id(row.case, row.run, row.model): scene(row.case, row.run) for row in late}
    (sheet,) = sheets(late, known, QUICK)
    places = sheet.breakdowns["severity a turn by place in the scene"]
    assert [each.value for each in places.values()] == [0, 0, 2.5]  # five points over the two last turns of twelve


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": None, "missing": "no answer"}, "Judgements without a score"),
        ({"fallbacks": 9}, "Next speakers drawn"),
        ({"empty": 4}, "Empty turns"),
        ({"failed": 1}, "Turns whose call failed"),
        ({"refused": 1}, "Refusals"),
        ({"truncated": 3}, "Truncated turns"),
        ({"leaked": True}, "held-out plots"),
    ],
)
def test_a_rate_that_decides_the_score_is_named(changes: dict[str, object], said: str) -> None:
    (sheet,) = sheets([row.model_copy(update=changes) for row in rows()], settings=QUICK)
    assert any(said in warning for warning in sheet.warnings)


def test_few_books_and_single_runs_are_named() -> None:
    assert any("one run" in each for each in sheets(rows(runs=1), settings=QUICK)[0].warnings)
    assert any("5 books" in each for each in sheets(rows(cases=10), settings=QUICK)[0].warnings)
