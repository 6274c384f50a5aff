"""Rules of the teacher for turns: reorder parts, add thoughts and actions, write plans, add facts that the source names.

Each rule takes the JSON object of a question and returns that of the answer; the formats stand in the prompts of the same name in
her/prompts/ and in pipelines/synthesize/stages/answers.py.
"""

import re
from collections.abc import Sequence
from typing import Any

from her.format import normalise, parse, pattern, render
from her.kinds import REPLY_KINDS, Kind
from her.types import Message, Part

Json = dict[str, Any]

THOUGHTS = {
    "en": (
        "I must answer this without giving too much away",
        "Steady, I have been here before",
        "What do I lose if I say it plainly",
        "Not yet, I shall let them come to me",
        "Here is the place where I must not look away",
        "So this is what I came to hear",
        "Let me see how far this goes before I stop it",
        "If I hesitate now, I shall hesitate for good",
        "Strange, how little of it surprises me",
        "Once said, I cannot take it back",
    ),
    "zh": (
        "我得答，又不能全答",
        "稳住，这样的关口我见过",
        "话说明白了，我又失去什么呢",
        "不急，让我先听听",
        "到了这一步，我不能移开眼",
        "原来我是来听这一句的",
        "且看此事走到哪里，我再拦",
        "此时我若犹豫，往后便总要犹豫",
    ),
}
ACTS = {
    "en": ("pauses", "takes a step closer", "turns aside", "waits a moment", "lowers the voice", "looks up", "stands still"),
    "zh": ("停了停", "走近一步", "侧过身去", "等了片刻", "压低声音", "抬起头来"),
}
_FIRST = re.compile(r"\b(?:I|me|my|mine|myself|we|us|our)\b|\bI'|我|咱|俺", re.I)
_SENTENCE = re.compile(r"[^.!?。！？…]+[.!?。！？…]*[\"”’」』]?\s*")
_WORD = re.compile(r"[A-Za-z][a-z’']{3,}")
_NAME = re.compile(r"(?<![.!?\"“‘'\n] )(?<!^)\b[A-Z][a-z]{3,}\b", re.M)
_NAMED = re.compile(r"(?:You are|你是)\s*([^,，。.（(]+)")
_WIDE = re.compile(r"[\u4e00-\u9fff]")
# fmt: off
_PLAIN = frozenset((
    "myself", "that", "this", "with", "your", "from", "have", "been", "will", "would", "shall", "should", "could", "what", "when",
    "where", "which", "there", "their", "they", "them", "then", "than", "upon", "into", "come", "came", "good", "well",
    "must", "more", "most", "some", "such", "very", "were", "here", "thou", "thee", "thine", "hath", "doth", "make", "made",
    "know", "like",
))
# fmt: on


def enhance_thoughts(question: Json) -> Json:
    """Return the requested turns with a thought or action added and no order of parts three times in a row."""
    wanted = set(map(str, question["ask"]))
    # A question that gives reasons is asked again after checks failed; the same answer would fail again.
    shift = 1 if question.get("reasons") else 0
    written, orders = [], []
    for number, turn in enumerate(question["turns"]):
        parts = _parts(str(turn["text"]), str(turn["speaker"]))
        if turn["id"] not in wanted:
            orders.append(pattern(parts))
            continue
        chosen = _vary(parts, number + shift, orders, str(turn["speaker"]))
        orders.append(pattern(chosen))
        body = render(chosen, str(turn["speaker"])).removeprefix(f"{turn['speaker']}: ")
        reason = "as it was" if chosen == parts else "the inner motive made visible, the order varied"
        written.append({"id": turn["id"], "text": body, "reason": reason})
    return {"turns": written}


def _parts(text: str, speaker: str) -> tuple[Part, ...]:
    return parse(f"{speaker}: {text}", speaker, notation="her").parts


def _language(text: str) -> str:
    return "zh" if len(_WIDE.findall(text)) * 4 > len(text) else "en"


def _vary(parts: tuple[Part, ...], number: int, orders: Sequence[str], speaker: str) -> tuple[Part, ...]:
    """Return the first of the possible forms that does not repeat the order of the last two turns."""
    forms = [normalise(form, speaker) for form in _forms([_first_person(part, speaker) for part in parts], number)]
    rotated = forms[number % len(forms) :] + forms[: number % len(forms)]
    return next((form for form in rotated if [pattern(form)] * 2 != list(orders[-2:])), rotated[0])


def _first_person(part: Part, speaker: str) -> Part:
    """Return a thought in the first person, where it is clearly in the third; other parts unchanged."""
    if part.kind != "role_thinking" or _FIRST.search(part.text):
        return part
    first = speaker.split()[-1]
    if re.match(r"(?:\w+ly )?\w{2,}ing\b", part.text) and _language(part.text) == "en":
        return Part(kind="role_thinking", text=f"I am {part.text[0].lower()}{part.text[1:]}")
    if first in part.text or speaker in part.text:
        return Part(kind="role_thinking", text=part.text.replace(speaker, "I").replace(first, "I"))
    return part


def _forms(parts: list[Part], number: int) -> list[list[Part]]:
    """Return possible forms of a turn: variants with a thought, an action or split speech, and last the turn as it is."""
    language = _language("".join(part.text for part in parts))
    act = Part(kind="role_action", text=ACTS[language][number % len(ACTS[language])])
    thought = Part(kind="role_thinking", text=THOUGHTS[language][number % len(THOUGHTS[language])])
    thoughts = [part for part in parts if part.kind == "role_thinking"]
    rest = [part for part in parts if part.kind != "role_thinking"]
    speech = [part for part in rest if part.kind == "speech"]
    deeper = parts if thoughts else [thought, *parts]
    forms = [deeper, [*(thoughts or [thought]), act, *rest], [*deeper, act], [act, *deeper], [*rest, *(thoughts or [thought])]]
    if len(speech) == 1 and len(rest) == 1 and len(halves := _halves(speech[0].text)) == 2:
        opening, rest_of_speech = (Part(kind="speech", text=half) for half in halves)
        forms += [[*thoughts, opening, act, rest_of_speech], [opening, *(thoughts or [thought]), rest_of_speech]]
    return [*forms, parts]


def _halves(speech: str) -> list[str]:
    """Return the first sentence and the rest; one text when there is only one sentence."""
    sentences = [match[0].strip() for match in _SENTENCE.finditer(speech)]
    return [sentences[0], " ".join(sentences[1:])] if len(sentences) > 1 else [speech]


def rewrite_plan(question: Json) -> Json:
    """Return a plan made of the last line heard, the character's motivation and the order of the turn's parts."""
    name = str(question["name"])
    turn = parse(str(question["turn"]), name, notation="her")
    if _language(turn.text()) == "zh":
        return {"plan": _plan_zh(name, question, turn.parts)}
    heard = _last_heard(question, name)
    want = _first_sentence(str(question.get("motivation") or "")) or f"{name} wants to be understood."
    sentences = [
        f"I need to portray {name} at this moment" + (f" of {question['book']}." if question.get("book") else "."),
        heard or f"The scene opens here: {_first_sentence(str(question.get('setting') or '')) or 'nothing has been said yet.'}",
        f"What stands behind the answer: {want}",
        _course(turn.parts, name),
        f"The turn should come round to {_listed(_words(turn.text(*REPLY_KINDS))) or 'a bare sound'}.",
        f"I should keep to what {name} has seen and heard so far, in the voice that the profile gives, with room for a reply.",
    ]
    return {"plan": " ".join(sentences)}


def _last_heard(question: Json, name: str) -> str:
    """Return a sentence about the last turn of another speaker; empty when there is none."""
    for text in reversed(question.get("history") or []):
        speaker, colon, words = str(text).partition(":")
        if colon and speaker.strip() and speaker != name:
            about = _listed(_words(words)[:3])
            return f"{speaker} has just spoken" + (f" of {about}" if about else "") + f", and {name} has to take a stand on it."
    return ""


def _course(parts: Sequence[Part], name: str) -> str:
    """Return a sentence about the order of the turn's parts."""
    steps: dict[Kind, str] = {
        "role_thinking": "a thought that nobody hears",
        "role_action": "a visible act",
        "speech": "words said aloud",
    }
    course = [steps[part.kind] for part in parts if part.kind in steps]
    asks = any(part.kind == "speech" and part.text.rstrip(" \"”’'").endswith(("?", "？")) for part in parts)
    return f"It should go by way of {', then '.join(course)}; {name} {'ends on a question' if asks else 'ends on a statement'}."


def _plan_zh(name: str, question: Json, parts: Sequence[Part]) -> str:
    """Return the same plan in Chinese."""
    pairs = re.findall(r"[\u4e00-\u9fff]{2}", "".join(part.text for part in parts))
    history = [str(text) for text in question.get("history") or []]
    heard = next((text.partition(":")[0].strip() for text in reversed(history) if not text.startswith(f"{name}:")), "")
    want = _first_sentence(str(question.get("motivation") or "")) or f"{name}想让对方听懂自己。"
    steps = {"role_thinking": "一个不出口的念头", "role_action": "一个看得见的动作", "speech": "说出口的话"}
    course = "，再是".join(steps[part.kind] for part in parts if part.kind in steps)
    opening = f"{heard}刚说完，{name}不能不应。" if heard else f"这一场由此开头，{name}先定下自己的位置。"
    return (
        f"我需要把{name}演好这一刻。{opening}背后的心思是：{want}这一轮先是{course}。"
        f"要落到“{'、'.join(pairs[:3])}”这几处，语气照着人物小传里的样子。{name}没有见过、没有听过的，一概不提，末了给对方留下接话的余地。"
    )


def _first_sentence(text: str) -> str:
    sentence = _SENTENCE.match(text.strip())
    return sentence[0].strip() if sentence else ""


def _words(text: str) -> list[str]:
    """Return the five longest words that are not in _PLAIN, in the order of the text."""
    plain = re.sub(r"<[^>]*>", " ", text)
    known = dict.fromkeys(word.lower() for word in _WORD.findall(plain) if word.lower() not in _PLAIN)
    longest = sorted(known, key=len, reverse=True)[:5]
    return [word for word in known if word in longest]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


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
    about = _listed(_words(last)[:3]) or "what was said"
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
