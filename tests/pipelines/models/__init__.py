"""Tests of pipelines/models."""
