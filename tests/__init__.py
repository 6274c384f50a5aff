"""Tests: one file per module; run with `python -m pytest`."""
