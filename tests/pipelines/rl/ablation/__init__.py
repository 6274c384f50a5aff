"""Tests of pipelines/rl/ablation/."""
