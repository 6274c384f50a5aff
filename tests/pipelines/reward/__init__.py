"""Tests of pipelines/reward."""
