"""Measure one turn without a judge: its voice, planning that shows, thought beside speech, repetition; see docs/evaluation.md."""

import re
from collections import Counter
from collections.abc import Sequence

from her.format.tags import TAG
from her.kinds import PLAN, VISIBLE_KINDS
from her.types import Language, Turn
from her.words import kept_share, runs, telling_words, words

GRAM: dict[Language, int] = {"en": 4, "zh": 6}
"""Words of an n-gram that counts as repeated; a Chinese word is about a character and a half."""
PLAN_RUN: dict[Language, int] = {"en": 8, "zh": 12}
"""Words in a row of the plan that stand in the reply as well, where the plan does not quote them as a draft."""
ECHO, ECHO_WORDS = 0.9, 4
"""Share of a thought's words that the speech repeats in order; a thought of fewer words may."""
LETTER_LOOP, PHRASE_LOOP, LOOP_WORDS = 20, 3, 4
"""Equal letters in a row; times that a phrase of at least so many words comes in a row."""
PLAN_DEFECTS = frozenset({"plan_not_first", "plan_repeated", "unclosed_plan"})
_FIRST_PERSON: dict[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:i|i'm|i'll|i've|i'd|me|my|mine|myself|we|us|our|ours)\b", re.IGNORECASE),
    "zh": re.compile("我|俺|咱|吾|余|孤|朕|本官|奴家|老夫|妾"),
}
_ACTOR = re.compile(
    r"\b(?:portray|role-?play(?:ing)?|in[- ]character|out of character|the user|this character|my character)\b"
    r"|\bI (?:need|should|have|want|ought) to (?:play|respond|reply|show|convey|keep (?:the|this))\b"
    r"|扮演|用户|角色扮演|这个角色|我(?:需要|应该|要)(?:表现|回复|回应|体现)",
    re.IGNORECASE,
)
_ASSISTANT = re.compile(
    r"\bas an ai\b|\b(?:ai|language) model\b|\bI(?:'m| am) (?:sorry, but I|unable to|not able to (?:continue|help|assist))"
    r"|\bI can(?:no|')t (?:assist|help with|continue (?:this|with))"
    r"|人工智能|语言模型|作为(?:一个|一名)?\s?AI|(?:无法|不能)(?:为您|协助您|继续(?:这个|此|该)(?:话题|对话|角色))",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“「『][^\"”」』\n]{1,400}[\"”」』]")
_LETTERS = re.compile(rf"(\w)\1{{{LETTER_LOOP - 1},}}")


def language_of_turn(turn: Turn) -> Language:
    """Return Chinese where a third of the letters are, else English."""
    letters = [letter for letter in turn.text() if letter.isalpha()]
    return "zh" if letters and sum("\u3400" <= letter <= "\u9fff" for letter in letters) * 3 >= len(letters) else "en"


def visible_words(turn: Turn) -> list[str]:
    """Return the words of actions and speech, in lower case; a Chinese character is a word."""
    return words(turn.text(*VISIBLE_KINDS))


def thoughts_in_first_person(turn: Turn, language: Language) -> list[bool]:
    """Return for each thought whether it says "I"."""
    return [bool(_FIRST_PERSON[language].search(part.text)) for part in turn.parts if part.kind == "role_thinking"]


def shows_plan(turn: Turn, language: Language) -> bool:
    """Return whether planning shows in the reply: a tag, talk about playing a part, or a run of the plan's own words.

    What the plan quotes is a draft of the speech and no leak.
    """
    reply = turn.text("role_thinking", *VISIBLE_KINDS)
    if PLAN_DEFECTS & {defect.name for defect in turn.defects} or TAG.search(reply) or _ACTOR.search(reply):
        return True
    plan = words(_QUOTED.sub(" ", turn.text(PLAN)))
    planned = set(runs(plan, PLAN_RUN[language]))
    return any(run in planned for run in runs(words(reply), PLAN_RUN[language]))


def speaks_as_assistant(turn: Turn) -> bool:
    """Return whether the reply speaks as an assistant: a disclaimer or a refusal."""
    return bool(_ASSISTANT.search(turn.text(*VISIBLE_KINDS)))


def thought_fits(turn: Turn, language: Language, before: Turn | None) -> bool | None:
    """Return whether thought and reply, or thought and what was just said, share a telling word; None without both sides.

    It says that they are about one thing, not that the thought is the reason of the speech.
    """
    thought = telling_words(words(turn.text("role_thinking")), language)
    reply = telling_words(visible_words(turn), language)
    if not thought or not reply:
        return None
    heard = telling_words(visible_words(before), language) if before is not None else set()
    return bool(thought & (reply | heard))


def thought_echoes(turn: Turn) -> bool | None:
    """Return whether the speech says the whole thought again; None without a thought of a few words."""
    thought = words(turn.text("role_thinking"))
    return kept_share(thought, words(turn.text("speech"))) >= ECHO if len(thought) >= ECHO_WORDS else None


def repeated_share(turn_words: Sequence[str], earlier: Counter[tuple[str, ...]], language: Language) -> float | None:
    """Return the share of a turn's n-grams that its speaker used before; None for a turn that has none."""
    grams = list(runs(turn_words, GRAM[language]))
    return sum(gram in earlier for gram in grams) / len(grams) if grams else None


def loops(text: str) -> bool:
    """Return whether a letter or a phrase comes again and again without anything between."""
    if _LETTERS.search(text):
        return True
    there = words(text)
    return any(
        all(
            there[start : start + size] == there[start + turn * size : start + (turn + 1) * size]
            for turn in range(1, PHRASE_LOOP)
        )
        for size in range(LOOP_WORDS, min(31, len(there) // PHRASE_LOOP + 1))
        for start in range(len(there) - PHRASE_LOOP * size + 1)
    )


def distinct(texts: Sequence[Sequence[str]], size: int, window: int = 500) -> float | None:
    """Return distinct n-grams over all, the mean over windows of equal length: more text alone does not lower it.

    Text below one window is one window of its own length (Li et al. 2016, arXiv:1510.03055).
    """
    joined = [word for text in texts for word in text]
    shares = []
    for start in range(0, max(1, len(joined) - window + 1), window):
        grams = list(runs(joined[start : start + window], size))
        if grams:
            shares.append(len(set(grams)) / len(grams))
    return sum(shares) / len(shares) if shares else None
