"""Tests of her/judging."""
