"""Turn samples into rows of tokens."""
