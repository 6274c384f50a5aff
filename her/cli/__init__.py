"""Command line of the project: parse words, call the package that does the work, print. Run: `her --help`.

A HerError is printed as one line on stderr with exit code 2. `her personas validate`, `her principles validate` and `her doctor`
exit with 1 when they report problems. Imports stand inside the commands, so that `her --help` does not load models, Gradio or the
database.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from her.cli import evaluation, hub, installation, playground, principles, promotion, runs, training
from her.errors import HerError


class OneLineErrors(TyperGroup):
    """Command group that prints a HerError as one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit with code 2 after a HerError."""
        try:
            return super().invoke(ctx)
        except HerError as error:
            typer.echo(f"her: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Chat with personas whose inner life is visible, and train models on the ratings.",
)
# Without a name, the commands of a module stand at the top level of `her`.
app.add_typer(playground.app)
app.add_typer(training.app)
app.add_typer(evaluation.app)
app.add_typer(runs.app)
app.add_typer(principles.app)
app.add_typer(hub.app)
app.add_typer(promotion.app)
app.add_typer(installation.app)
