"""her/judging/principles.py: the library is complete, and every fault of a file is one sentence."""

from pathlib import Path

import pytest

from her import format as notation
from her.errors import InputError
from her.judging.principles import (
    DIMENSIONS,
    library_hash,
    load_dimensions,
    load_principles,
    validate_library,
)

ENTRY = """
  - id: {id}
    polarity: negative
    weight: high
    en:
      name: Keeps secrets
      definition: The character does not say what it has reason to hide.
      good: "[Not before them.] Lovely weather."
      bad: "I killed him."
    zh:
      name: 守住秘密
      definition: 人物不说自己有理由隐瞒的事。
      good: "【不能当着他们说。】天气真好。"
      bad: "人是我杀的。"
"""


def write(folder: Path, dimension: str = "layers", ids: tuple[str, ...] = ("secret",), text: str = ENTRY) -> Path:
    path = folder / f"{dimension}.yaml"
    path.write_text("en: Layers\nzh: 层次\nprinciples:" + "".join(text.replace("{id}", name) for name in ids), "utf-8")
    return path


def test_the_library_is_complete() -> None:
    assert validate_library() == []
    dimensions = load_dimensions()
    assert tuple(dimension.id for dimension in dimensions) == DIMENSIONS
    assert sum(len(dimension.principles) for dimension in dimensions[:-1]) >= 60
    assert len(dimensions[-1].principles) >= 8
    assert {dimension.name("zh") for dimension in dimensions}.isdisjoint(dimension.name("en") for dimension in dimensions)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_examples_are_readable_turns_without_a_plan(language: str) -> None:
    for principle in load_principles(language):  # type: ignore[arg-type]
        for text in (principle.good, principle.bad):
            turn = notation.parse(text, "Name", notation="coser")
            assert turn.parts and not turn.text("system_thinking"), principle.id


def test_both_polarities_and_levels_are_there() -> None:
    principles = load_principles()
    assert {principle.polarity for principle in principles} == {"positive", "negative"}
    assert {principle.level for principle in principles} == {"turn", "session"}
    assert len({principle.name for principle in principles}) == len(principles)


def test_one_file_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    (english,), (chinese,) = load_principles("en", tmp_path), load_principles("zh", tmp_path)
    assert (english.id, english.dimension, english.weight, english.level) == ("secret", "layers", 2.0, "turn")
    assert (english.name, chinese.name) == ("Keeps secrets", "守住秘密")
    assert (chinese.language, chinese.bad) == ("zh", "人是我杀的。")


def test_the_hash_changes_with_a_word_and_with_a_file_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = library_hash(tmp_path)
    path.write_text(path.read_text("utf-8").replace("Lovely", "Awful"), "utf-8")
    changed = library_hash(tmp_path)
    path.rename(tmp_path / "relationship.yaml")
    assert len({before, changed, library_hash(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("polarity: negative", "polarity: bad", "principles 'layers.yaml': field 'principles.1.polarity'"),
        ("name: Keeps secrets", "name: " + "x" * 41, "principle 'secret', en: 'name' has 41 characters; at most 40"),
        ("Lovely weather.", "I killed him.", None),
        ('"[Not before them.] Lovely weather."', '"I killed him."', "'good' and 'bad' are the same"),
        (
            "人物不说自己有理由隐瞒的事。",
            "Keep it secret.",
            "'secret', zh: 'definition' is not written in this language",
        ),
        ("The character does not say what it has reason to hide.", "不说。", "en: 'definition' is not written"),
        ("weight: high", "weigth: high", "unknown key 'principles.1.weigth'"),
    ],
)
def test_a_fault_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str | None) -> None:
    write(tmp_path, text=ENTRY.replace(old, new))
    problems = [problem for problem in validate_library(tmp_path) if "dimension" not in problem]
    if sentence is None:
        assert problems == []
    else:
        (problem,) = problems
        assert sentence in problem


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path, ids=("one", "two"))
    write(tmp_path, "weather", ids=("one",))
    problems = "\n".join(validate_library(tmp_path))
    assert "dimension 'conflict_tension' has no principle" in problems
    assert "dimension 'weather' is not known" in problems
    assert "dimension 'layers' has 2 principles; write 6 more" in problems
    assert "principle 'one' stands in 'layers' and 'weather'" in problems
    with pytest.raises(InputError, match="holds no principle files"):
        load_principles("en", tmp_path / "none")
