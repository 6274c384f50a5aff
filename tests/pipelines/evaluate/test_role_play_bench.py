"""Test the reader of Role-Play Bench: seeds, dialogues as text and as list, chunks with their tail, and every gap by name."""

import json
from pathlib import Path

import pytest

from her.errors import InputError
from pipelines.evaluate.role_play_bench import chunks, read_dialogues, read_seeds, suite_of

SEED = {
    "id": "en_dialogue_001",
    "ai_name": "Mara",
    "ai_setting": "Mara keeps the lighthouse.",
    "user_name": "Tom",
    "user_setting": "Tom is a sailor.",
    "ai_prologue": "The lamp is out.",
    "initial_user_input": "Then light it.",
}
ZH = {**SEED, "id": "zh_dialogue_001", "ai_name": "阿宁", "ai_setting": "守灯塔的人。"}


def dialogue(turns: int = 6) -> list[dict[str, object]]:
    return [{"role": "user" if number % 2 else "ai", "round": number, "text": f"line {number}"} for number in range(turns)]


def write_bench(folder: Path, seeds: list[dict[str, object]], dialogues: list[dict[str, object]] | None = None) -> Path:
    """Write the folder of the data set as its JSONL files."""
    tables = {"seeds": seeds, "dialogues": dialogues or []}
    tables["evaluations"] = [
        {**{key: row[key] for key in ("seed_id", "model_name", "run_id")}, "basics_score": 90.0, "logic_score": float(place)}
        for place, row in enumerate(dialogues or [])
    ]
    for name, rows in tables.items():
        for language in ("en", "zh"):
            own = [row for row in rows if str(row.get("id", row.get("seed_id"))).startswith(language)]
            path = folder / language / f"{name}_{language}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own), "utf-8")
    return folder


def published(seed: str = "en_dialogue_001", **changes: object) -> dict[str, object]:
    return {"seed_id": seed, "model_name": "m1", "run_id": "run_1", "num_turns": 6, "dialogue": dialogue(), **changes}


def test_seeds_of_both_languages_are_read_apart(tmp_path: Path) -> None:
    seeds = read_seeds(write_bench(tmp_path, [SEED, ZH]))
    assert [(seed.id, seed.language, seed.name) for seed in seeds] == [
        ("en_dialogue_001", "en", "Mara"),
        ("zh_dialogue_001", "zh", "阿宁"),
    ]
    opening = seeds[0].opening(0, "m")
    assert [(turn.speaker, turn.text()) for turn in opening.turns] == [("Mara", "The lamp is out."), ("Tom", "Then light it.")]


def test_dialogues_are_text_or_list_and_have_their_labels(tmp_path: Path) -> None:
    rows = [published(dialogue=json.dumps(dialogue())), published(run_id="run_2"), published("zh_dialogue_001")]
    folder = write_bench(tmp_path, [SEED, ZH], rows)
    found = list(read_dialogues(folder, read_seeds(folder)))
    assert [(each.seed.id, each.run, len(each.transcript.turns)) for each in found] == [
        ("en_dialogue_001", 0, 6),
        ("en_dialogue_001", 1, 6),
        ("zh_dialogue_001", 0, 6),
    ]
    assert found[1].labels == {"basics": 90.0, "logic": 1.0} and found[0].transcript.turns[3].speaker == "Tom"
    assert len({turn.id for each in found for turn in each.transcript.turns}) == 18


def test_a_user_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    (seed,) = read_seeds(write_bench(tmp_path, [{**SEED, "user_name": "Mara"}]))
    assert seed.user != seed.name


@pytest.mark.parametrize(
    ("turns", "sizes"), [(102, [20] * 5), (22, [20]), (26, [24]), (36, [20, 14]), (4, [2]), (31, [29]), (32, [20, 10])]
)
def test_chunks_leave_the_opening_out_and_join_a_short_tail(turns: int, sizes: list[int]) -> None:
    places = chunks(turns)
    assert [len(place) for place in places] == sizes and places[0].start == 2 and places[-1].stop == turns


@pytest.mark.parametrize(
    ("seeds", "dialogues", "said"),
    [
        ([{**SEED, "ai_setting": " "}], [], "lacks ai_setting"),
        ([SEED, SEED], [], "comes twice"),
        ([SEED], [published("en_other")], "not among the seeds"),
        ([SEED], [published(dialogue="{")], "is no JSON"),
        ([SEED], [published(dialogue="{}")], "no list of turns"),
        ([SEED], [published(dialogue=dialogue()[1:])], "alternate"),
    ],
)
def test_a_gap_is_named(tmp_path: Path, seeds: list[dict[str, object]], dialogues: list[dict[str, object]], said: str) -> None:
    folder = write_bench(tmp_path, seeds, dialogues)
    with pytest.raises(InputError, match=said):
        list(read_dialogues(folder, read_seeds(folder)))
    with pytest.raises(InputError, match="holds no seeds"):
        read_seeds(tmp_path / "nowhere")


def test_seeds_of_rp_bench_are_read_in_the_same_way(tmp_path: Path) -> None:
    seed = {"id": "tavern", "character_name": "Mara", "character_setting": "Keeps the lamp.", "opening_message": "Shut the door."}
    (tmp_path / "seeds_rp.json").write_text(json.dumps([{**seed, "initial_user_input": "Why?"}]))
    (read,) = read_seeds(tmp_path)
    assert (read.name, read.user, read.prologue, read.first, read.language) == ("Mara", "User", "Shut the door.", "Why?", "en")
    assert suite_of(tmp_path).name == "rp-bench" and "CC BY-NC 4.0" in suite_of(tmp_path).source
    assert suite_of(write_bench(tmp_path / "other", [SEED])).name == "role-play-bench"
    (tmp_path / "seeds_rp.json").write_text(json.dumps([seed]))
    with pytest.raises(InputError, match="lacks initial_user_input"):
        read_seeds(tmp_path)
