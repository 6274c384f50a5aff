"""Estimate memory, time, judge calls and cost of a reinforcement-learning run before it starts."""
