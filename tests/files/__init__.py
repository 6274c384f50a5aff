"""Tests of her/files."""
