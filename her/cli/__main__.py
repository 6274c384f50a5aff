"""Run the command line without its entry point: `python -m her.cli --help`."""

from her.cli import app

if __name__ == "__main__":
    app()
