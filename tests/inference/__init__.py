"""Tests of her/inference."""
