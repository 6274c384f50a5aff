"""The stages of synthesis that ask models; `stage_table.py` is the table of those that take scenes to scenes."""
