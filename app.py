"""The playground, the same file on a laptop and on a Space. Run: `python app.py`."""

import sys

from her.config import Settings
from her.errors import HerError
from her.ui.build import launch


def main() -> None:
    """Open the playground with the settings of the environment; an expected error is printed as one line."""
    try:
        launch(Settings())
    except HerError as error:
        sys.exit(f"her: {error}")


if __name__ == "__main__":
    main()
