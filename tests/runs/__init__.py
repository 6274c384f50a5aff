"""Tests of her/runs."""
