"""Read raw books and finished data sets."""
