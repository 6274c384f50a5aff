"""Backends: whatever continues a list of chat messages. base.py has the Protocol, open.py the table of all backends."""
