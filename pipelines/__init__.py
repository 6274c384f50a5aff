"""Pipelines: each a module that is run as `python -m pipelines.NAME` or `her run NAME`; none imports another, all may import `models`."""
