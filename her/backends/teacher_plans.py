"""Rule of the teacher for plans: from the setting, the order of the turns and the character's wants, in the third person.

A plan names who spoke before and of what, how far the conversation has come, one want of the character, the course of the turn
and what it comes to. It understands nothing of that: it puts pieces of the question together. Every sentence holds words of this
turn or its place in the conversation, so that the plans of a book share none.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from her.format import parse
from her.kinds import REPLY_KINDS, Kind
from her.types import Language, Part, Turn

Json = dict[str, Any]

_SENTENCE = re.compile(r"[^.!?。！？…]+[.!?。！？…]*[\"”’」』]?\s*")
_ABBREVIATED = re.compile(r"(?:^|[\s“\"(])(?:Mr|Mrs|Ms|Dr|St|Sr|Jr|Capt|Col|Gen|Prof|Rev|Hon|Esq|[A-Z])\.\s*$")
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Sr|Jr|Capt|Col|Gen|Prof|Rev|Hon|Esq|[A-Z])\.(?=\s)")
_WANTING = re.compile(
    r"\b(?:want|wish|aim|seek|hope|need|must|tr(?:y|ies)|intend|desire|long|determin|goal|resol|eager|plan|driv)|想|要|愿|盼|求|打算|希望",
    re.I,
)
_WORD = re.compile(r"[A-Za-z][a-z’']{3,}")
_WIDE = re.compile(r"[\u4e00-\u9fff]")
_BEGINNING = re.compile(r"((?:^|[.!?…\n])[\s\"“‘']*)([A-Z][a-z]+)")
_FIRST_ZH = re.compile("我")
_LONGEST_CLAUSE = 140
_SHORTEST_CLAUSE: dict[Language, int] = {"en": 24, "zh": 6}
# fmt: off
PLAIN = frozenset((
    "about", "after", "again", "against", "also", "always", "another", "because", "been", "before", "being", "both", "came",
    "cannot", "come", "could", "does", "doing", "done", "doth", "down", "even", "ever", "every", "from", "give", "going",
    "good", "hath", "have", "having", "here", "herself", "himself", "indeed", "into", "itself", "just", "keep", "know",
    "leave", "like", "look", "made", "make", "many", "mean", "might", "more", "most", "much", "must", "need",
    "never", "nothing", "only", "other", "over", "perhaps", "quite", "rather", "said", "same", "seem", "seems", "shall",
    "should", "since", "some", "something", "still", "such", "take", "tell", "than", "that", "their", "them", "then", "there",
    "these", "they", "thine", "thing", "think", "this", "those", "thou", "though", "through", "thee", "till", "under",
    "until", "upon", "very", "want", "well", "went", "were", "what", "when", "where", "which", "while", "whom", "whose",
    "will", "with", "within", "without", "would", "your", "yours", "yourself",
))
"""Words that say nothing about a turn."""
_BANNED = frozenset(("user", "users", "turn", "draft", "text", "book", "mine", "myself"))
"""Words that no plan may hold."""
_PLAIN_ZH = frozenset(
    "的了是我你他她它们在有这那就也都不没很什么呢吗吧啊呀着过和与把被来去说道个一上下里又还只可要会能得地之其而于为"
)
# First person -> third person. "They" needs no other form of a verb than "I", but for these.
_THIRD = (
    (r"\bI(?:'|’)m\b|\bI am\b", "they are"), (r"\bI was\b", "they were"), (r"\bI(?:'|’)ve\b", "they have"),
    (r"\bI(?:'|’)ll\b", "they will"), (r"\bI(?:'|’)d\b", "they would"), (r"\bam I\b", "are they"), (r"\bI\b", "they"),
    (r"\b[Mm]yself\b", "themselves"), (r"\b[Mm]y\b", "their"), (r"\b[Mm]ine\b", "theirs"), (r"\b[Mm]e\b", "them"),
    (r"\b[Oo]urselves\b", "themselves"), (r"\b[Oo]ur\b", "their"), (r"\b[Ww]e\b", "they"),
)
# fmt: on


class PlanFacts(NamedTuple):
    """Facts of a turn that a plan is made of.

    Args:
        number: number of what was said and done before it.
        other: who spoke last before it; empty when nobody did.
        heard: telling words of that; `own` those of the turn.
        want: one want of the character, without the end of its sentence; empty when none is known.
        place: one clause of the setting.
        draw: number that depends on the turn alone, for the choice between wordings.
    """

    name: str
    number: int
    other: str
    heard: tuple[str, ...]
    own: tuple[str, ...]
    want: str
    place: str
    parts: tuple[Part, ...]
    draw: int


def rewrite_plan(question: Json) -> Json:
    """Return the plan of one turn."""
    name = str(question["name"])
    turn = parse(str(question["turn"]), name, notation="her")
    language = language_of(turn.text() + str(question.get("setting") or ""))
    history = [str(text) for text in question.get("history") or []]
    # A question that gives reasons is asked again after checks failed; the same plan would fail again.
    draw = number_of(name, str(question["turn"]), *history[-2:], str(len(history)), str(question.get("reasons") or ""))
    other, heard = _last_heard(history, name)
    people = (name, *(question.get("company") or ()), *(text.partition(":")[0] for text in history))
    names = frozenset(word for person in people for word in str(person).split())
    facts = PlanFacts(
        name=name,
        number=len(history),
        other=other,
        heard=telling(heard, language, names=names)[:2],
        own=_own_words(turn, heard, language, names),
        want=_want(str(question.get("motivation") or ""), name, language, draw),
        place=_clause(str(question.get("setting") or ""), language, draw),
        parts=turn.parts,
        draw=draw,
    )
    plan = _plan_zh(facts) if language == "zh" else _plan_en(facts)
    # Without these stops every stop ends a sentence; a name of nothing but a title and an initial keeps its own.
    return {"plan": _TITLE.sub(r"\1", plan) if re.search("[A-Z][a-z]{2}", _TITLE.sub("", name)) else plan}


def _own_words(turn: Turn, heard: str, language: Language, names: frozenset[str]) -> tuple[str, ...]:
    """Return three words: of what is said, then of what is thought or done, then of what was heard, for a turn like "What?"."""
    whole = turn.text(*REPLY_KINDS)
    words = [word for text in (turn.text("speech"), whole) for word in telling(text, language, False, names)]
    words += [*telling(whole, language, names=names), *telling(heard, language, names=names)]
    return tuple(dict.fromkeys(words))[:3]


def language_of(text: str) -> Language:
    """Return the language of a text by its letters."""
    return "zh" if len(_WIDE.findall(text)) * 4 > len(text) else "en"


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text with their marks; `Mr.` and initials end none."""
    found: list[str] = []
    for match in _SENTENCE.finditer(text):
        if found and _ABBREVIATED.search(found[-1]):
            found[-1] += match[0]
        else:
            found.append(match[0])
    return [sentence.strip() for sentence in found if sentence.strip()]


def _bare_sentences(text: str) -> list[str]:
    return list(filter(None, (sentence.rstrip(" .!?。！？…") for sentence in sentences_of(text))))


def number_of(*texts: str) -> int:
    """Return a number that depends on the texts alone."""
    return int.from_bytes(hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).digest()[:6], "big")


def telling(text: str, language: Language, or_plain: bool = True, names: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return up to five words that say most about a text, in its order: long ones in English, pairs of characters in Chinese.

    Args:
        or_plain: whether "What do you mean?" gives its plain words, as it has no better ones.
        names: words that keep their capital at the beginning of a sentence.
    """
    plain = re.sub(r"<[^>]*>", " ", text)
    if language == "zh":
        pairs = re.findall(r"(?=([\u4e00-\u9fff]{2}))", plain)
        known = dict.fromkeys(pair for pair in pairs if not _PLAIN_ZH & set(pair))
        return tuple(known)[:5]
    plain = _BEGINNING.sub(lambda match: match[0] if match[2] in names else match[1] + match[2].lower(), plain)
    everything = [word.strip("’'") for word in _WORD.findall(plain) if word.lower().strip("’'") not in _BANNED]
    known = dict.fromkeys(word for word in everything if word.lower() not in PLAIN)
    if or_plain and len(known) < 2:
        known = dict.fromkeys(everything)
    longest = sorted(known, key=len, reverse=True)[:5]
    return tuple(word for word in known if word in longest)


def _last_heard(history: Sequence[str], name: str) -> tuple[str, str]:
    """Return speaker and words of the last turn of another character; both empty when there is none."""
    for text in reversed(history):
        speaker, colon, words = text.partition(":")
        if colon and speaker.strip() and speaker != name:
            said = parse(text, speaker.strip(), notation="her")
            return speaker.strip(), said.text("speech") or said.text()
    return "", ""


def _want(motivation: str, name: str, language: Language, draw: int) -> str:
    sentences = _bare_sentences(motivation)
    if not sentences:
        return ""
    sentences = [sentence for sentence in sentences if _WANTING.search(sentence)] or sentences
    chosen = sentences[draw % len(sentences)]
    if language == "zh":
        # 自己 refers to whoever the sentence is about, so only the first 我 needs the name.
        return _FIRST_ZH.sub("自己", _FIRST_ZH.sub(name, chosen.replace("我们", "自己一方"), count=1))
    for first, third in _THIRD:
        chosen = re.sub(first, third, chosen)
    return chosen


def _clause(setting: str, language: Language, draw: int) -> str:
    """Return one short sentence of the setting, or the clause that begins a long one; empty when there is none."""
    clauses = []
    for sentence in _bare_sentences(setting):
        clause = re.split("[，；]" if language == "zh" else r"[,;:]", sentence)[0]
        # A clause of a few words is often the first name of a list.
        clauses.append(
            sentence if len(sentence) <= _LONGEST_CLAUSE else clause if len(clause) >= _SHORTEST_CLAUSE[language] else ""
        )
    fitting = [clause for clause in clauses if clause and len(clause) <= _LONGEST_CLAUSE and language_of(clause) == language]
    if language == "en" and fitting:
        # Sentences in the first person would be read as the character's voice.
        fitting = [clause for clause in fitting if not re.search(r"\b(?:i|my|me|mine)\b", clause, re.I)]
    return fitting[draw // 7 % len(fitting)] if fitting else ""


def _plan_en(facts: PlanFacts) -> str:
    sentences = [_opening_en(facts), _place_en(facts), _want_en(facts), _course_en(facts), _end_en(facts)]
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _utterances(count: int) -> str:
    return "one utterance" if count == 1 else f"{count or 'no'} utterances"


def _quoted(words: Sequence[str], joint: str = " and ") -> str:
    return joint.join(f"“{word}”" for word in words)


def _pick(choices: Sequence[str], draw: int) -> str:
    return choices[draw % len(choices)]


def _opening_en(facts: PlanFacts) -> str:
    name, other, heard, count = facts.name, facts.other, _quoted(facts.heard), facts.number
    if not other:
        own = _quoted(facts.own[:2]) or "a bare sound"
        openings: tuple[str, ...] = (
            f"I need to portray {name}, who speaks first here and begins with {own}.",
            f"I need to portray {name} before anybody else has spoken; {own} opens the conversation.",
        )
        return _pick(openings, facts.draw)
    about = f" of {heard}" if heard else f" briefly, as number {count}"
    openings = (
        f"I need to portray {name}, to whom {other} has just spoken{about}.",
        f"I need to portray {name} at the point where {other} has spoken{about}.",
        f"Now that {other} has spoken{about}, I need to portray {name} taking a stand.",
        f"What {other} said{about or ' just now'} still stands in the room, and I need to portray {name} meeting it.",
        f"I should play {name} as somebody who has heard {other} speak{about} and cannot leave it there.",
        f"{other} has spoken{about}; I need to portray how {name} receives that.",
    )
    return _pick(openings, facts.draw)


_NOWHERE_EN = (
    "No more than {spoken} can be known to {name} before {own}.",
    "All that {name} has to go by is {spoken}, on the way to {own}.",
)
_PLACES_EN = (
    "After {spoken} the setting still weighs on {name}: {place}, and {own} has to sound true in it.",
    "The setting must be felt in {own}, {spoken} in: {place}.",
    "{place} – that is where {name} stands after {spoken}, about to come to {own}.",
    "Where {name} is matters for {own} as well, {spoken} into this: {place}.",
)


def _place_en(facts: PlanFacts) -> str:
    choices = _PLACES_EN if facts.place else _NOWHERE_EN
    own, spoken = _quoted(facts.own[:1]) or "so little", _utterances(facts.number)
    return _pick(choices, facts.draw // 3).format(name=facts.name, place=facts.place, own=own, spoken=spoken)


_WANTS_EN = (
    "Behind {own} there is what drives {name}: {want}.",
    "{want}, and {own} should let that be felt without saying it.",
    "What {name} is after decides the tone of {own}: {want}.",
    "I should keep the aim in view while {name} comes to {own}: {want}.",
    "If {own} sounds like chance, the aim is lost: {want}.",
)


def _want_en(facts: PlanFacts) -> str:
    own = _quoted(facts.own[-2:]) or f"even a bare sound after {_utterances(facts.number)}"
    if not facts.want:
        return f"{facts.name} wants to be understood, and {own} has to carry that."
    return _pick(_WANTS_EN, facts.draw // 5).format(name=facts.name, want=facts.want, own=own)


_STEPS_EN: dict[Kind, tuple[str, ...]] = {
    "role_thinking": ("a thought kept back", "something only thought", "a reason that stays inside"),
    "role_action": ("something that can be seen", "a visible act", "the body before the word"),
    "speech": ("words said aloud", "what is spoken", "the voice"),
}
_COURSES_EN = (
    "The way to {own} is {course}, and it ends on {end}.",
    "First comes {course}; {own} should make it {end}.",
    "With {own} in mind I should let it go by {course}, toward {end}.",
    "{name} gets to {own} by {course}; it should be {end}.",
)


def _course_en(facts: PlanFacts) -> str:
    own = _quoted(facts.own[:2]) or f"what comes after {_utterances(facts.number)}"
    kinds = [(at, part.kind) for at, part in enumerate(facts.parts) if part.kind in _STEPS_EN]
    course = ", then ".join(_pick(_STEPS_EN[kind], facts.draw + at) for at, kind in kinds)
    asks = any(part.kind == "speech" and part.text.rstrip(" \"”’'").endswith("?") for part in facts.parts)
    end = "a question that wants an answer" if asks else "a statement that stands"
    return _pick(_COURSES_EN, facts.draw // 11).format(name=facts.name, own=own, course=course, end=end)


_ENDS_EN = (
    "I should add nothing that {name} has not seen or heard by {heard}, and leave {other} room after {own}.",
    "Between {heard} and {own} there must be no knowledge that {name} cannot have, and {other} must be able to reply.",
    "The voice stays that of the profile from {heard} to {own}, with room left for {other}.",
    "{other} must be able to answer {own}; {name} keeps to what is known since {heard}.",
    "I should stop at {own}, before it grows longer than {heard} deserves, and let {other} take it up.",
)


def _end_en(facts: PlanFacts) -> str:
    own = _quoted(facts.own[-1:]) or f"utterance {facts.number + 1}"
    heard = _quoted(facts.heard[-1:]) or f"utterance {facts.number}"
    other = facts.other or "the others"
    return _pick(_ENDS_EN, facts.draw // 13).format(name=facts.name, other=other, own=own, heard=heard)


def _plan_zh(facts: PlanFacts) -> str:
    """Return the plan in Chinese, from the same facts."""
    name, other, count = facts.name, facts.other, facts.number
    heard, own = _quoted_zh(facts.heard), _quoted_zh(facts.own) or f"第{count + 1}次开口"
    if other:
        about = f"提到{heard}" if heard else f"说完第{count}句"
        opening = _pick((
            f"我需要把{name}演成刚听{other}{about}的人，",
            f"{other}刚{about}，我需要演出{name}怎样接住它，",
            f"听{other}{about}之后，我要让{name}拿定主意，",
        ), facts.draw)  # fmt: skip
    else:
        opening = f"我需要演好{name}，这一场由{name}先开口，"
    opening += _pick((f"落到{own}上。", f"引向{own}。", f"最后说到{own}。"), facts.draw // 3)
    place = facts.place or "眼前的情形"
    middle = _pick((
        f"前面已有{count}次往来，{place}，{own}要合这个场面。",
        f"{place}，{name}在第{count + 1}次开口时仍要带着这层气氛。",
        f"眼下是{place}，经过{count}次往来，{name}的分寸要落在{own}上。",
    ), facts.draw // 5)  # fmt: skip
    want = facts.want or f"{name}想让对方听懂自己"
    aim = _pick((
        f"{own}背后的用心是：{want}。",
        f"{want}，所以{own}不能说得太随便。",
        f"{name}心里装着一件事：{want}，{own}要让人隐约觉出来。",
    ), facts.draw // 7)  # fmt: skip
    steps: dict[Kind, str] = {"role_thinking": "不出口的念头", "role_action": "看得见的动作", "speech": "说出口的话"}
    course = "，再是".join(steps[part.kind] for part in facts.parts if part.kind in steps)
    end = _pick((
        f"先是{course}，到{own}为止，{name}没有见过、没有听过的一概不提，给{other or '对方'}留下接话的余地。",
        f"到{own}要经过{course}，语气照着人物小传，不替{other or '对方'}作答。",
        f"为了{own}，先安排{course}，{name}只依据亲眼所见、亲耳所闻，说完便停。",
    ), facts.draw // 11)  # fmt: skip
    return opening + middle + aim + end


def _quoted_zh(words: Sequence[str]) -> str:
    return "".join(f"“{word}”" for word in words)
