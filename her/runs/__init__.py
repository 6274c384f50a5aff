"""Keep the folder of a pipeline run; start, stop, list and resume runs."""
