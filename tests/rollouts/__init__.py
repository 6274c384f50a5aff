"""Tests of her/rollouts."""
