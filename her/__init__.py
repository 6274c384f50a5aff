"""HER: chat with personas whose inner life is visible; ratings become reward data."""

__version__ = "0.1.0"
