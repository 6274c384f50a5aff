"""Tests of pipelines/sft."""
