"""A small finished book in the CoSER schema, for tests of readers and of the conversion."""

import json
from pathlib import Path
from typing import Any


def lines(book: str, plot: int) -> list[dict[str, Any]]:
    """Return four lines of a conversation: two of Mara, one of Tom, one of the environment."""
    spoken = [("Mara", f"[I wait.] (turns) {book} {plot}."), ("Tom", "Aye — “so”."), ("Environment", "Rain."), ("Mara", "[Hm.]")]
    return [{"character": name, "message": text, "i_p": plot, "i_c": 0} for name, text in spoken]


def write_book(folder: Path, name: str, plots: int = 2) -> Path:
    """Write a book with so many plots, and one plot without a conversation; return its path."""
    path = folder / f"{name}.json"
    full = [{"summary": "s", "conversation": [{"scenario": "Night.", "dialogues": lines(name, plot)}]} for plot in range(plots)]
    content = {"plots": [*full, {"summary": "none"}], "character_datasets": {"Mara": {"profile": "A keeper."}}}
    path.write_text(json.dumps(content), "utf-8")
    return path
