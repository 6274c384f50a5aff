"""Rules of the teacher for turns: thoughts set in another order, plans from what is visible, facts that the source names."""

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


def enhance_thoughts(asked: Json) -> Json:
    """Every turn asked for with its parts in another order, a thought or act put in, and no order three times in a row."""
    wanted = set(map(str, asked["ask"]))
    shift = 1 if asked.get("reasons") else 0
    written, orders = [], []
    for number, turn in enumerate(asked["turns"]):
        parts = _parts(str(turn["text"]), str(turn["speaker"]))
        if turn["id"] not in wanted:
            orders.append(pattern(parts))
            continue
        chosen = _varied(parts, number + shift, orders, str(turn["speaker"]))
        orders.append(pattern(chosen))
        body = render(chosen, str(turn["speaker"])).removeprefix(f"{turn['speaker']}: ")
        reason = "as it was" if chosen == parts else "the inner motive made visible, the order varied"
        written.append({"id": turn["id"], "text": body, "reason": reason})
    return {"turns": written}


def _parts(text: str, speaker: str) -> tuple[Part, ...]:
    return parse(f"{speaker}: {text}", speaker, notation="her").parts


def _language(text: str) -> str:
    return "zh" if len(_WIDE.findall(text)) * 4 > len(text) else "en"


def _varied(parts: tuple[Part, ...], number: int, orders: Sequence[str], speaker: str) -> tuple[Part, ...]:
    """The first of the possible forms that does not make three of one order."""
    forms = [normalise(form, speaker) for form in _forms([_own(part, speaker) for part in parts], number)]
    chosen = forms[number % len(forms) :] + forms[: number % len(forms)]
    return next((form for form in chosen if [pattern(form)] * 2 != list(orders[-2:])), chosen[0])


def _own(part: Part, speaker: str) -> Part:
    """A thought in the first person, when it plainly is not."""
    if part.kind != "role_thinking" or _FIRST.search(part.text):
        return part
    first = speaker.split()[-1]
    if re.match(r"(?:\w+ly )?\w{2,}ing\b", part.text) and _language(part.text) == "en":
        return Part(kind="role_thinking", text=f"I am {part.text[0].lower()}{part.text[1:]}")
    if first in part.text or speaker in part.text:
        told = part.text.replace(speaker, "I").replace(first, "I")
        return Part(kind="role_thinking", text=told)
    return part


def _forms(parts: list[Part], number: int) -> list[list[Part]]:
    """What the turn might look like: as it is, and with one thing changed."""
    language = _language("".join(part.text for part in parts))
    act = Part(kind="role_action", text=ACTS[language][number % len(ACTS[language])])
    thought = Part(kind="role_thinking", text=THOUGHTS[language][number % len(THOUGHTS[language])])
    thoughts = [part for part in parts if part.kind == "role_thinking"]
    rest = [part for part in parts if part.kind != "role_thinking"]
    speech = [part for part in rest if part.kind == "speech"]
    deeper = parts if thoughts else [thought, *parts]
    forms = [deeper, [*(thoughts or [thought]), act, *rest], [*deeper, act], [act, *deeper], [*rest, *(thoughts or [thought])]]
    if len(speech) == 1 and len(rest) == 1 and len(halves := _halves(speech[0].text)) == 2:
        one, two = (Part(kind="speech", text=half) for half in halves)
        forms += [[*thoughts, one, act, two], [one, *(thoughts or [thought]), two]]
    return [*forms, parts]


def _halves(speech: str) -> list[str]:
    sentences = [found[0].strip() for found in _SENTENCE.finditer(speech)]
    return [sentences[0], " ".join(sentences[1:])] if len(sentences) > 1 else [speech]


def rewrite_plan(asked: Json) -> Json:
    """A plan from the last line heard, what the character wants and the shape of the turn."""
    name = str(asked["name"])
    turn = parse(str(asked["turn"]), name, notation="her")
    if _language(turn.text()) == "zh":
        return {"plan": _plan_zh(name, asked, turn.parts)}
    heard = _heard(asked, name)
    want = _first_sentence(str(asked.get("motivation") or "")) or f"{name} wants to be understood."
    sentences = [
        f"I need to portray {name} at this moment" + (f" of {asked['book']}." if asked.get("book") else "."),
        heard or f"The scene opens here: {_first_sentence(str(asked.get('setting') or '')) or 'nothing has been said yet.'}",
        f"What stands behind the answer: {want}",
        _course(turn.parts, name),
        f"The turn should come round to {_listed(_words(turn.text(*REPLY_KINDS))) or 'a bare sound'}.",
        f"I should keep to what {name} has seen and heard so far, in the voice that the profile gives, with room for a reply.",
    ]
    return {"plan": " ".join(sentences)}


def _heard(asked: Json, name: str) -> str:
    for text in reversed(asked.get("history") or []):
        speaker, colon, said = str(text).partition(":")
        if colon and speaker != name:
            about = _listed(_words(said)[:3])
            return f"{speaker} has just spoken" + (f" of {about}" if about else "") + f", and {name} has to take a stand on it."
    return ""


def _course(parts: Sequence[Part], name: str) -> str:
    """The shape of the turn in words."""
    steps: dict[Kind, str] = {
        "role_thinking": "a thought that nobody hears",
        "role_action": "a visible act",
        "speech": "words said aloud",
    }
    told = [steps[part.kind] for part in parts if part.kind in steps]
    asks = any(part.kind == "speech" and part.text.rstrip(" \"”’'").endswith(("?", "？")) for part in parts)
    return f"It should go by way of {', then '.join(told)}; {name} {'ends on a question' if asks else 'ends on a statement'}."


def _plan_zh(name: str, asked: Json, parts: Sequence[Part]) -> str:
    said = "".join(part.text for part in parts)
    pairs = re.findall(r"[\u4e00-\u9fff]{2}", said)
    heard = next(
        (str(text).partition(":")[0] for text in reversed(asked.get("history") or []) if not str(text).startswith(f"{name}:")), ""
    )
    want = _first_sentence(str(asked.get("motivation") or "")) or f"{name}想让对方听懂自己。"
    steps = {"role_thinking": "一个不出口的念头", "role_action": "一个看得见的动作", "speech": "说出口的话"}
    course = "，再是".join(steps[part.kind] for part in parts if part.kind in steps)
    opening = f"{heard}刚说完，{name}不能不应。" if heard else f"这一场由此开头，{name}先定下自己的位置。"
    return (
        f"我需要把{name}演好这一刻。{opening}背后的心思是：{want}这一轮先是{course}。"
        f"要落到“{'、'.join(pairs[:3])}”这几处，语气照着人物小传里的样子。{name}没有见过、没有听过的，一概不提，末了给对方留下接话的余地。"
    )


def _first_sentence(text: str) -> str:
    found = _SENTENCE.match(text.strip())
    return found[0].strip() if found else ""


def _words(text: str) -> list[str]:
    """The longest telling words, at most five, in their order."""
    plain = re.sub(r"<[^>]*>", " ", text)
    known = dict.fromkeys(word.lower() for word in _WORD.findall(plain) if word.lower() not in _PLAIN)
    longest = sorted(known, key=len, reverse=True)[:5]
    return [word for word in known if word in longest]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def complete_setting(asked: Json) -> Json:
    """One fact at most: a name that the dialogue uses, the setting lacks and an earlier sentence of the source has."""
    source = str(asked.get("source", ""))
    small = set(re.findall(r"\b[a-z]{4,}\b", source))
    there = str(asked.get("setting", "")) + " ".join(str(each) for each in asked.get("characters", []))
    for turn in asked.get("dialogues", []):
        for name in _NAME.findall(str(turn["text"])):
            if name.lower() in small or name.lower() in there.lower():
                continue
            until = source.find(str(turn["text"])[-40:])
            found = next((found[0].strip() for found in _SENTENCE.finditer(source[: max(0, until)]) if name in found[0]), "")
            if len(found) >= 30:
                fact = {"character": "", "field": "setting", "fact": f"It is said of {name}: {' '.join(found.split())}"}
                return {"additions": [{**fact, "quote": found, "shown_by": turn["id"]}]}
    return {"additions": []}


def play_turn(messages: Sequence[Message]) -> tuple[str, str]:
    """A turn for a live prompt: the thinking of a plain reasoner, and a plain line."""
    system = messages[0].content if messages else ""
    named = _NAMED.match(system)
    name = named[1].replace(" from ", "\n").split("\n")[0].strip() if named else "Somebody"
    last = messages[-1].content.rpartition("\n\n")[2] if messages else ""
    speaker = last.partition(":")[0] if ":" in last[:60] else "the other"
    about = _listed(_words(last)[:3]) or "what was said"
    if system.startswith("你是"):
        thinking = f"我需要把{name}演好。{speaker}刚开了口，我要先想清{name}此刻要什么，再定这一轮怎么走，先思后言。"
        return thinking, _line(name, "我听着呢", "你说下去。")
    thinking = (
        f"I need to portray {name}. {speaker} speaks of {about}. I should decide what {name} wants from this moment, what is "
        f"kept silent and what is said, and let {name} answer in the voice of the profile without running ahead of the scene."
    )
    return thinking, _line(name, "I hear it well enough", "Go on, I am listening.")


def _line(name: str, thought: str, said: str) -> str:
    return render([Part(kind="role_thinking", text=thought), Part(kind="speech", text=said)], name)
