"""Estimate what fits on a machine: hardware, model shapes, training cost, package compatibility."""
