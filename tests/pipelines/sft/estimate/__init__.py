"""Tests of pipelines/sft/estimate."""
