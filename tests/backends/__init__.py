"""Tests of her/backends."""
