"""Tests of pipelines/synthesize/stages."""
