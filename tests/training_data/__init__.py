"""Tests of her/training_data."""
