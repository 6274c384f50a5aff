"""Choose turns of a run that a researcher reads: before and after, with every repair and refusal, half of them refused ones."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from her.characters.coser import BookScene
from her.files import jsonl
from her.kinds import VISIBLE_KINDS
from her.types import ENVIRONMENT, Turn
from pipelines.synthesize.notes import TurnRecord

Json = dict[str, Any]
TURNS = 20
"""Turns that are shown."""


def readable_turns(folder: Path, stages: Sequence[str], first: str, last: str) -> list[Json]:
    """Return up to TURNS turns with what each stage of turns did to them.

    Half of them are turns with a problem, where there are so many. Chosen by a hash, so that equal runs show the same.

    Args:
        stages: names of the stages with records, in order.
        first: name of the file of scenes before all stages; `last` after them.
    """
    records: dict[tuple[str, str], list[TurnRecord]] = {}
    for stage in stages:
        path = folder / f"{stage}.turns.jsonl"
        for record in jsonl.read(path, TurnRecord) if path.is_file() else ():
            records.setdefault((record.scene, record.turn), []).append(record)
    chosen = _choose(records)
    before, after = (_turns(folder / f"{name}.jsonl", chosen) for name in (first, last))
    return [_shown(key, records[key], before, after) for key in chosen if key in before]


def _choose(records: Mapping[tuple[str, str], list[TurnRecord]]) -> list[tuple[str, str]]:
    drawn = sorted(records, key=lambda key: hashlib.sha256(" ".join(key).encode()).digest())
    marked = [key for key in drawn if any(record.first or record.problems or record.error for record in records[key])]
    clean = [key for key in drawn if key not in set(marked)]
    taken = marked[: max(TURNS // 2, TURNS - len(clean))]
    return taken + clean[: TURNS - len(taken)]


def _turns(path: Path, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[BookScene, Turn]]:
    """Return the wanted turns of a file of scenes with their scenes, by the ids of both."""
    keys, found = set(wanted), {}
    for scene in jsonl.read(path, BookScene):
        for turn in scene.turns:
            if (scene.id, turn.id) in keys:
                found[scene.id, turn.id] = (scene, turn)
    return found


def _shown(
    key: tuple[str, str],
    records: Sequence[TurnRecord],
    before: Mapping[tuple[str, str], tuple[BookScene, Turn]],
    after: Mapping[tuple[str, str], tuple[BookScene, Turn]],
) -> Json:
    scene, original = before[key]
    written = after[key][1] if key in after else original
    at = [turn.id for turn in scene.turns].index(original.id)
    earlier = [turn for turn in scene.turns[:at] if turn.speaker != ENVIRONMENT][-1:]
    return {
        "scene": key[0],
        "turn": key[1],
        "book": scene.book,
        "speaker": original.speaker,
        "setting": scene.scenario.setting[:300],
        "heard": f"{earlier[0].speaker}: {earlier[0].text(*VISIBLE_KINDS)}" if earlier else "",
        "before": _parts(original),
        "after": _parts(written),
        "stages": [record.model_dump(mode="json", exclude={"scene", "turn", "speaker"}) for record in records],
    }


def _parts(turn: Turn) -> list[Json]:
    return [{"kind": part.kind, "text": part.text} for part in turn.parts]
