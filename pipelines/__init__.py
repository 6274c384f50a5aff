"""Pipelines: each a module run as `python -m pipelines.NAME` or `her run NAME`; none imports another, all may import `models`."""
