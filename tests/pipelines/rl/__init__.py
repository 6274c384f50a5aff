"""Tests of pipelines/rl."""
