"""Call the command line in this process."""

from typer.testing import CliRunner, Result

from her.cli import app


def her(*words: str) -> Result:
    """Run `her WORDS` and return its exit code and output."""
    return CliRunner().invoke(app, list(words))
