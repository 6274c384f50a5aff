"""Tests of pipelines/sft/rows."""
