"""Play: scenes of several characters (scene.py), with the choice of the next speaker (next_speaker.py)."""
