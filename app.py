"""The playground, the same file on a laptop and on a Space. Run: `python app.py`."""

import sys

from her import paths
from her.config import Settings
from her.errors import HerError


def main() -> None:
    """Open the playground with the settings of the environment; an expected error is printed as one line."""
    paths.prepare_for_gradio()
    from her.ui.build import launch

    try:
        launch(Settings())
    except HerError as error:
        sys.exit(f"her: {error}")


if __name__ == "__main__":
    main()
