"""benchmarks/attacks.py: every guard that it takes out is where it says."""

from benchmarks.attacks import ATTACKS, guard_of


def test_every_guard_is_in_the_code() -> None:
    for attack in ATTACKS:
        _, source = guard_of(attack)
        compile(source, attack.name, "exec")
