"""Estimate memory, time and cost of a fine-tuning run before it starts."""
