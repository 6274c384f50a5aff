"""The playground, the same on a laptop and on a Space. Run: `python app.py`."""

from her.config import Settings
from her.ui.build import launch


def main() -> None:
    """Open the playground with the settings of the environment."""
    launch(Settings())


if __name__ == "__main__":
    main()
