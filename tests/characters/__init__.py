"""Tests of her/characters."""
