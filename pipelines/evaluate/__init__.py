"""Evaluate models on role-play: scenes played by a model, judged case by case, with intervals and reports."""
