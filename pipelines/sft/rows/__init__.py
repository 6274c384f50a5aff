"""Prepare the rows of a run: read samples, audit them, encode them, write Arrow files."""
