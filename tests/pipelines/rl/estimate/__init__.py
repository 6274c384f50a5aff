"""Tests of pipelines/rl/estimate."""
