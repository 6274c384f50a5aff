"""Train on rows: trainer, loop, checkpoints, sampled turns."""
