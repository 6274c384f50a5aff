"""A good persona file, for tests that spoil it."""

from pathlib import Path

GOOD = """\
name: Elara
language: en
colour: "#5b3a29"
tags: [sea, wit]
profile: |
  Keeps the light.
greetings:
  - "[A sail?] (lifts the lamp) Who goes there?"
exchanges:
  - cues: [hello, good evening]
    plan: I need to portray Elara as wary.
    reply: "[He is wet through.] (opens the door) Come in, {visitor}."
  - anytime: true
    reply: Storms pass.
"""


def write(folder: Path, text: str | bytes, name: str = "elara.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
