"""Rules of the teacher for books: find lines of dialogue and their speakers by typography, without understanding the text.

Each rule takes the JSON object of a question and returns that of the answer; the formats stand in the prompts of the same name in
her/prompts/ and in pipelines/synthesize/stages/answers.py.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Json = dict[str, Any]

MOST_LINES = 14
"""Most lines of one conversation."""
LONGEST_GAP = 1_500
"""Most characters between two lines of one conversation."""
# A play: `IAGO.` or `Lady Macbeth:` at the start of a line, then the speech.
_PLAY = re.compile(r"(?m)^[ \t]*([A-Z][A-Z’'. -]{1,28}[A-Z]|[A-Z][a-z]+(?: [A-Z][a-z]+){0,2})[.:][ \t]+(?=\S)")
# A novel: a quotation with `said Iago` or `Iago said` beside it.
_QUOTE = re.compile(r"[“\"]([^”\"\n]{2,600})[”\"]")
_TELL = r"(?:said|says|replied|cried|asked|answered|returned|exclaimed|whispered|added|continued|observed)"
_WHO = r"((?:Mr\.|Mrs\.|Miss|Dr\.|Sir|Lady)?\s?[A-Z][a-z]+(?: [A-Z][a-z]+)?)"
_AFTER = re.compile(rf"^[,.!?]?\s*(?:{_TELL}\s+{_WHO}|{_WHO}\s+{_TELL})")
_BEFORE = re.compile(rf"{_WHO}\s+{_TELL}[,:]?\s*$")
# A Chinese novel: a name, 道, 说 or 问, and a quotation.
_CHINESE = re.compile(r"([\u4e00-\u9fff]{1,4}?)(?:笑|冷笑|忙|便)?[道说问][：:，]?[“「]([^”」\n]{2,400})[”」]")
_DIRECTION = re.compile(r"\s*[\[(][^\])]*[\])]\s*")
_NOBODY = frozenset(
    ("all", "both", "servant", "servants", "messenger", "officer", "voice", "crowd", "citizens", "others", "众人", "仆人")
)
_HEADING = re.compile(r"(?m)^[ \t]*(?:ACT|SCENE|CHAPTER|Act|Scene|Chapter)\b")
_STRUCTURE = re.compile(r"^(?:act|scene|chapter|book|part|volume|enter|exit|exeunt|the)\b", re.I)


class BookLine(NamedTuple):
    """A line of dialogue: its place in the text in characters, the speaker, the words."""

    start: int
    end: int
    speaker: str
    words: str


def extract_plots(question: Json) -> Json:
    """Return one plot for each conversation; a conversation that reaches the end of the piece is `truncated`."""
    text = str(question.get("text", ""))
    groups = [group for group in _conversations(_lines(text), text) if len({line.speaker for line in group}) > 1]
    carried = question.get("carried") or []
    plots = [_plot(group, str(question.get("chapter", "")), text) for group in groups]
    if plots and carried and groups[0][0].start < LONGEST_GAP:
        # A plot of the piece before that was truncated continues when it shares a speaker with the first one here.
        names = {line.speaker for line in groups[0]}
        continued = [plot for plot in carried if names & set(plot.get("characters", []))]
        plots[0]["continues"] = str(continued[0]["id"]) if continued else ""
    return {"plots": plots}


def _lines(text: str) -> list[BookLine]:
    """Return the lines by the typography that finds most: of a play, an English novel or a Chinese one."""
    return max((_lines_of_play(text), _lines_of_novel(text), _lines_of_chinese_novel(text)), key=len)


def _lines_of_play(text: str) -> list[BookLine]:
    speakers = [mark for mark in _PLAY.finditer(text) if not _STRUCTURE.match(mark[1])]
    lines = []
    for number, mark in enumerate(speakers):
        end = speakers[number + 1].start() if number + 1 < len(speakers) else min(len(text), mark.end() + 1_000)
        # A speech ends at a blank line, a heading or a stage direction on its own line.
        speech = re.split(r"\n\s*\n|\n(?=[ \t]*(?:ACT|SCENE|Act|Scene|Enter|Exit|Exeunt|\[))", text[mark.end() : end])[0]
        words = " ".join(_DIRECTION.sub(" ", speech).split())
        if any(map(str.isalpha, words)):
            lines.append(BookLine(mark.start(), mark.end() + len(speech), _spoken_name(mark[1]), words[:600]))
    return lines


def _lines_of_novel(text: str) -> list[BookLine]:
    lines = []
    for quote in _QUOTE.finditer(text):
        after = _AFTER.match(text[quote.end() : quote.end() + 60])
        before = _BEFORE.search(text[max(0, quote.start() - 60) : quote.start()])
        speaker = next(filter(None, (*(after.groups() if after else ()), *(before.groups() if before else ()))), "")
        if speaker:
            lines.append(BookLine(quote.start(), quote.end(), _spoken_name(speaker), " ".join(quote[1].split())))
    return lines


def _lines_of_chinese_novel(text: str) -> list[BookLine]:
    return [BookLine(match.start(), match.end(), match[1], match[2]) for match in _CHINESE.finditer(text)]


def _spoken_name(name: str) -> str:
    """Return a printed name as it is spoken: Iago for `IAGO`."""
    plain = " ".join(name.split())
    return plain.title().replace("’S", "’s").replace("'S", "'s") if plain.isupper() else plain


def _conversations(lines: Sequence[BookLine], text: str) -> list[list[BookLine]]:
    """Group lines that are near each other, with no heading between them; at most MOST_LINES in a group."""
    groups: list[list[BookLine]] = [list(lines[:1])] if lines else []
    for before, line in pairwise(lines):
        apart = line.start - before.end > LONGEST_GAP or _HEADING.search(text, before.end, line.start)
        if apart or len(groups[-1]) >= MOST_LINES:
            groups.append([])
        groups[-1].append(line)
    return groups


def _plot(group: Sequence[BookLine], chapter: str, text: str) -> Json:
    people = list(dict.fromkeys(line.speaker for line in group))
    together = _join_names(people)
    first, last = group[0], group[-1]
    where = f" ({chapter})" if chapter else ""
    return {
        "chapter_title": chapter,
        "first_sentence": first.words,
        "last_sentence": last.words,
        "prominence": min(100, 40 + 2 * len(group)),
        "summary": f"{together} speak with each other{where}. It begins when {first.speaker} speaks "
        f"and ends with {last.speaker}.",
        "key_characters": [
            {
                "name": name,
                "description": f"{name} speaks with {_join_names([other for other in people if other != name])}.",
                "experience": f"{name} takes part in the conversation with {sum(line.speaker == name for line in group)} lines.",
            }
            for name in people
        ],
        "conversation": [
            {
                "scenario": f"{together} are in one place{where}. {first.speaker} is about to speak.",
                "topic": f"{first.speaker} speaks with {_join_names(people[1:] or people)}",
                "key_characters": [{"name": name, "motivation": _motivation(name, people)} for name in people],
                "dialogues": [{"character": line.speaker, "message": line.words} for line in group],
            }
        ],
        "state": "truncated" if last.end > len(text) - LONGEST_GAP // 3 else "finished",
        "continues": "",
    }


def _motivation(name: str, people: Sequence[str]) -> str:
    others = [other for other in people if other != name]
    return f"{name} wants to be heard by {_join_names(others)} and to learn where {others[0] if others else 'everybody'} stands."


def _join_names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "nobody"


def name_characters(question: Json) -> Json:
    """Return one spelling for each name; voices without identity, such as `All`, are `impersonal`."""
    return {
        "names": [
            {"name": name, "official": "impersonal" if _is_nobody(name) else _spoken_name(name)}
            for name in map(str, question["names"])
        ]
    }


def _is_nobody(name: str) -> bool:
    return bool(_NOBODY & set(name.lower().split())) or name in _NOBODY


def write_profile(question: Json) -> Json:
    """Return a profile made of the book's descriptions and the length of the character's lines."""
    name, book = question["character"], question["book"]
    descriptions = [*dict.fromkeys(map(str, question.get("descriptions", [])))][:4]
    lines = [str(line) for line in question.get("lines", [])]
    longest = max(lines, key=len, default="")
    manner = "in long sentences" if len(longest) > 160 else "briefly"
    questions = sum("?" in line for line in lines)
    asks = f" and asks rather than tells, {questions} times of {len(lines)}" if questions * 2 > len(lines) else ""
    return {"profile": " ".join([f"{name} is a character of {book}.", *descriptions, f"{name} speaks {manner}{asks}."])}


def stage_scene(question: Json) -> Json:
    """Return the drafts of scenario and motivations, with a plain sentence for each that is missing."""
    people = [str(character["name"]) for character in question["characters"]]
    first = question["dialogues"][0]["character"] if question.get("dialogues") else _join_names(people)
    scenario = str(question.get("scenario") or "").strip() or f"{_join_names(people)} are together. {first} is about to speak."
    characters = [
        {"name": name, "motivation": str(character.get("motivation") or "").strip() or _motivation(name, people)}
        for name, character in zip(people, question["characters"], strict=True)
    ]
    return {"scenario": scenario, "characters": characters}
