"""her/judging/principle_edits.py: edits of an expert are applied whole or not at all, and every fault is one sentence."""

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from her.errors import InputError
from her.judging.principle_edits import FORMAT, EditCounts, apply_edit_file
from her.judging.principles import LIBRARY, library_hash, load_principles, validate_library

A, B, C = "emotion-through-detail", "emotion-in-proportion", "no-mind-reading"
Edits = list[dict[str, Any]]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LIBRARY, tmp_path / "library"))


def edit_file(folder: Path, library: Path, edits: Edits, **changes: Any) -> Path:
    path = folder / "edits.json"
    path.write_text(json.dumps({"format": FORMAT, "library": library_hash(library), "edits": edits, **changes}), "utf-8")
    return path


def ids(library: Path) -> list[str]:
    return [principle.id for principle in load_principles(folder=library)]


def test_edits_merges_and_drops_are_applied(tmp_path: Path, library: Path) -> None:
    before = ids(library)
    edits: Edits = [
        {"id": A, "action": "edit", "weight": "low", "dimension": "relationship", "en": {"name": " Shown,\n not named "}},
        {"id": B, "action": "merge", "into": A},
        {"id": C, "action": "drop"},
    ]
    untouched = (library / "narrative_plot.yaml").read_bytes()
    assert apply_edit_file(edit_file(tmp_path, library, edits), library) == EditCounts(1, 1, 1)
    assert sorted(ids(library)) == sorted(set(before) - {B, C}) and validate_library(library) == []
    (moved,) = [each for each in load_principles(folder=library) if each.id == A]
    assert (moved.name, moved.weight, moved.dimension) == ("Shown, not named", 0.5, "relationship")
    (chinese,) = [each for each in load_principles("zh", library) if each.id == A]
    assert chinese.name == "情在细处"
    assert (library / "narrative_plot.yaml").read_bytes() == untouched  # files without an edit are not written


def test_a_chain_of_merges_ends_at_one_that_stays(tmp_path: Path, library: Path) -> None:
    edits: Edits = [{"id": A, "action": "merge", "into": B}, {"id": B, "action": "merge", "into": C}]
    apply_edit_file(edit_file(tmp_path, library, edits), library)
    assert not {A, B} & set(ids(library)) and C in ids(library)


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        (
            [{"id": "emotion-trough-detail", "action": "drop"}],
            f"no principle 'emotion-trough-detail' to drop; did you mean '{A}'",
        ),
        ([{"id": A, "action": "merge", "into": A}], f"'{A}' is merged into itself; drop it, or name another one"),
        ([{"id": A, "action": "merge"}], f"'{A}' is merged into '', which is unknown"),
        ([{"id": A, "action": "merge", "into": "zzz"}], "merged into 'zzz', which is unknown; `her principles list`"),
        (
            [{"id": A, "action": "merge", "into": B}, {"id": B, "action": "merge", "into": A}],
            f"go round in a circle: {A} -> {B} -> {A}; let one of them stay",
        ),
        (
            [{"id": A, "action": "merge", "into": B}, {"id": B, "action": "drop"}],
            f"merged into '{B}', which is dropped; keep it, or drop both",
        ),
        ([{"id": A, "action": "drop"}, {"id": A, "action": "edit"}], f"'{A}' has two edits; keep one"),
        ([{"id": A, "action": "edit", "zh": {"good": " \u202e\n"}}], r"'good' \(zh\) is empty; write it, or drop the principle"),
        ([{"id": A, "action": "edit", "en": {"name": "x" * 41}}], "'name' has 41 characters; at most 40"),
        ([{"id": A, "action": "edit", "zh": {"definition": "English here"}}], "is not written in this language; translate it"),
        ([{"id": A, "action": "edit", "dimension": "cooking"}], "dimension 'cooking' is not in this library; take one of"),
        ([{"id": A, "action": "burn"}], r"is no file of edits: edits\.1\.action"),
        ([{"id": A, "action": "edit", "colour": "red"}], r"edits\.1\.colour: Extra inputs are not permitted"),
    ],
)
def test_a_faulty_edit_changes_nothing(tmp_path: Path, library: Path, edits: Edits, sentence: str) -> None:
    before = library_hash(library)
    with pytest.raises(InputError, match=sentence):
        apply_edit_file(edit_file(tmp_path, library, [{"id": C, "action": "drop"}, *edits]), library)
    assert library_hash(library) == before


def test_a_disk_that_fills_between_two_files_leaves_all_as_they_were(tmp_path: Path, library: Path) -> None:
    edits = edit_file(tmp_path, library, [{"id": name, "action": "edit", "weight": "low"} for name in (A, B, C)])
    before = {path.name: path.read_bytes() for path in library.iterdir()}
    changed = sorted({principle.dimension for principle in load_principles(folder=library) if principle.id in (A, B, C)})
    assert len(changed) > 1
    size = max(len(before[f"{name}.yaml"]) for name in changed) * 9 // 10  # the largest no longer fits
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            apply_edit_file(edits, library)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in library.iterdir()} == before


def test_a_library_that_was_changed_is_refused_unless_asked_for(tmp_path: Path, library: Path) -> None:
    path = edit_file(tmp_path, library, [{"id": A, "action": "drop"}])
    (library / "layers.yaml").write_bytes((library / "layers.yaml").read_bytes() + b"\n")
    with pytest.raises(InputError, match="is not the library that the edits .* add --changed"):
        apply_edit_file(path, library)
    assert apply_edit_file(path, library, changed=True).dropped == 1


def test_a_dimension_must_not_become_empty(tmp_path: Path, library: Path) -> None:
    there = [each.id for each in load_principles(folder=library) if each.dimension == "relationship"]
    with pytest.raises(InputError, match="after these edits dimension 'relationship' has no principle"):
        apply_edit_file(edit_file(tmp_path, library, [{"id": name, "action": "drop"} for name in there]), library)


def test_one_file_of_a_library_can_be_edited_alone(tmp_path: Path, library: Path) -> None:
    one = library / "emotional_expression.yaml"
    with pytest.raises(InputError, match=f"no principle '{C}' to drop"):
        apply_edit_file(edit_file(tmp_path, library, [{"id": C, "action": "drop"}]), one)
    assert apply_edit_file(edit_file(tmp_path, library, [{"id": A, "action": "drop"}]), one).dropped == 1


@pytest.mark.parametrize("text", ["", "[]", '{"format": "other", "library": "", "edits": []}', "\x00"])
def test_what_is_no_file_of_edits_is_refused(tmp_path: Path, library: Path, text: str) -> None:
    (tmp_path / "edits.json").write_text(text, "utf-8")
    with pytest.raises(InputError, match="is no file of edits"):
        apply_edit_file(tmp_path / "edits.json", library)
    with pytest.raises(InputError, match="cannot be read"):
        apply_edit_file(tmp_path / "missing.json", library)


def test_a_byte_order_mark_and_other_line_ends_are_read(tmp_path: Path, library: Path) -> None:
    path = edit_file(tmp_path, library, [{"id": C, "action": "drop"}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b", ", b",\r\n"))
    assert apply_edit_file(path, library) == EditCounts(0, 0, 1)
