"""Tests of pipelines/synthesize/sources."""
