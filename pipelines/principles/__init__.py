"""Make principles from preferences: name, cluster, distil, and keep those that reproduce the label on other conversations."""
