"""Tests of her/chat."""
