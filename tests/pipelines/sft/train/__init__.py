"""Tests of pipelines/sft/train."""
