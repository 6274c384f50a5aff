"""her/cli/installation.py and the group itself: version, help, errors."""

from her import __version__
from tests.cli.commands import her


def test_version() -> None:
    assert her("version").stdout == f"her {__version__}\n"


def test_without_words_the_help_is_printed() -> None:
    output = her().output
    assert all(name in output for name in ("play", "personas", "ratings", "space", "backends", "run", "runs", "doctor"))
