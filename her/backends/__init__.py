"""What continues messages: one Protocol (base.py), one spec grammar (open.py), one module for each kind of backend."""
