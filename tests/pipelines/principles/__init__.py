"""Tests of pipelines/principles."""
