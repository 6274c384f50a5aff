"""Tests of pipelines/synthesize."""
