"""Read people's labels of two role-play benchmarks from a path; neither is part of this repository.

CharacterBench (arXiv:2412.11912, github.com/thu-coai/CharacterBench, `eval_data/raw_data/DIMENSION_test.json`): one answer a
prompt, in Chinese and as a translation, each with a score of people in the file's dimension. No licence is stated.

RP-Bench (github.com/LeviTheWeasel/rp-benchmark, CC BY-NC 4.0): votes on two models' answers. Rows have `mode`, `context` (the
scene's id), `model_a`, `model_b`, `winner` (A, B or tie) and `is_catch`; the answers stand in the row (`response_a`,
`response_b`) or in `results/run_*.json`, the scenes in files named `*seeds*.json`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from her.errors import InputError
from her.format import parse
from her.judging.judge import PairQuestion
from her.judging.labelled import (
    Json,
    LabelledQuestion,
    LabelledSet,
    LabelledTurn,
    language_of,
    majority,
    read_pair_rows,
    read_preferences,
    rows,
    swapped,
)
from her.types import CastMember, Language, Message, Outcome, Scenario, Transcript
from her.view import messages

Layout = Literal["auto", "preferences", "pairs", "character_bench", "rp_bench"]
VISITOR: dict[Language, str] = {"en": "User", "zh": "用户"}
_WINNERS: dict[str, Outcome] = {"a": "a", "b": "b", "tie": "tie"}
_STEM = "_test"


def read_labelled(path: Path, layout: Layout = "auto") -> LabelledSet:
    """Return the labelled pairs and turns at a path.

    Raises:
        InputError: the path does not exist, its layout is not known, or it holds nothing that can be judged.
    """
    if not path.exists():
        raise InputError(f"'{path}' does not exist; give the path of a file or folder with labels")
    found = _READERS[detect(path) if layout == "auto" else layout](path)
    if not found.pairs and not found.turns:
        reasons = ", ".join(f"{why}: {count}" for why, count in found.left_out.items()) or "it is empty"
        raise InputError(f"'{path}' holds nothing that can be judged ({reasons})")
    return found


def detect(path: Path) -> Layout:
    """Return the layout of a file or folder, from the fields of its first row.

    Raises:
        InputError: it holds no row, or none of a known layout.
    """
    filled = False
    for file in _files(path):
        try:
            first = next(iter(rows(file)), {})
        except InputError:
            if path.is_file():
                raise
            filled = True
            continue  # a folder holds other files as well
        filled = filled or bool(first)
        if "annotation_score" in first:
            return "character_bench"
        if {"model_a", "model_b", "winner"} <= first.keys():
            return "rp_bench"
        if {"chosen", "rejected", "verdict"} <= first.keys() and isinstance(first["chosen"], dict):
            return "preferences"
        if {"chosen", "rejected"} <= first.keys():
            return "pairs"
    if not filled:
        raise InputError(f"'{path}' is empty; give a file or folder with labelled pairs or turns")
    raise InputError(
        f"'{path}' has none of the known layouts: preferences, pairs (prompt, chosen, rejected), character_bench "
        "(annotation_score), rp_bench (model_a, model_b, winner); name one with input.layout"
    )


def character_bench(path: Path) -> LabelledSet:
    """Return the scored answers of CharacterBench, each in Chinese and, where it was translated, in English."""
    left_out: Counter[str] = Counter()
    turns: list[LabelledTurn] = []
    for file in _files(path):
        if path.is_dir() and file.suffix != ".json":
            continue
        dimension = file.stem.removesuffix(_STEM)
        for number, row in enumerate(rows(file)):
            turns += _answers(row, f"{dimension} {number}", dimension, left_out)
    return LabelledSet(_same_prompt(turns), tuple(turns), dict(left_out))


def rp_bench(path: Path) -> LabelledSet:
    """Return the votes of RP-Bench on single turns, one pair for each two answers; catch pairs are left out."""
    left_out: Counter[str] = Counter()
    folder = path if path.is_dir() else path.parent
    scenes, answers = _scenes(folder), _answers_of_runs(folder)
    votes: dict[tuple[str, str, str], list[tuple[Json, Outcome]]] = defaultdict(list)
    for file in [path] if path.is_file() else _vote_files(path):
        for row in rows(file):
            if why := _unfit(row, scenes):
                left_out[why] += 1
                continue
            first, second = sorted((str(row["model_a"]), str(row["model_b"])))
            winner = _WINNERS[str(row["winner"]).lower()]
            turned = row["model_a"] != first
            votes[str(row["context"]), first, second].append((row, swapped(winner) if turned else winner))
    pairs = [_voted(key, group, scenes, answers, left_out) for key, group in sorted(votes.items())]
    return LabelledSet(tuple(pair for pair in pairs if pair is not None), (), dict(left_out))


class _Scene(NamedTuple):
    """A scene of RP-Bench: its prompt, and the character who answers."""

    speaker: str
    prompt: tuple[Message, ...]


def _answers(row: Json, name: str, dimension: str, left_out: Counter[str]) -> Iterator[LabelledTurn]:
    """Yield the answer of one row in each of its languages."""
    score = row.get("annotation_score")
    if not isinstance(score, int | float) or isinstance(score, bool):
        left_out["without a score"] += 1
        return
    for language, text in (("zh", row), ("en", row.get("translation_en"))):
        answer = _answer_of(text)
        if not isinstance(text, dict) or not answer or not text.get("dialogue"):
            left_out[f"without an answer in {language}"] += 1
            continue
        # the rows of a character share its profile, and annotators saw it again and again
        speaker = str(text.get("character_name") or row.get("character_name") or "")
        known: Language = "zh" if language == "zh" else "en"
        prompt = _character_prompt(speaker, text, known)
        yield LabelledTurn(
            id=f"{name} {language}",
            prompt=prompt,
            turn=parse(answer, speaker),
            score=float(score),
            conversation=f"{row.get('character_name')} {dimension}",
            language=known,
            dimension=dimension,
        )


def _answer_of(text: Any) -> str:
    if not isinstance(text, dict):
        return ""
    given = text.get("response_messages")
    said = given.get("response") if isinstance(given, dict) else text.get("response_en") or text.get("response")
    return said if isinstance(said, str) else ""


def _character_prompt(speaker: str, text: Json, language: Language) -> tuple[Message, ...]:
    named = str(text.get("user_name") or "")
    visitor = VISITOR[language] if named in ("", "None", "N/A", speaker) else named
    spoken = [
        parse(str(entry.get("utterance", "")), speaker if entry.get("speaker") != "user" else visitor)
        for entry in text["dialogue"]
        if isinstance(entry, dict)
    ]
    cast = (CastMember(name=speaker, profile=str(text.get("character_profile") or "")), CastMember(name=visitor))
    return messages(Transcript(scenario=Scenario(id="scene", language=language), cast=cast, turns=tuple(spoken)), speaker)


def _same_prompt(turns: list[LabelledTurn]) -> tuple[LabelledQuestion, ...]:
    """Return the pairs of answers to one prompt in one dimension, labelled by their scores."""
    groups: dict[tuple[Any, ...], list[LabelledTurn]] = defaultdict(list)
    for turn in turns:
        groups[turn.dimension, turn.language, turn.prompt].append(turn)
    pairs = []
    for group in groups.values():
        for first, second in zip(group, group[1:], strict=False):
            label: Outcome = "tie" if first.score == second.score else "a" if first.score > second.score else "b"
            question = PairQuestion(f"{first.id} {second.id}", first.prompt, first.turn, second.turn, first.language)
            pairs.append(LabelledQuestion(question, label, first.conversation, first.dimension))
    return tuple(pairs)


def _unfit(row: Json, scenes: Mapping[str, _Scene]) -> str:
    """Return why a vote is of no use; empty when it can be used."""
    if row.get("is_catch") in (True, "true", "1", 1):
        return "catch pair"
    if str(row.get("mode", "arena")) != "arena":
        return "vote on a whole session or a rubric"
    if str(row.get("winner", "")).lower() not in _WINNERS or not row.get("model_a") or not row.get("model_b"):
        return "no winner or no models"
    return "" if str(row.get("context")) in scenes else "scene is not among the seeds"


def _voted(
    key: tuple[str, str, str],
    group: list[tuple[Json, Outcome]],
    scenes: Mapping[str, _Scene],
    answers: Mapping[tuple[str, str], str],
    left_out: Counter[str],
) -> LabelledQuestion | None:
    context, *models = key
    scene = scenes[context]
    texts = [_said(model, context, group, answers) for model in models]
    if not all(texts):
        left_out["text of an answer is missing"] += len(group)
        return None
    a, b = (parse(text, scene.speaker) for text in texts)
    votes = tuple(vote for _, vote in group)
    question = PairQuestion(f"{context} {models[0]} {models[1]}", scene.prompt, a, b, language_of(texts[0]))
    families = (models[0].partition("_")[0], models[1].partition("_")[0])
    return LabelledQuestion(question, majority(votes), context, "", votes, families)


def _said(model: str, context: str, group: list[tuple[Json, Outcome]], answers: Mapping[tuple[str, str], str]) -> str:
    for row, _ in group:
        for side in ("a", "b"):
            if row.get(f"model_{side}") == model and row.get(f"response_{side}"):
                return str(row[f"response_{side}"])
    return answers.get((model, context), "")


def _scenes(folder: Path) -> dict[str, _Scene]:
    """Return the scenes of all seed files below a folder, and of the folder beside a file of votes."""
    found: dict[str, _Scene] = {}
    for file in sorted(folder.rglob("*seeds*.json")):
        for row in rows(file):
            if row.get("id") and row.get("character_name"):
                found[str(row["id"])] = _scene(row)
    return found


def _scene(row: Json) -> _Scene:
    speaker, visitor = str(row["character_name"]), str(row.get("user_name") or "User")
    said = [(speaker, row.get("opening_message")), (visitor, row.get("initial_user_input"))]
    turns = tuple(parse(str(text), name) for name, text in said if text)
    cast = (
        CastMember(name=speaker, profile=str(row.get("character_setting") or "")),
        CastMember(name=visitor, profile=str(row.get("user_setting") or "")),
    )
    return _Scene(speaker, messages(Transcript(scenario=Scenario(id="scene"), cast=cast, turns=turns), speaker))


def _answers_of_runs(folder: Path) -> dict[tuple[str, str], str]:
    """Return by model and scene what was generated in the benchmark's runs."""
    found: dict[tuple[str, str], str] = {}
    for file in sorted(folder.rglob("run_*.json")):
        try:
            results = json.loads(file.read_text("utf-8")).get("results", [])
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"'{file}' is no run of RP-Bench: {error}") from error
        for row in results:
            text = (row.get("generation") or {}).get("content")
            if text:
                found.setdefault((str(row.get("test_model")), str(row.get("scenario_id"))), str(text))
    return found


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in (".json", ".jsonl", ".csv"))


def _vote_files(folder: Path) -> list[Path]:
    return [file for file in _files(folder) if "votes" in file.name and file.suffix in (".jsonl", ".csv")]


def _whole_set(read: Callable[[Path], LabelledSet], path: Path) -> LabelledSet:
    """Return what a reader of one file finds in all files of a folder."""
    parts = [read(file) for file in _files(path)]
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part.left_out)
    return LabelledSet(tuple(pair for part in parts for pair in part.pairs), (), dict(left_out))


_READERS: dict[Layout, Callable[[Path], LabelledSet]] = {
    "preferences": lambda path: _whole_set(read_preferences, path),
    "pairs": lambda path: _whole_set(read_pair_rows, path),
    "character_bench": character_bench,
    "rp_bench": rp_bench,
}
