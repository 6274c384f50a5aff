"""Rules of the teacher for turns: move thoughts, add one where there is none, add facts that the source names, play a turn.

Each rule takes the JSON object of a question and returns that of the answer; the formats stand in the prompts of the same name in
her/prompts/ and in pipelines/synthesize/stages/answers.py.
"""

import re
from collections.abc import Sequence
from itertools import combinations, groupby
from typing import Any

from her.backends.teacher_plans import language_of, number_of, sentences_of, telling
from her.format import normalise, parse, pattern, render
from her.kinds import VISIBLE_KINDS
from her.types import Language, Message, Part

Json = dict[str, Any]

_FIRST = re.compile(r"\b(?:I|me|my|mine|myself|we|us|our)\b|\bI'|我|咱|俺", re.I)
_SENTENCE = re.compile(r"[^.!?。！？…]+[.!?。！？…]*[\"”’」』]?\s*")
_NAME = re.compile(r"(?<![.!?\"“‘'\n] )(?<!^)\b[A-Z][a-z]{3,}\b", re.M)
_NAMED = re.compile(r"(?:You are|你是)\s*([^,，。.（(]+)")
# Never five words in a row without one of the turn: the checks would take them for a thought of somebody else.
THOUGHTS: dict[Language, tuple[str, ...]] = {
    "en": (
        "I heard {0}, and {1} as well",
        "With {0} I weigh {1} first",
        "My answer to {0} must wait for {1}",
        "I stay calm at {0}, and {1} changes little",
        "I hold {0} against {1}",
        "I distrust {0}, though {1} sounds true",
        "I wonder why {0}, and why {1}",
        "{0} touches me more than {1}",
    ),
    "zh": ("我听见{0}了，还有{1}", "对{0}，我先掂量{1}", "{0}先放一放，我在意{1}", "拿{0}比{1}，我信前者", "我不信{0}，倒信{1}"),
}
ACTS: dict[Language, tuple[str, ...]] = {
    "en": (
        "looks up at {0}",
        "pauses over {0}",
        "turns aside after {0}",
        "lets {0} pass",
        "steps closer at {0}",
        "stands still at {0}",
    ),
    "zh": ("听到{0}，停了停", "为{0}抬起头来", "等{0}落定，走近一步", "因{0}侧过身去"),
}
MOST_SEGMENTS = 5
"""Most parts of a rearranged turn."""


def enhance_thoughts(question: Json) -> Json:
    """Return the requested turns with their thoughts moved or split so that orders vary, or with one where there was none.

    Nothing that is said or done is added, taken away or put into another order. A turn that had only speech gets a thought
    and at times an act, made of the speaker's want and the words just heard.
    """
    wanted = set(map(str, question["ask"]))
    # A question that gives reasons is asked again after checks failed; the same answer would fail again.
    again = str(question.get("reasons") or "")
    wants = {str(each.get("name")): str(each.get("motivation") or "") for each in question.get("characters") or []}
    written, orders, heard = [], list[str](), ("", "")
    for number, turn in enumerate(question["turns"]):
        speaker, text = str(turn["speaker"]), str(turn["text"])
        parts = _parts(text, speaker)
        if turn["id"] in wanted:
            first_person = [_first_person(part, speaker) for part in parts]
            draw = number_of(text, str(number), again)
            added = _added(first_person, wants.get(speaker, ""), heard, draw)
            chosen = _vary([first_person, *added], orders, speaker, draw)
            orders.append(pattern(chosen))
            body = render(chosen, speaker).removeprefix(f"{speaker}: ")
            reason = "as it was" if chosen == parts else "the thoughts moved, the order varied"
            written.append({"id": turn["id"], "text": body, "reason": reason})
        else:
            orders.append(pattern(parts))
        heard = (speaker, " ".join(part.text for part in parts if part.kind in VISIBLE_KINDS))
    return {"turns": written}


def _parts(text: str, speaker: str) -> tuple[Part, ...]:
    return parse(f"{speaker}: {text}", speaker, notation="her").parts


def _first_person(part: Part, speaker: str) -> Part:
    """Return a thought in the first person, where it is clearly in the third; other parts unchanged."""
    if part.kind != "role_thinking" or _FIRST.search(part.text):
        return part
    first = speaker.split()[-1]
    if re.match(r"(?:\w+ly )?\w{2,}ing\b", part.text) and language_of(part.text) == "en":
        return Part(kind="role_thinking", text=f"I am {part.text[0].lower()}{part.text[1:]}")
    if first in part.text or speaker in part.text:
        return Part(kind="role_thinking", text=part.text.replace(speaker, "I").replace(first, "I"))
    return part


def _added(parts: list[Part], motivation: str, heard: tuple[str, str], draw: int) -> list[list[Part]]:
    """Return forms of a turn of nothing but speech with a thought, and one with an act as well; none for other turns."""
    if {part.kind for part in parts} != {"speech"}:
        return []
    text = " ".join(part.text for part in parts)
    language = language_of(text)
    other, words = heard
    # Two words of what was heard; a name stands in for one that is missing.
    about = [f"“{word}”" for word in telling(words, language, names=frozenset(other.split()))][:2]
    spare = [other or ("此刻" if language == "zh" else "this moment"), f"“{(telling(motivation, language) or ('',))[-1]}”"]
    first, second = (*about, *spare)[:2]
    thinking = Part(kind="role_thinking", text=_capital(_pick(THOUGHTS[language], draw // 3).format(first, second)))
    acting = Part(kind="role_action", text=_pick(ACTS[language], draw // 7).format(second, first))
    return [[thinking, *parts], [thinking, acting, *parts], [*parts, acting, thinking], [acting, *parts]]


def _pick(choices: Sequence[str], draw: int) -> str:
    return choices[draw % len(choices)]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _vary(bases: Sequence[Sequence[Part]], orders: Sequence[str], speaker: str, draw: int) -> tuple[Part, ...]:
    """Return the form whose order of parts was used least so far and would not come three times in a row."""
    possible = (tuple(map(_without_stop, normalise(form, speaker))) for base in bases for form in _forms(base))
    forms = {pattern(form): form for form in possible}
    allowed = [order for order in forms if [order] * 2 != list(orders[-2:])] or list(forms)
    least = min(orders.count(order) for order in allowed)
    rare = sorted(order for order in allowed if orders.count(order) == least)
    return forms[rare[draw % len(rare)]]


def _without_stop(part: Part) -> Part:
    """Return a thought without the full stop at its end, which HER's format has not; other parts unchanged."""
    text = part.text.rstrip(".。") if part.kind == "role_thinking" and not part.text.endswith(("..", "。。")) else part.text
    return Part(kind=part.kind, text=text) if text else part


def _forms(parts: Sequence[Part]) -> list[list[Part]]:
    """Return the turn with its thoughts at every other place among what is said and done, the turn as it is included.

    What is said and done keeps its order; thoughts keep theirs. Speech and thoughts are split between sentences only.
    """
    thoughts = [piece for part in parts if part.kind == "role_thinking" for piece in _pieces(part)]
    visible = [piece for part in parts if part.kind != "role_thinking" for piece in _pieces(part)]
    if not thoughts or not visible:
        return [list(parts)]
    forms = [list(parts)]
    for groups in range(1, min(2, len(thoughts)) + 1):
        cut = len(thoughts) // groups if groups > 1 else len(thoughts)
        split = [thoughts[:cut], thoughts[cut:]][:groups]
        for places in combinations(range(len(visible) + 1), groups):
            form = list(visible)
            for place, group in reversed(list(zip(places, split, strict=True))):
                form[place:place] = group
            if len(list(groupby(form, key=lambda part: part.kind))) <= max(MOST_SEGMENTS, len(parts)):
                forms.append(form)
    return forms


def _pieces(part: Part) -> list[Part]:
    """Return the sentences of speech or of a thought as parts; an act is one piece."""
    if part.kind == "role_action":
        return [part]
    sentences = sentences_of(part.text)
    # A quotation mark that one sentence opens and another closes must not be torn apart.
    whole = len(sentences) < 2 or "".join(sentences).replace(" ", "") != part.text.replace(" ", "")
    if whole or any(sentence.count("“") != sentence.count("”") or sentence.count('"') % 2 for sentence in sentences):
        return [part]
    return [Part(kind=part.kind, text=sentence) for sentence in sentences]


def complete_setting(question: Json) -> Json:
    """Return at most one fact: a name that a turn uses, the setting lacks and an earlier sentence of the source holds."""
    source = str(question.get("source", ""))
    # A word that the source also writes in lower case is a common word at the start of a sentence, not a name.
    ordinary = set(re.findall(r"\b[a-z]{4,}\b", source))
    known = str(question.get("setting", "")) + " ".join(str(character) for character in question.get("characters", []))
    for turn in question.get("dialogues", []):
        for name in _NAME.findall(str(turn["text"])):
            if name.lower() in ordinary or name.lower() in known.lower():
                continue
            quote = _earlier_sentence(source, str(turn["text"]), name)
            if len(quote) >= 30:  # shorter ones are calls and stage directions
                fact = {"character": "", "field": "setting", "fact": f"It is said of {name}: {' '.join(quote.split())}"}
                return {"additions": [{**fact, "quote": quote, "shown_by": turn["id"]}]}
    return {"additions": []}


def _earlier_sentence(source: str, turn: str, name: str) -> str:
    """Return the first sentence before the turn in the source that holds the name; empty when there is none."""
    end = max(0, source.find(turn[-40:]))
    return next((match[0].strip() for match in _SENTENCE.finditer(source[:end]) if name in match[0]), "")


def play_turn(messages: Sequence[Message]) -> tuple[str, str]:
    """Return thinking and turn for a live prompt."""
    system = messages[0].content if messages else ""
    role = _NAMED.match(system)
    name = (role[1].replace(" from ", "\n").split("\n")[0].strip() if role else "") or "Somebody"
    last = messages[-1].content.rpartition("\n\n")[2] if messages else ""
    speaker = (last.partition(":")[0].strip() if ":" in last[:60] else "") or "the other"
    about = ", ".join(telling(last, "en")[:3]) or "what was said"
    if system.startswith("你是"):
        thinking = f"我需要把{name}演好。{speaker}刚开了口，我要先想清{name}此刻要什么，再定这一轮怎么走，先思后言。"
        return thinking, _line(name, "我听着呢", "你说下去。")
    thinking = (
        f"I need to portray {name}. {speaker} speaks of {about}. I should decide what {name} wants from this moment, what is "
        f"kept silent and what is said, and let {name} answer in the voice of the profile without running ahead of the scene."
    )
    return thinking, _line(name, "I hear it well enough", "Go on, I am listening.")


def _line(name: str, thought: str, speech: str) -> str:
    return render([Part(kind="role_thinking", text=thought), Part(kind="speech", text=speech)], name)
