"""Tests of her/store."""
