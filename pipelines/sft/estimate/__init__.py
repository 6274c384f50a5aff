"""Estimate what a fine-tuning run takes before it starts."""
