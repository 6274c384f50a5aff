"""Tests of her/format."""
