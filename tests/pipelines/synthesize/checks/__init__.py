"""Tests of pipelines/synthesize/checks."""
