"""Tests of pipelines/synthesize/outputs."""
