"""The revisions of the tables, oldest first. New: `versions/NNNN_why.py`, and its number here."""

REVISIONS = ("0001",)
