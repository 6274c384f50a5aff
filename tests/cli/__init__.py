"""Tests of her/cli."""
