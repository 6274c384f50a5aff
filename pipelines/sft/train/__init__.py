"""Train on prepared rows: arguments, trainer, callbacks, text pretraining, training."""
