"""Tests of her/feedback."""
