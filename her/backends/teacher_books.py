"""Rules of the teacher for raw books: who says what, by the marks of print alone."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Json = dict[str, Any]

AT_ONCE = 14
"""Lines of one conversation."""
FAR = 1_500
"""Characters between two lines of one conversation, at most."""
_PLAY = re.compile(r"(?m)^[ \t]*([A-Z][A-Z’'. -]{1,28}[A-Z]|[A-Z][a-z]+(?: [A-Z][a-z]+){0,2})[.:][ \t]+(?=\S)")
_QUOTE = re.compile(r"[“\"]([^”\"\n]{2,600})[”\"]")
_TELL = r"(?:said|says|replied|cried|asked|answered|returned|exclaimed|whispered|added|continued|observed)"
_WHO = r"((?:Mr\.|Mrs\.|Miss|Dr\.|Sir|Lady)?\s?[A-Z][a-z]+(?: [A-Z][a-z]+)?)"
_AFTER = re.compile(rf"^[,.!?]?\s*(?:{_TELL}\s+{_WHO}|{_WHO}\s+{_TELL})")
_BEFORE = re.compile(rf"{_WHO}\s+{_TELL}[,:]?\s*$")
_CHINESE = re.compile(r"([\u4e00-\u9fff]{1,4}?)(?:笑|冷笑|忙|便)?[道说问][：:，]?[“「]([^”」\n]{2,400})[”」]")
_DIRECTION = re.compile(r"\s*[\[(][^\])]*[\])]\s*")
_NOBODY = frozenset(
    ("all", "both", "servant", "servants", "messenger", "officer", "voice", "crowd", "citizens", "others", "众人", "仆人")
)
_HEADING = re.compile(r"(?m)^[ \t]*(?:ACT|SCENE|CHAPTER|Act|Scene|Chapter)\b")
_STRUCTURE = re.compile(r"^(?:act|scene|chapter|book|part|volume|enter|exit|exeunt|the)\b", re.I)


class BookLine(NamedTuple):
    """A line of dialogue and where it stands."""

    start: int
    end: int
    who: str
    said: str


def extract_plots(asked: Json) -> Json:
    """Conversations as they are printed, each a plot; one that reaches the end of the piece may go on."""
    text = str(asked.get("text", ""))
    groups = [group for group in _groups(_lines(text), text) if len({line.who for line in group}) > 1]
    carried = asked.get("carried") or []
    plots = [_plot(group, str(asked.get("chapter", "")), text) for group in groups]
    if plots and carried and groups[0][0].start < FAR:
        names = {line.who for line in groups[0]}
        going = [each for each in carried if names & set(each.get("characters", []))]
        plots[0]["continues"] = str(going[0]["id"]) if going else ""
    return {"plots": plots}


def _lines(text: str) -> list[BookLine]:
    """The lines of a play, else of a novel, else of a Chinese one."""
    return max((_of_play(text), _of_novel(text), _of_chinese(text)), key=len)


def _of_play(text: str) -> list[BookLine]:
    found = [mark for mark in _PLAY.finditer(text) if not _STRUCTURE.match(mark[1])]
    lines = []
    for at, mark in enumerate(found):
        end = found[at + 1].start() if at + 1 < len(found) else min(len(text), mark.end() + 1_000)
        speech = re.split(r"\n\s*\n|\n(?=[ \t]*(?:ACT|SCENE|Act|Scene|Enter|Exit|Exeunt|\[))", text[mark.end() : end])[0]
        said = " ".join(_DIRECTION.sub(" ", speech).split())
        if any(map(str.isalpha, said)):
            lines.append(BookLine(mark.start(), mark.end() + len(speech), _person(mark[1]), said[:600]))
    return lines


def _of_novel(text: str) -> list[BookLine]:
    lines = []
    for quote in _QUOTE.finditer(text):
        after = _AFTER.match(text[quote.end() : quote.end() + 60])
        before = _BEFORE.search(text[max(0, quote.start() - 60) : quote.start()])
        who = next(filter(None, (*(after.groups() if after else ()), *(before.groups() if before else ()))), "")
        if who:
            lines.append(BookLine(quote.start(), quote.end(), _person(who), " ".join(quote[1].split())))
    return lines


def _of_chinese(text: str) -> list[BookLine]:
    return [BookLine(found.start(), found.end(), found[1], found[2]) for found in _CHINESE.finditer(text)]


def _person(name: str) -> str:
    """A name as it is spoken: `IAGO` is Iago."""
    plain = " ".join(name.split())
    return plain.title().replace("’S", "’s").replace("'S", "'s") if plain.isupper() else plain


def _groups(lines: Sequence[BookLine], text: str) -> list[list[BookLine]]:
    """Lines that stand together, `AT_ONCE` of them at most, no heading between them."""
    groups: list[list[BookLine]] = [list(lines[:1])] if lines else []
    for before, line in pairwise(lines):
        apart = line.start - before.end > FAR or _HEADING.search(text, before.end, line.start)
        if apart or len(groups[-1]) >= AT_ONCE:
            groups.append([])
        groups[-1].append(line)
    return groups


def _plot(group: Sequence[BookLine], chapter: str, text: str) -> Json:
    people = list(dict.fromkeys(line.who for line in group))
    together = _listed(people)
    first, last = group[0], group[-1]
    where = f" ({chapter})" if chapter else ""
    return {
        "chapter_title": chapter,
        "first_sentence": first.said,
        "last_sentence": last.said,
        "prominence": min(100, 40 + 2 * len(group)),
        "summary": f"{together} speak with each other{where}. It begins when {first.who} speaks and ends with {last.who}.",
        "key_characters": [
            {
                "name": name,
                "description": f"{name} speaks with {_listed([other for other in people if other != name])}.",
                "experience": f"{name} takes part in the conversation with {sum(line.who == name for line in group)} lines.",
            }
            for name in people
        ],
        "conversation": [
            {
                "scenario": f"{together} are in one place{where}. {first.who} is about to speak.",
                "topic": f"{first.who} speaks with {_listed(people[1:] or people)}",
                "key_characters": [{"name": name, "motivation": _wish(name, people)} for name in people],
                "dialogues": [{"character": line.who, "message": line.said} for line in group],
            }
        ],
        "state": "truncated" if last.end > len(text) - FAR // 3 else "finished",
        "continues": "",
    }


def _wish(name: str, people: Sequence[str]) -> str:
    others = [other for other in people if other != name]
    return f"{name} wants to be heard by {_listed(others)} and to learn where {others[0] if others else 'everybody'} stands."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "nobody"


def name_characters(asked: Json) -> Json:
    """Every name stands for itself, in one spelling; voices without identity are impersonal."""
    return {
        "names": [
            {"name": name, "official": "impersonal" if _nobody(name) else _person(name)} for name in map(str, asked["names"])
        ]
    }


def _nobody(name: str) -> bool:
    return bool(_NOBODY & set(name.lower().split())) or name in _NOBODY


def write_profile(asked: Json) -> Json:
    """What the book says, put in a row."""
    name, book = asked["character"], asked["book"]
    told = [*dict.fromkeys(map(str, asked.get("descriptions", [])))][:4]
    lines = [str(line) for line in asked.get("lines", [])]
    longest = max(lines, key=len, default="")
    manner = "in long sentences" if len(longest) > 160 else "briefly"
    questions = sum("?" in line for line in lines)
    asks = f" and asks rather than tells, {questions} times of {len(lines)}" if questions * 2 > len(lines) else ""
    return {"profile": " ".join([f"{name} is a character of {book}.", *told, f"{name} speaks {manner}{asks}."])}


def stage_scene(asked: Json) -> Json:
    """The drafts, or the plainest thing that can be said where there is none."""
    people = [str(each["name"]) for each in asked["characters"]]
    first = asked["dialogues"][0]["character"] if asked.get("dialogues") else _listed(people)
    scenario = str(asked.get("scenario") or "").strip() or f"{_listed(people)} are together. {first} is about to speak."
    wants = [
        {"name": name, "motivation": str(each.get("motivation") or "").strip() or _wish(name, people)}
        for name, each in zip(people, asked["characters"], strict=True)
    ]
    return {"scenario": scenario, "characters": wants}
