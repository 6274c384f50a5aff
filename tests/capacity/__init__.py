"""Tests of her/capacity."""
