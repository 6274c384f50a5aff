"""Checks on teacher answers."""
