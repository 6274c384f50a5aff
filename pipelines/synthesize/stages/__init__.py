"""The model calls of synthesis, one module a stage."""
