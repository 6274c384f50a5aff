"""Tests of her/ui."""
