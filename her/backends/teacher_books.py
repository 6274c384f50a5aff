"""Rules of the teacher for books: find lines of dialogue and their speakers by typography, without understanding the text.

Each rule takes the JSON object of a question and returns that of the answer; the formats stand in the prompts of the same name in
her/prompts/ and in pipelines/synthesize/stages/answers.py.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]

MOST_LINES = 14
"""Most lines of one conversation."""
LONGEST_GAP = 1_500
"""Most characters between two lines of one conversation."""
# A play: `IAGO.` or `Lady Macbeth:` at the start of a line, then the speech.
_PLAY = re.compile(r"(?m)^[ \t]*([A-Z][A-Z’'. -]{1,28}[A-Z]|[A-Z][a-z]+(?: [A-Z][a-z]+){0,2})[.:][ \t]+(?=\S)")
# A novel: quotations in one of these styles, whichever the book uses most. A straight mark opens where no letter stands before
# it and closes where none follows; a line break within a quotation is one of the page, not of the book.
_TELL = (
    r"(?:said|says|replied|cried|asked|answered|returned|exclaimed|whispered|added|continued|observed|remarked|murmured|muttered|"
    r"shouted|called|repeated|rejoined|inquired|enquired|demanded|declared|began|went on|resumed|interrupted|interposed|retorted)"
)
_BODY = r"\s*((?:(?!\n[ \t]*\n[ \t]*\n)%s){2,600}?)\s*"
_QUOTES = (
    re.compile("“" + _BODY % "[^“”]" + "”"),
    re.compile(r"(?<![\w.,!?;])\"" + _BODY % r"[^\"]" + r"\"(?!\w)"),
    re.compile("‘" + _BODY % r"(?:[^‘’]|’(?=\w))" + r"’(?!\w)"),
    re.compile(r"(?<!\w)'" + _BODY % r"(?:[^']|(?<=\w)'(?=\w))" + r"(?<=[.,!?;—-])'(?!\w)"),
    re.compile("«" + _BODY % "[^«»]" + "»"),
    re.compile(rf"(?m)^[ \t]*[—–―][ \t]*([^\n—–―]{{2,600}}?)(?=[ \t]*[—–―]|,?[ \t]+{_TELL}\b|[ \t]*$)"),
)
_WHO = r"((?:(?:Mr|Mrs|Dr|St)\.?|Miss|Sir|Lady|Lord|Aunt|Uncle|Madame|Monsieur|[Tt]he)?\s{0,3}[A-Z][a-z]+(?:[ -][A-Z][a-z]+)?)"
_AFTER = re.compile(rf"^\s*[,—–-]*\s*(?:{_TELL}\s+{_WHO}|{_WHO}(?:,[^,.\n]{{2,40}},)?\s+{_TELL})\b")
_BEFORE = re.compile(rf"{_WHO}(?:,[^,.\n]{{2,40}},)?\s+{_TELL}(?:\s+\w+ly)?\s*[,:—]?\s*$")
_PRONOUN = re.compile(rf"^\s*[,—–-]*\s*(?:(?:{_TELL}\s+(?:he|she|I|they)|(?:he|she|I|they)\s+{_TELL}))\b")
# fmt: off
_NOT_WHO = frozenset((
    "Mr", "Mrs", "Miss", "Dr", "Sir", "Lady", "Lord", "Colonel", "Captain", "Monsieur", "Madame", "Having", "Being", "He", "She",
    "They", "It", "And", "But", "Then", "So", "Well", "There", "Here", "Now", "That", "This", "What",
))
"""Capitalised words beside a quotation that name nobody."""
# fmt: on
BARE_NAMES = 4
"""Lines that a name without a mark must begin to be taken for a speaker of a play."""
NEXT_SPEAKER = 160
"""Most characters between two quotations of which the second may be the answer of the other of two speakers."""
# A Chinese novel: a name, 道, 说 or 问, and a quotation.
_CHINESE = re.compile(
    r"([\u4e00-\u9fff]{1,4}?)(?:笑|冷笑|忙|便|又|也|只|低声|连忙)?(?:说道|說道|问道|問道|答道|喊道|叫道|[道说說问問])[：:，]?\s*[“「『\"]([^”」』\"]{2,400})[”」』\"]"
)
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
    groups = [group for group in _conversations(book_lines(text), text) if len({line.speaker for line in group}) > 1]
    carried = question.get("carried") or []
    plots = [_plot(group, str(question.get("chapter", "")), text) for group in groups]
    if plots and carried and groups[0][0].start < LONGEST_GAP:
        # A plot of the piece before that was truncated continues when it shares a speaker with the first one here.
        names = {line.speaker for line in groups[0]}
        continued = [plot for plot in carried if names & set(plot.get("characters", []))]
        plots[0]["continues"] = str(continued[0]["id"]) if continued else ""
    return {"plots": plots}


def book_lines(text: str) -> list[BookLine]:
    """Return the lines by the typography that finds most: of a play, an English novel or a Chinese one.

    A play with bare names is the last guess, since a novel's lines begin with names as well: it must find three times as much.
    """
    lines = max((_lines_of_play(text), _lines_of_novel(text), _lines_of_chinese_novel(text)), key=_attributed)
    bare = _lines_of_bare_play(text)
    return bare if len(bare) > 3 * _attributed(lines) else lines


def _attributed(lines: Sequence[BookLine]) -> int:
    return sum(bool(line.speaker) for line in lines)


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


def _lines_of_bare_play(text: str) -> list[BookLine]:
    """Return the lines of a play whose names have no mark behind them: `Regan His age is the trouble.`"""
    starts = Counter(re.findall(r"(?m)^[ \t]*([A-Z][a-z]{2,})(?=[ \t]+[A-Z“])", text))
    frequent = [name for name, count in starts.items() if count >= BARE_NAMES]
    names = [name for name in frequent if not re.search(rf"\b{name.lower()}\b", text)]
    if len(names) < 2:
        return []
    speakers = list(re.finditer(rf"(?m)^[ \t]*({'|'.join(names)})[ \t]+(?=[A-Z“])", text))
    lines = []
    for mark, after in zip(speakers, [*speakers[1:], None], strict=True):
        end = after.start() if after else min(len(text), mark.end() + 1_000)
        speech = re.split(r"\n(?=[ \t]*(?:ACT|SCENE|Act|Scene|Enter|Exit|Exeunt|\[))", text[mark.end() : end])[0]
        words = " ".join(_DIRECTION.sub(" ", speech).split())
        lines.append(BookLine(mark.start(), mark.end() + len(speech), mark[1], words[:600]))
    return [line for line in lines if any(map(str.isalpha, line.words))]


def _lines_of_novel(text: str) -> list[BookLine]:
    return max((_quoted_lines(text, style) for style in _QUOTES), key=_attributed)


def _quoted_lines(text: str, style: re.Pattern[str]) -> list[BookLine]:
    """Return the quotations of one style with a speaker: named beside it, or the other one of two who take turns.

    A quotation whose speaker is not found ends the turn-taking, so that nobody is given the words of another.
    """
    lines: list[BookLine] = []
    pair: list[str] = []
    end = -NEXT_SPEAKER
    for quote in style.finditer(text):
        words = " ".join(quote[1].split())
        between = text[max(end, 0) : quote.start()]
        named = _speaker(text, quote)
        if lines and end == lines[-1].end and lines[-1].speaker and _goes_on(lines[-1].words, between, named):
            # `"Yes," said Lorry, "I know."` is one line.
            lines[-1] = lines[-1]._replace(end=quote.end(), words=f"{lines[-1].words} {words}"[:600])
            end = quote.end()
            continue
        alternates = len(pair) == 2 and len(between) <= NEXT_SPEAKER and end == lines[-1].end
        speaker = named or (pair[0] if alternates and not _PRONOUN.match(text[quote.end() : quote.end() + 40]) else "")
        if speaker:
            lines.append(BookLine(quote.start(), quote.end(), _spoken_name(speaker), words))
            pair = [*[each for each in pair if each != speaker][-1:], speaker]
        else:
            # Not left out: a conversation may not go on as if nothing had been said.
            lines.append(BookLine(quote.start(), quote.end(), "", words))
            pair = []
        end = quote.end()
    return lines


def _speaker(text: str, quote: re.Match[str]) -> str:
    """Return the name that stands beside a quotation; empty when there is none."""
    after = _AFTER.match(text[quote.end() : quote.end() + 100])
    before = _BEFORE.search(text[max(0, quote.start() - 90) : quote.start()].rpartition("”")[2])
    found = [*(after.groups() if after else ()), *(before.groups() if before else ())]
    names = (" ".join(name.split()) for name in found if name)
    return next((name for name in names if name not in _NOT_WHO), "")


def _goes_on(words: str, between: str, named: str) -> bool:
    """Return whether a quotation continues the one before it, after nothing but who is speaking."""
    told = re.fullmatch(
        rf"\s*[,—–-]*\s*(?:{_TELL}\s+[\w. ]{{1,30}}|[\w. ]{{1,30}}\s+{_TELL})(?:\s+\w+ly)?\s*[,;.:—–-]*\s*", between
    )
    return bool(told) and not named and (words.endswith((",", "—", "–", "-")) or between.rstrip().endswith((",", ";", ":", "—")))


def _lines_of_chinese_novel(text: str) -> list[BookLine]:
    return [BookLine(match.start(), match.end(), match[1], match[2]) for match in _CHINESE.finditer(text)]


def _spoken_name(name: str) -> str:
    """Return a printed name as it is spoken: Iago for `IAGO`."""
    plain = " ".join(name.split())
    return plain.title().replace("’S", "’s").replace("'S", "'s") if plain.isupper() else plain


def _conversations(lines: Sequence[BookLine], text: str) -> list[list[BookLine]]:
    """Group lines that are near each other, with no heading and no line of an unknown speaker between them, by MOST_LINES."""
    groups: list[list[BookLine]] = [[]]
    for before, line in zip([None, *lines], lines, strict=False):
        apart = before and (line.start - before.end > LONGEST_GAP or _HEADING.search(text, before.end, line.start))
        if apart or not line.speaker or len(groups[-1]) >= MOST_LINES:
            groups.append([])
        if line.speaker:
            groups[-1].append(line)
    return [group for group in groups if group]


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
