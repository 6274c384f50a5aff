"""Compare presets of the reward of reinforcement learning by whole runs with several seeds."""
