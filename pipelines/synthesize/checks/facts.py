"""Check a fact that is to be added to a setting: that its quotation says it, that a turn shows it, that nobody reads a secret.

What words alone decide; whether a quotation bears a paraphrase, and whether the scene needs the fact, is asked of the checker.
"""

import re
from collections.abc import Iterable, Sequence

from her.characters.coser import BookScene
from her.types import CastMember, Language, Turn
from her.words import NUMBERS, longest_run, same_stem, telling_words, words
from pipelines.synthesize.checks.knowledge import name_forms

KNOWN_SHARE, SUPPORTED_SHARE, SECRET_SHARE = 0.75, 0.4, 0.6
"""Share of the fact's content words that, found in the setting, makes it known; that the quotation must have; that, found in what
another keeps to themselves, makes it that secret."""
LIKE_CLAUSE, SAME_CLAUSE = 0.3, 0.6
"""Share of the words of a clause that another one has: it may be about the same; it surely is."""
# fmt: off
_NEGATIONS = frozenset((
    "not", "no", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "without", "cannot",
    "dont", "doesnt", "didnt",
    "isnt", "wasnt", "arent", "werent", "hasnt", "havent", "hadnt", "wont", "wouldnt", "cant", "couldnt", "shouldnt", "lack",
    "lacks", "lacked", "lacking", "fails", "failed", "refuses", "refused", "unable", "illiterate", "hardly",
    "scarcely", "stopped",
))
_NEGATIONS_ZH = re.compile(
    r"没|不(?!久|过|仅|但|断|禁|得不|由|错|论|管|止|妨|慎|幸|知不觉)|无(?!论|数)|未(?!来|婚妻|婚夫)|从未|"
    r"并非|勿|别(?=[再去说])"
)
_DATES = frozenset((
    "january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december", "monday",
    "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "spring", "summer", "autumn", "winter",
))
# fmt: on
_NUMBER_ZH = re.compile(
    r"([零一二两三四五六七八九十百千万\d]+)([年月日天岁里两文贯次代]|[个间口只条匹封位名户人])|(\d+|正月|腊月|冬月)"
)
"""A number with its unit: three years are not the third month. People and things are counted by many words of one meaning."""
_LIGHT_ZH = re.compile(r"已经|一直|从来|曾经?|正在|[已过了的着也都还就又在]")
"""Words of a clause that say nothing of what is done."""
_CLAUSE = re.compile(
    r"[,;:，；：。.!?！？、—]|\b(?:and|but|for|because|although|though|while|which|who|that|since|when|so|yet)\b|但|却|因为|虽然|而(?!且)"
)
_LATER = re.compile(
    r"\b(?:will|shall|is going to|are going to|is about to|are about to)\b(?<!his will)(?<!her will)(?<!the "
    r"will)(?<!a will)(?<!own will)"
    r"|['’]ll\b|\b(?:tonight|later (?:that|this|the same)|by the end of the (?:scene|evening|night)|after "
    r"(?:the|this) (?:scene|conversation)|"
    r"soon (?:learns?|finds?|discovers?|tells?)|afterwards|eventually|in the end|would (?:later|soon|never "
    r"again|one day|eventually)|"
    r"during (?:the|this) (?:scene|conversation)|in (?:the|this) (?:scene|conversation)|from that (?:night|day) "
    r"on|after that (?:night|day))\b"
    r"|今晚|今夜(?!之前)|后来|之后(?:就|便|再)|最终|终于|将(?:要|会|在)|即将|不久(?:就|便|后)|这场(?:戏|对话)|这一轮|第[一二三四五六七八九十\d]+轮|对话[中里]|此后",
    re.I,
)
_FIRST_OR_SECOND = re.compile(r"\b(?:I|me|my|mine|you|your|we|our)\b|^[“\"「『]|我|您|你")


def names_in(text: str, members: Iterable[CastMember]) -> list[str]:
    """Return the members of the cast whom a text names, in the order of the text."""
    places = []
    for member in members:
        # Chinese names have no word boundary.
        spots = [spot for form in name_forms([member.name]) for spot in [_place(text, form)] if spot >= 0]
        if spots:
            places.append((min(spots), member.name))
    return [name for _, name in sorted(places)]


def _place(text: str, form: str) -> int:
    edged = re.search(rf"(?<![A-Za-z]){re.escape(form)}(?![A-Za-z])", text)
    return edged.start() if edged else -1


def content_of(text: str, language: Language, names: Iterable[str] = ()) -> set[str]:
    """Return the content words of a text without these names."""
    left_out = {word for name in name_forms(names) for word in words(name)}
    plain = [word for word in words(text.replace("’s", "").replace("'s", "")) if language == "zh" or word not in left_out]
    content = telling_words(plain, language)
    if language == "zh":
        joined = {name[at : at + 2] for name in name_forms(names) for at in range(len(name) - 1)}
        content -= joined
    return content


def share(wanted: set[str], there: set[str], language: Language) -> float:
    """Return the share of the wanted words that are there, English words by their stem."""
    if not wanted:
        return 0.0
    if language == "zh":
        return len(wanted & there) / len(wanted)
    return sum(any(same_stem(word, other) for other in there) for word in wanted) / len(wanted)


def is_shown(turn_text: str, evidence: set[str], language: Language, names: Iterable[str]) -> bool:
    """Return whether a turn has a content word of the evidence; four letters decide, since verbs change (`write`, `written`)."""
    there = content_of(turn_text, language, names)
    if language == "zh":
        return bool(there & evidence)
    return bool({word[:4] for word in there} & {word[:4] for word in evidence})


def critical_change(fact: str, quote: str, language: Language, known: str = "") -> bool:
    """Return whether a fact has a number, date or negation that its quotation has not, or denies what that says."""
    wanted, there = _figures(fact, language), _figures(f"{quote} {known}", language)
    if not wanted <= there:
        return True
    if _negated(fact, language) != _negated(quote, language):
        return _denies(fact, quote, language) or _denies(quote, fact, language)
    # Both deny something: a clause that says no may stand beside one that says yes.
    return _negated(fact, language) and _denies(fact, quote, language, SAME_CLAUSE)


def _figures(text: str, language: Language) -> set[str]:
    if language == "zh":
        return {_figure_zh(*found.groups(default="")) for found in _NUMBER_ZH.finditer(text)} - {""}
    said = words(text)
    # "One" is a pronoun as often as a number.
    numbers = {NUMBERS.get(word, word) for word in said if word in NUMBERS or word.isdigit()} - {"1"}
    return numbers | (_DATES & set(said))


def _figure_zh(number: str, unit: str, alone: str) -> str:
    """Return a number of a Chinese text with its unit, in one spelling; empty for "one", which counts nothing as a rule."""
    if number in ("", "一"):
        return alone
    counted = unit if unit in "年月岁里两文贯次代" else "日" if unit in "日天" else "个"
    return number.replace("两", "二") + counted


def _negated(text: str, language: Language) -> bool:
    if language == "zh":
        return bool(_NEGATIONS_ZH.search(text))
    return bool(_NEGATIONS & set(words(text)))


def _denies(one: str, other: str, language: Language, least: float = LIKE_CLAUSE) -> bool:
    """Return whether a clause of `one` says yes where the clause of `other` that it resembles most says no, or the reverse.

    Args:
        least: share of its words that the other clause must have, so that they say the same.
    """
    clauses = [clause for clause in _CLAUSE.split(other) if words(clause)]
    for clause in _CLAUSE.split(one):
        content = _clause_words(clause, language)
        if not content or not clauses:
            continue
        nearest = max(clauses, key=lambda each: share(content, _clause_words(each, language), language))
        near = share(content, _clause_words(nearest, language), language)
        if near >= least and _negated(clause, language) != _negated(nearest, language):
            return True
    return False


def _clause_words(text: str, language: Language) -> set[str]:
    if language == "zh":
        return telling_words(words(_LIGHT_ZH.sub("", _NEGATIONS_ZH.sub("", text.replace("没有", "")))), language)
    return {word for word in words(text) if len(word) > 2 and word not in _NEGATIONS}


def is_later(fact: str) -> bool:
    """Return whether a fact tells what is still to come when the scene begins."""
    return bool(_LATER.search(fact))


def is_said(fact: str, turns: Sequence[Turn]) -> bool:
    """Return whether a fact is a line of the dialogue: spoken to somebody, or a run of seven words of it."""
    if _FIRST_OR_SECOND.search(fact):
        return True
    return any(longest_run(words(turn.text("speech")), words(fact)) >= 7 for turn in turns)


def is_secret(fact: str, scene: BookScene, readers: str) -> bool:
    """Return whether a fact tells others what a member of the cast keeps to themselves.

    Args:
        readers: name of the only reader; empty when everybody reads it.
    """
    language, names = scene.scenario.language, [member.name for member in scene.cast]
    told = content_of(fact, language, names)
    for member in scene.cast:
        kept = f"{member.background} {member.motivation}"
        if member.name != readers and len(told) >= 2 and share(told, content_of(kept, language, names), language) >= SECRET_SHARE:
            return True
    return any(
        share(told, content_of(part.text, language, names), language) >= SECRET_SHARE and len(told) >= 2
        for turn in scene.turns
        for part in turn.parts
        if part.kind == "role_thinking" and turn.speaker != readers
    )


def of_another(fact: str, quote: str, owner: str, scene: BookScene) -> bool:
    """Return whether a fact is told of somebody else than the quotation says, or given to somebody whom it does not concern."""
    told, quoted = names_in(fact, scene.cast), names_in(quote, scene.cast)
    if told and quoted and told[0] not in quoted:
        # "Dov never learned to write", of a sentence about Marta.
        return not any(name in quoted for name in told[1:]) or told[0] == owner
    if owner and told and owner not in told and owner not in quoted:
        return True
    return bool(owner and not told and quoted and owner not in quoted)
