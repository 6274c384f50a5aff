"""Measure one figure per script: `python -m benchmarks.NAME` runs the shipped code and prints one JSON object."""
