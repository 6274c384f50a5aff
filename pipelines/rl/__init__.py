"""Reinforcement learning of role play from relative rewards. Entry: __main__.py."""
