"""Ask models, stage by stage; `stage_table.py` lists the stages that take scenes to scenes."""
