"""Tests of her/deploy/hub."""
