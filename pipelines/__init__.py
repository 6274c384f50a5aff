"""Hold the pipelines; each is run with `python -m pipelines.NAME` or `her run NAME`.

No pipeline imports another; all may import `pipelines.models`.
"""
