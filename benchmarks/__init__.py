"""One script per figure: `python -m benchmarks.NAME` prints one JSON object, measured on the shipped code."""
