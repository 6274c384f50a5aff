"""Tests of her/deploy."""
