"""her/judging/card_text.py: every known figure is said with its interval, unknown ones as a dash, and nothing breaks a table."""

import math

from her.judging.card_text import bias_rows, comparison, markdown, summary, value_text
from her.judging.report_card import CardSettings, JudgeCost, ReportCard, ScoredTurn, report_card
from her.statistics import Interval
from tests.judging.test_report_card import QUICK, planted

NAN = math.nan


def card(settings: CardSettings = QUICK) -> ReportCard:
    pairs = [pair._replace(dimension="own | <b>words</b>", votes=("a", "b")) for pair in planted(60)]
    return report_card(pairs, settings)


def test_a_section_says_agreement_beside_the_ceiling_and_what_it_cost() -> None:
    cost = JudgeCost(calls=120, prompt_tokens=9000, completion_tokens=600, money=1.5)
    attacks = {"thought_process": Interval(0.9, 0.8, 0.95)}
    text = markdown(card(QUICK._replace(cost=cost, adversarial=attacks)))
    assert text.startswith("## Report card\n\nj (m@1) on 60 labelled pairs: agreement 0.")
    assert "human ceiling 0.000 (0.000 to 0.000)" in text and "| two people | 0.000" in text
    assert "| thought process | 0.900 (0.800 to 0.950) |" in text
    assert "120 calls (2.0 for each pair), 9,000 prompt and 600 completion tokens, 1.50 in money." in text
    assert "| own \\| &lt;b>words&lt;/b> | 0." in text


def test_without_votes_the_ceiling_is_unknown_and_undefined_figures_are_left_out() -> None:
    plain = report_card(planted(8), QUICK)
    assert "human ceiling unknown: no two people voted" in summary(plain)
    assert "self-preference" not in {row.name for row in bias_rows(plain)} and "verbosity" not in markdown(plain)
    assert value_text(Interval(NAN, NAN, NAN)) == "–" and value_text(Interval(0.5, NAN, NAN)) == "0.500"


def test_designs_stand_in_one_table() -> None:
    one, two = card(QUICK._replace(name="by case | bare")), report_card(planted(20), QUICK._replace(name="general"))
    head, rule, first, second = comparison([one, two]).splitlines()
    assert head.startswith("| design | agreement | first slot |") and rule.count("---") == 8
    assert first.startswith("| by case \\| bare | 0.") and second.startswith("| general | 0.") and second.endswith("| – | – |")


def test_scored_turns_are_told_by_their_correlation() -> None:
    turns = [ScoredTurn(f"t{number}", f"c{number}", float(number), float(number), "zh") for number in range(30)]
    text = markdown(report_card([], QUICK._replace(judge=("judge", "m")), turns))
    assert "judge (m) on 30 turns that people scored: Spearman's rho 1.000" in text and "labelled pairs" not in text
    assert "| all turns | 1.000 (1.000 to 1.000) |" in text and "| zh | 1.000" in text
