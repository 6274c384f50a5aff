"""Test BLEU and ROUGE-L: equal and foreign texts, empty ones, Chinese, and a sentence too long for the package."""

import math

import pytest

from pipelines.evaluate.text_overlap import overlap

pytestmark = pytest.mark.whole  # nltk takes seconds to import
LINES = "Holmes: The dog did nothing in the night-time.\n\nGregory: That was the curious incident, was it not?"


def test_equal_texts_overlap_wholly():
    found = overlap(LINES, LINES)
    assert math.isclose(found.bleu, 1) and math.isclose(found.rouge_l, 1, abs_tol=1e-6)


def test_without_a_common_four_gram_bleu_is_nothing():
    found = overlap("Gregory: The dog barked at night.", LINES)
    assert found.bleu < 1e-50 and 0 < found.rouge_l < 1


@pytest.mark.parametrize(("simulation", "reference"), [("", LINES), (LINES, ""), ("...", LINES), (" \n", LINES)])
def test_a_text_without_words_raises_nothing(simulation, reference):
    assert overlap(simulation, reference) == (0.0, 0.0)


def test_words_are_those_of_nltk():
    # "wasn't" is two words, "was" and "n't"; split at spaces there would be no common 4-gram.
    assert overlap("it was n't him", "It wasn't him").bleu > 0.9


def test_chinese_is_compared_by_characters():
    found = overlap("林黛玉：你可知道我为什么哭？我不过是想家了。", "林黛玉：你可知道我为什么哭？我不过是闷了。")
    assert 0.5 < found.bleu < 1 and 0.5 < found.rouge_l < 1


def test_a_sentence_without_end_is_missing_and_no_crash():
    found = overlap("word " * 1200, "word " * 1200)
    assert found.rouge_l is None and found.bleu is not None
