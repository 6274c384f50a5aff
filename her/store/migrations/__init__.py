"""List the revisions of the tables, oldest first. A new one is a file `versions/NNNN_why.py` and its number here."""

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
