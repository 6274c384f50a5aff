"""her/ui/words.py: every word of the page in both languages."""

import re

import pytest

from her.ui.words import WORDS, words


@pytest.mark.parametrize("column", [0, 1])
def test_every_word_is_written_and_has_the_same_slots_in_both_languages(column: int) -> None:
    for key, pair in WORDS.items():
        assert pair[column].strip(), key
        assert sorted(re.findall(r"{\w+}", pair[0])) == sorted(re.findall(r"{\w+}", pair[1])), key


def test_each_language_is_its_column() -> None:
    assert words("en")["begin"] == "Begin" and words("zh")["begin"] == "开始"
    assert list(words("en")) == list(words("zh")) == list(WORDS)
