"""Estimate what fits on a machine: hardware, model shapes, cost of training and serving, compatible packages."""
