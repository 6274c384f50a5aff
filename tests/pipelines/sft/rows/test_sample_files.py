"""pipelines/sft/rows/sample_files.py: every kind of file is read, and training and evaluation share no transcript."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.errors import FormatVersionError, InputError
from her.feedback import export as ratings
from her.files import jsonl
from her.types import Message, Sample
from pipelines.models.sample_rows import read_file
from pipelines.sft.options import SampleOptions
from pipelines.sft.rows.sample_files import input_files, read_samples
from pipelines.synthesize.outputs.exports import ParquetRows, trl_table, verl_rows
from tests.store.samples import ANNE, greeted, opened, rating, reply

PLAN = "<system_thinking>Mara waits.</system_thinking>"


def sample(turn: str, transcript: str = "t", said: str = "Well?", speaker: str = "Mara") -> Sample:
    messages = (
        Message(role="system", content=f"You are {speaker}, from a test, in a conversation with Tom."),
        Message(role="user", content=f"Tom: {said}"),
        Message(role="assistant", content=f"{PLAN}{speaker}: Aye, {turn}."),
    )
    return Sample(messages=messages, trained=(2,), transcript=transcript, turn=turn, speaker=speaker, source="A book")


ROWS = [sample(str(number), f"t{number // 3}") for number in range(12)]


def parquet(path: Path, rows: list[Sample]) -> Path:
    with ParquetRows(path, trl_table) as writer:
        for row in rows:
            writer.add(row)
    return path


def lines(path: Path, rows: list[Sample]) -> Path:
    jsonl.write(path, rows)
    return path


def options(*files: Path, **more: Any) -> SampleOptions:
    return SampleOptions(files=files, **{"held_out_share": 0.0, **more})


def chats_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as files

    files.write_table(pa.Table.from_pylist(rows), path)
    return path


def chats_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize(("write", "ending"), [(chats_parquet, "parquet"), (chats_lines, "jsonl")])
@pytest.mark.parametrize("system", [True, False])
def test_conversations_of_other_programs_are_read(tmp_path: Path, write: Any, ending: str, system: bool) -> None:
    """Only `messages`, columns and keys of other programs, with and without a system message; a plan is in no history."""
    head = [{"role": "system", "content": "You are Mara, in a conversation with Tom."}] * system
    said = [("user", "Tom: Well?"), ("assistant", f"{PLAN}Mara: Aye."), ("user", "Tom: So?"), ("assistant", f"{PLAN}Mara: No.")]
    messages = [*head, *({"role": role, "content": text} for role, text in said)]
    path = write(tmp_path / f"chats.{ending}", [{"messages": messages, "score": 4, "id": "a"}] * 2)
    read = list(read_file(path))
    assert [(each.speaker, each.messages[-1].content) for each in read] == [("Mara", said[1][1]), ("Mara", said[3][1])] * 2
    assert [message.content for message in read[1].messages[-4:-1]] == ["Tom: Well?", "Mara: Aye.", "Tom: So?"]
    assert len({each.transcript for each in read}) == 2 and len({each.turn for each in read}) == 4
    assert len(read[0].messages) == 2 + system


def test_a_conversation_without_a_reply_is_named(tmp_path: Path) -> None:
    path = chats_lines(
        tmp_path / "c.jsonl",
        [{"messages": [{"role": "assistant", "content": "Mara: Aye."}] * 1 + [{"role": "user", "content": "x"}]}],
    )
    with pytest.raises(InputError, match="line 1: no message of the assistant has one before it"):
        list(read_file(path))


@pytest.mark.parametrize("write", [parquet, lines])
@pytest.mark.parametrize("count", [1, 12, 700])
def test_written_samples_are_read_back(tmp_path: Path, write: Callable[[Path, list[Sample]], Path], count: int) -> None:
    rows = [sample(str(number), f"t{number // 7}") for number in range(count)]
    path = write(tmp_path / f"rows.{'parquet' if write is parquet else 'jsonl'}", rows)
    assert read_samples(options(path), 1) == (rows, [])


def test_equal_messages_are_kept_once(tmp_path: Path) -> None:
    read_back = list(read_file(parquet(tmp_path / "rows.parquet", ROWS)))
    assert len({id(row.messages[0]) for row in read_back}) == 1


def test_a_ratings_export_is_read_with_its_chats(tmp_path: Path) -> None:
    store = opened(tmp_path)
    _, asked = greeted(store)
    answer = reply(store, asked, "Good: so be it.", plan="Tempt him.")
    store.rate(ANNE, answer.conversation_id, answer.id, rating(1))
    exported: list[str] = []
    ratings.export(store, "sft", exported.append)
    store.close()
    (tmp_path / "sft.jsonl").write_text("".join(exported), "utf-8")
    [row] = read_file(tmp_path / "sft.jsonl")
    assert (row.turn, row.transcript, row.speaker) == (answer.id, asked.conversation_id, "Iago")
    assert row.messages[-1].content.endswith("</system_thinking>Iago: Good: so be it.") and row.trained == (
        len(row.messages) - 1,
    )


def bare(path: Path, *rows: tuple[str, str]) -> Path:
    """Write prompt-completion rows without transcript and speaker: (first line of the prompt, reply)."""
    lines = [
        {"prompt": [{"role": "system", "content": head}], "completion": [{"role": "assistant", "content": said}]}
        for head, said in rows
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines), "utf-8")
    return path


SPEAKERS = [
    ("You are Mara, from a test.\nTom: x", f"{PLAN}Mara: Tom: Aye.", "Mara"),
    ("You are Ann: the baker, here.", f"{PLAN}Ann: the baker: Aye.", "Ann: the baker"),
    ("你是阿蘅（旧事），正与来客交谈。", f"{PLAN}阿蘅: 你听。", "阿蘅"),
    ("You are Mara.", "Mara: <role_action>nods</role_action>Aye: so.", "Mara"),
]


@pytest.mark.parametrize(("head", "said", "speaker"), SPEAKERS)
def test_a_row_without_a_speaker_gets_it_from_its_reply(tmp_path: Path, head: str, said: str, speaker: str) -> None:
    [row] = read_file(bare(tmp_path / "rows.jsonl", (head, said)))
    assert (row.speaker, row.transcript) == (speaker, "")
    assert row.turn.endswith("line 1")


def test_rows_without_a_chat_are_held_out_by_their_system_message(tmp_path: Path) -> None:
    rows = [(f"You are Mara, with {name}.", f"{PLAN}Mara: {word}.") for word in "abc" for name in ("Tom", "Ann", "Cy")]
    train, held_out = read_samples(options(bare(tmp_path / "rows.jsonl", *rows), held_out_share=0.3), 1)
    assert (len(train), len(held_out)) == (6, 3)
    assert not {row.messages[0] for row in train} & {row.messages[0] for row in held_out}


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.05, 0.5, 0.99]),
    st.integers(0, 5),
)
def test_transcripts_are_neighbours_and_never_in_both(numbers: list[int], share: float, seed: int) -> None:
    from pipelines.sft.rows.sample_files import group_samples, split_samples

    rows = [sample(str(place), f"t{number}") for place, number in enumerate(numbers)]
    ordered = group_samples(rows)
    assert sorted(row.turn for row in ordered) == sorted(row.turn for row in rows)
    names = [row.transcript for row in ordered]
    assert [name for place, name in enumerate(names) if name not in names[:place]] == list(
        dict.fromkeys(f"t{n}" for n in numbers)
    )
    assert all(names[place - 1] == name for place, name in enumerate(names) if name in names[:place])
    train, held_out = split_samples(ordered, share, seed)
    assert (train, held_out) == split_samples(ordered, share, seed)
    trained, evaluated = ({row.transcript for row in part} for part in (train, held_out))
    assert not trained & evaluated and trained
    assert len(evaluated) == (min(max(round(share * len(set(names))), 1), len(set(names)) - 1) if share else 0)


def test_samples_of_one_speaker_are_neighbours(tmp_path: Path) -> None:
    """Characters speak in turn, and only neighbours share their history in a row (pipelines/models/prefix_tree.py)."""
    rows = [sample(f"{chat}{place}", chat, speaker=name) for chat in "ab" for place, name in enumerate(("Mara", "Tom") * 3)]
    train, _ = read_samples(options(parquet(tmp_path / "rows.parquet", rows)), 1)
    assert [row.turn for row in train] == ["a0", "a2", "a4", "a1", "a3", "a5", "b0", "b2", "b4", "b1", "b3", "b5"]


def test_the_seed_chooses_what_is_held_out(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", [sample(str(n), f"t{n}") for n in range(40)])
    assert read_samples(options(path, held_out_share=0.2), 1) == read_samples(options(path, held_out_share=0.2), 1)
    assert read_samples(options(path, held_out_share=0.2), 1) != read_samples(options(path, held_out_share=0.2), 2)


def test_files_may_be_held_out_instead(tmp_path: Path) -> None:
    first, second = parquet(tmp_path / "first.parquet", ROWS[:6]), lines(tmp_path / "second.jsonl", ROWS[6:])
    assert read_samples(options(first, held_out=(second,), held_out_share=0.5), 1) == (ROWS[:6], ROWS[6:])
    both = lines(tmp_path / "both.jsonl", [sample("x", "t1")])
    with pytest.raises(InputError, match="transcript 't1' of turn 'x' is also trained on"):
        read_samples(options(first, held_out=(both,)), 1)


def test_a_file_given_twice_is_noticed(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(InputError, match="turn '0' of transcript 't0' is twice in the samples"):
        read_samples(options(path, path), 1)


def test_personas_and_files_are_read_together(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", ROWS)
    wanted = options(path, personas=("bundled",), chats=1, exchanges=2)
    train, _ = read_samples(wanted, 1)
    assert len(train) == 12 + 17 * 2
    assert input_files(wanted)[0] == path and len(input_files(wanted)) == 1 + 17 + 13


def broken(tmp_path: Path, how: str) -> Path:
    """Write a file with one fault."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    path = tmp_path / f"{how}.{'jsonl' if how in ('cut', 'kto', 'list', 'extra', 'nobody', 'user', 'empty') else 'parquet'}"
    good = parquet(tmp_path / "good.parquet", ROWS)
    table = pq.read_table(good)
    texts = {
        "cut": ROWS[0].model_dump_json() + "\n" + ROWS[1].model_dump_json()[:40],
        "kto": '{"prompt": [], "completion": [], "label": true}\n',
        "list": "[1]\n",
        "extra": '{"prompt": [], "mood": 1}\n',
        "user": '{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "user", "content": "b"}]}\n',
        "empty": "",
    }
    if how in texts:
        path.write_text(texts[how], "utf-8")
    elif how == "nobody":
        bare(path, ("You are Mara.", f"{PLAN}Aye."))
    elif how == "old":
        pq.write_table(table.replace_schema_metadata({"her_format": "0"}), path)
    elif how == "foreign":
        pq.write_table(table.replace_schema_metadata({}), path)
    elif how == "columns":
        pq.write_table(table.drop_columns(["speaker"]), path)
    elif how == "verl":
        with verl_rows(path, "rl") as writer:
            writer.add(ROWS[0])
    elif how == "null":
        names = table.column_names
        nothing = table.set_column(names.index("turn"), "turn", pa.array([None] * len(table), pa.string()))
        pq.write_table(nothing, path)
    elif how == "bytes":
        path.write_bytes(good.read_bytes()[:-200])
    return path


BROKEN = [
    ("cut", r"cut\.jsonl' line 2 is not JSON"),
    ("kto", r"kto\.jsonl' has 'label' in it: rows for another training; export it with --format sft"),
    ("list", r"list\.jsonl' line 1 is not a Sample"),
    ("extra", r"extra\.jsonl' line 1 (has the unknown key|lacks the key|is not a CompletionRow)"),
    ("user", r"user\.jsonl' line 1: the completion has the role 'user'"),
    ("nobody", r"nobody\.jsonl' line 1: the reply begins with no name .* \('Aye\.'\)"),
    ("empty", r"empty\.jsonl' has no sample in it"),
    ("columns", r"columns\.parquet' has no column 'speaker'"),
    ("verl", r"verl\.parquet' has no column 'completion'"),
    ("null", r"null\.parquet' row 1 is not a sample"),
    ("bytes", r"bytes\.parquet' cannot be read as Parquet"),
]


@pytest.mark.parametrize(("how", "said"), BROKEN)
def test_a_damaged_file_is_named(tmp_path: Path, how: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(read_file(broken(tmp_path, how)))


@pytest.mark.parametrize(
    ("how", "said"),
    [("old", r"old\.parquet' has format version '0' and this HER reads version '1'"), ("foreign", "has no format version")],
)
def test_a_file_of_another_version_is_refused(tmp_path: Path, how: str, said: str) -> None:
    with pytest.raises(FormatVersionError, match=said):
        list(read_file(broken(tmp_path, how)))


def test_a_missing_or_unknown_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(read_file(tmp_path / "none.parquet"))
    (tmp_path / "rows.csv").write_text("a", "utf-8")
    with pytest.raises(InputError, match=r"ends in '\.csv'"):
        list(read_file(tmp_path / "rows.csv"))
