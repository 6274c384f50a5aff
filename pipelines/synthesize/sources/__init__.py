"""Read the inputs: raw books and finished books. Nothing here asks a model."""
