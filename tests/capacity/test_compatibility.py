"""her/capacity/compatibility.py: each entry of the table is a valid range with a reason and a fix."""

from packaging.specifiers import SpecifierSet

from her.capacity.compatibility import NOTES, RULES


def test_every_rule_can_be_read() -> None:
    for rule in (*RULES, *NOTES):
        assert SpecifierSet(rule.when) and SpecifierSet(rule.needs)
        assert rule.reason
    assert all(rule.fix for rule in RULES)
