"""Read MiniMax's Role-Play Bench from a path: seeds, published dialogues and their published scores; nothing of it is vendored.

Data: MiniMaxAI/role-play-bench (its metadata says Apache-2.0, its text CC BY 4.0 and CC BY-SA 4.0), files `seeds*`, `dialogues*`
and `evaluations*` as JSONL or Parquet, in folders or names with `en` or `zh`. Judge, judge prompt, user simulator and the size of
deductions have not been published, so everything here is a proxy and says so.

Seeds of RP-Bench (github.com/LeviTheWeasel/rp-benchmark, CC BY-NC 4.0, `*seeds*.json`) are read and played in the same way.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from her.errors import InputError
from her.format import plain_turn
from her.judging.labelled import language_of, rows
from her.types import CastMember, Language, Scenario, Transcript, Turn
from pipelines.evaluate.scores import transcript_id

COLUMNS = ("basics", "logic", "knowledge", "diversity", "content_logic", "interaction")
SOURCE = (
    "Data: MiniMaxAI/role-play-bench; its metadata says Apache-2.0, its text CC BY 4.0 and CC BY-SA 4.0. Read from your path, "
    "not part of this repository."
)
PROXY = (
    "A proxy of MiniMax's Role-Play Bench: its judge, judge prompt, user simulator and deductions are not published. These "
    "scores do not compare with its leaderboard."
)
RP_SOURCE = "Data: LeviTheWeasel/rp-benchmark, CC BY-NC 4.0. Read from your path, not part of this repository."
RP_PROXY = (
    "Seeds of RP-Bench, played with a simulated user and judged as in our proxy of Role-Play Bench, not in RP-Bench's own 27 "
    "dimensions. These scores do not compare with its tables."
)
GENERATED, CHUNK = 100, 20
"""Generated turns of a session, 50 of the model and 50 of the user, and turns of a judged chunk."""
Json = dict[str, Any]


class Seed(NamedTuple):
    """One seed: who plays, who talks with them, and the two first turns."""

    id: str
    language: Language
    name: str
    setting: str
    user: str
    persona: str
    prologue: str
    first: str

    def opening(self, run: int, model: str) -> Transcript:
        """Return the session before anything is generated: the character's prologue and the user's first turn."""
        cast = (CastMember(name=self.name, profile=self.setting), CastMember(name=self.user, profile=self.persona))
        scenario = Scenario(id=self.id, title=self.id, language=self.language, setting="")
        name = transcript_id(self.id, run, model)
        turns = (self.turn(name, 0, self.prologue), self.turn(name, 1, self.first))
        return Transcript(id=name, scenario=scenario, cast=cast, turns=turns)

    def turn(self, session: str, number: int, text: str) -> Turn:
        """Return a turn that is taken as it stands: even numbers are the character's."""
        speaker = self.user if number % 2 else self.name
        return plain_turn(speaker, text).model_copy(update={"id": f"{session} | {number}"})


class SeedSuite(NamedTuple):
    """Suite that seeds belong to, as the report names it."""

    name: str
    title: str
    proxy: str
    source: str


ROLE_PLAY_BENCH = SeedSuite("role-play-bench", "Role-Play Bench", PROXY, SOURCE)
RP_BENCH = SeedSuite("rp-bench", "RP-Bench", RP_PROXY, RP_SOURCE)
_OTHER_NAMES = {"ai_name": "character_name", "ai_setting": "character_setting", "ai_prologue": "opening_message"}
"""Field of Role-Play Bench -> the same in RP-Bench."""


def suite_of(path: Path) -> SeedSuite:
    """Return whose seeds a path holds."""
    first = next((row for _, row in _table(path, "seeds")), {})
    return RP_BENCH if "character_name" in first else ROLE_PLAY_BENCH


class PublishedDialogue(NamedTuple):
    """A dialogue of the data set with its published scores by column; none where they are not given."""

    seed: Seed
    model: str
    run: int
    transcript: Transcript
    labels: Mapping[str, float]


def read_seeds(path: Path) -> tuple[Seed, ...]:
    """Return the seeds below a path, sorted by language and id.

    Raises:
        InputError: there is none, or one lacks a text or comes twice.
    """
    found: dict[str, Seed] = {}
    for file, row in _table(path, "seeds"):
        seed = _seed(file, row)
        if seed.id in found:
            raise InputError(f"'{file}': seed {seed.id!r} comes twice; keep one")
        found[seed.id] = seed
    if not found:
        raise InputError(
            f"'{path}' holds no seeds; give the folder of role-play-bench with files named seeds*.jsonl or *.parquet"
        )
    return tuple(sorted(found.values(), key=lambda seed: (seed.language, seed.id)))


def read_dialogues(path: Path, seeds: Iterable[Seed]) -> Iterator[PublishedDialogue]:
    """Yield the published dialogues with their labels.

    Raises:
        InputError: a dialogue is of no seed, is no list of turns, or does not alternate.
    """
    known = {seed.id: seed for seed in seeds}
    labels: dict[tuple[str, ...], Json] = {_dialogue_key(row): row for _, row in _table(path, "evaluations")}
    runs: dict[tuple[str, str], int] = defaultdict(int)
    for file, row in _table(path, "dialogues"):
        key = _dialogue_key(row)
        seed = known.get(key[0])
        if seed is None:
            raise InputError(f"'{file}': dialogue of seed {key[0]!r}, which is not among the seeds; take files of one release")
        run = runs[key[:2]]
        runs[key[:2]] += 1
        name = transcript_id(seed.id, run, key[1])
        turns = tuple(seed.turn(name, number, text) for number, text in enumerate(_texts(file, key, row.get("dialogue"))))
        given = labels.get(key, {})
        numbers = {column: given.get(f"{column}_score") for column in COLUMNS}
        scores = {column: float(number) for column, number in numbers.items() if isinstance(number, int | float)}
        yield PublishedDialogue(seed, key[1], run, seed.opening(run, key[1]).model_copy(update={"turns": turns}), scores)


def chunks(turns: int, first: int = 2, size: int = CHUNK) -> list[range]:
    """Return the places of the turns of each chunk; a tail of less than half a chunk belongs to the one before it.

    The opening is context: nobody generated it for this session.
    """
    starts = list(range(first, turns, size))
    if len(starts) > 1 and turns - starts[-1] < size / 2:
        starts.pop()
    return [range(start, (starts[place + 1] if place + 1 < len(starts) else turns)) for place, start in enumerate(starts)]


def _seed(file: Path, row: Json) -> Seed:
    fields = ("id", "ai_name", "ai_setting", "user_name", "user_setting", "ai_prologue", "initial_user_input")
    texts = {name: row.get(name) for name in fields}
    if "character_name" in row:  # RP-Bench's user needs neither name nor setting
        texts |= {name: row.get(other) for name, other in _OTHER_NAMES.items()}
        texts |= {
            "user_name": texts["user_name"] or "User",
            "user_setting": texts["user_setting"] or "A person who writes along.",
        }
    if missing := [name for name, text in texts.items() if not isinstance(text, str) or not text.strip()]:
        raise InputError(
            f"'{file}': seed {texts['id']!r} lacks {', '.join(missing)}; every seed of role-play-bench has all seven texts"
        )
    name, user = str(texts["ai_name"]).strip(), str(texts["user_name"]).strip()
    if user == name:
        user = f"{user} (user)"
    language = _language(str(texts["id"]), str(texts["ai_setting"]))
    return Seed(str(texts["id"]), language, name, str(texts["ai_setting"]), user, str(texts["user_setting"]),
                str(texts["ai_prologue"]), str(texts["initial_user_input"]))  # fmt: skip


def _language(name: str, setting: str) -> Language:
    return "zh" if name.startswith("zh") else "en" if name.startswith("en") else language_of(setting)


def _dialogue_key(row: Json) -> tuple[str, str, str]:
    return str(row.get("seed_id")), str(row.get("model_name")), str(row.get("run_id"))


def _texts(file: Path, key: tuple[str, str, str], dialogue: Any) -> list[str]:
    where = f"'{file}': dialogue of {key[1]} on {key[0]}, {key[2]}"
    if isinstance(dialogue, str):
        try:
            dialogue = json.loads(dialogue)
        except json.JSONDecodeError as error:
            raise InputError(f"{where} is no JSON ({error.msg})") from error
    if not isinstance(dialogue, list) or not all(isinstance(turn, dict) for turn in dialogue):
        raise InputError(f"{where} is no list of turns")
    ordered = sorted(dialogue, key=lambda turn: int(turn.get("round", 0)))
    for number, turn in enumerate(ordered):
        if turn.get("role") != ("user" if number % 2 else "ai"):
            raise InputError(f"{where}: turn {number} is of {turn.get('role')!r}; ai and user alternate, ai first")
    return [str(turn.get("text") or "") for turn in ordered]


def _table(path: Path, name: str) -> Iterator[tuple[Path, Json]]:
    """Yield the rows of all files of a table; of one language, JSONL is read before Parquet."""
    files = (
        [path]
        if path.is_file()
        else sorted(file for file in path.rglob(f"*{name}*") if file.suffix in (".json", ".jsonl", ".parquet"))
    )
    stems: set[Path] = set()
    for file in sorted(files, key=lambda each: each.suffix):
        if name in file.name and file.with_suffix("") not in stems:
            stems.add(file.with_suffix(""))
            for row in _parquet(file) if file.suffix == ".parquet" else rows(file):
                yield file, row


def _parquet(file: Path) -> list[Json]:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise InputError(f"'{file}' needs pyarrow: pip install -e '.[train]'; or give the JSONL files") from error
    found: list[Json] = parquet.read_table(file).to_pylist()
    return found
