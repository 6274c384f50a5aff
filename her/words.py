"""Split English and Chinese text into words and sentences, and compare lists of words."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from her.types import Language

# A CJK ideograph is a word by itself; every other run of letters and digits is one word.
_WORD = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")
SENTENCE = re.compile(r"[^.!?。！？…\n]+[.!?。！？…]*")
GARBLED = re.compile(
    r"[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff]|\\[nt]|\\u[0-9a-f]{4}|&(?:lt|gt|amp|quot|nbsp|apos|#\d+);|\{\{|\}\}|"
    r"â€|Ã[\u0080-\u00bf\u0192\u201a-\u2122]|Â[\u00a0-\u00bf]|ï¿½|ï¼|"
    r"[äåæçèé][\u00a0-\u00bf\u0152-\u0178\u02c6\u02dc\u2013-\u2122]{1,2}(?=[^a-z]|$)|锟斤拷|烫烫|屯屯|鈥|銆[\u0080-\u9fff]|锛"
)
"""Replacement and control characters, escapes that were not decoded, brackets of a template that was not filled, and UTF-8 that
was read in another encoding (`â€™` for an apostrophe, `锟斤拷` for nothing at all)."""
# fmt: off
NUMBERS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15",
    "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20", "thirty": "30", "forty": "40",
    "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90", "hundred": "100", "thousand": "1000",
    "dozen": "12",
}
"""English number words and their digits."""
_FUNCTION_WORDS = frozenset((
    "that", "this", "with", "your", "yours", "hers", "they", "them", "their", "there", "here", "have", "been", "will",
    "would", "shall", "should", "could", "might", "must", "what", "when", "where", "which", "whom", "then", "than", "from",
    "into", "upon", "said", "very", "more", "most", "some", "such", "only", "just", "like", "know", "come", "goes", "going",
    "make", "made", "thou", "thee", "thine", "hath", "doth", "dont", "well", "ours", "were",
))
# fmt: on


def words(text: str) -> list[str]:
    """Return the words in lower case, without quotation marks; composed and decomposed accents are equal."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("'", ""))


def telling_words(text_words: Iterable[str], language: Language) -> set[str]:
    """Return the content words: in English words of four letters and more; in Chinese pairs of neighbouring characters."""
    listed = list(text_words)
    if language == "zh":
        # One Chinese character alone is too common to show that two texts are about the same thing.
        return {left + right for left, right in zip(listed, listed[1:], strict=False) if len(left) == len(right) == 1}
    return {word for word in listed if len(word) >= 4 and word not in _FUNCTION_WORDS}


def same_stem(left: str, right: str) -> bool:
    """Return whether two English words roughly share a stem: `trust`, `trusted`, `trusting`."""
    size = min(len(left), len(right))
    return left[:size] == right[:size] if size >= 5 else left.rstrip("s") == right.rstrip("s")


def runs(text_words: Sequence[str], size: int) -> Iterable[tuple[str, ...]]:
    """Return all runs of `size` neighbouring words (n-grams), in order."""
    return zip(*(text_words[shift:] for shift in range(size)), strict=False)


def longest_run(left: list[str], right: list[str]) -> int:
    """Return the length in words of the longest run that stands in both lists."""
    longest, before = 0, [0] * (len(right) + 1)
    # before[at + 1] is the length of the common run that ends at the previous word of `left` and at right[at].
    for word in left:
        now = [0] * (len(right) + 1)
        for at, other in enumerate(right):
            if word == other:
                now[at + 1] = before[at] + 1
                longest = max(longest, now[at + 1])
        before = now
    return longest


def kept_share(wanted: Sequence[str], there: Sequence[str]) -> float:
    """Return the share of `wanted` words that stand in `there` in the same order, 0 to 1."""
    # autojunk would ignore every word that is frequent in a list of 200 words and more, such as "the".
    matcher = difflib.SequenceMatcher(None, wanted, there, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / max(1, len(wanted))


def jaccard(left: str, right: str, size: int = 3) -> float:
    """Return the Jaccard index of the runs of `size` words of two texts, 0 to 1; of their words when a text is shorter."""
    sets = []
    for text in (left, right):
        there = words(text)
        sets.append({tuple(there[at : at + size]) for at in range(max(1, len(there) - size + 1))} if there else set())
    union = sets[0] | sets[1]
    return len(sets[0] & sets[1]) / len(union) if union else 0.0


def ends_with_sentence(text: str) -> bool:
    """Return whether a text ends where a sentence ends; an answer that was truncated and repaired does not."""
    return text.rstrip().endswith((".", "!", "?", "。", "！", "？", "…", '"', "”", "’", "」", "』", ")", "）"))
