"""Tests of pipelines/evaluate."""
