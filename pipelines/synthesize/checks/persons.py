"""Check who speaks in a written turn: thoughts in the first person, acts without their doer, speech without narration.

Words alone decide here, so a thought that never names its thinker and begins with "she" or 他 is left to the checker: "She will
not look at me" is honest and "She must not say it" may be about another.
"""

import re
from collections.abc import Iterable

from her.types import Defect, Turn
from her.words import SENTENCE
from pipelines.synthesize.checks.knowledge import Sight
from pipelines.synthesize.checks.problems import problem

_FIRST = {
    "en": re.compile(r"\b(?:i|i['’](?:m|ll|ve|d)|me|my|mine|myself|we|we['’](?:re|ll|ve)|us|our|ours)\b", re.I),
    "zh": re.compile(r"我|俺|咱|吾|朕|本官|奴家|老夫|妾|在下|小人|奴才|老子|老娘|微臣|晚辈|贫道|寡人"),
}
_I = re.compile(r"\bI\b|\b[Ii]['’](?:m|ll|ve|d)\b")
_YOU = re.compile(r"\byou(?:r|rself|['’](?:re|ll|ve|d))?\b", re.I)
_QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"|「[^」]*」|『[^』]*』|‘[^’]*’(?!\w)")
_MENTAL = re.compile(
    r"^(?:\w+ly )?(?:thinking|wondering|hoping|fearing|feeling|knowing|reali[sz]ing|trying|wanting|remembering|pretending|hiding|"
    r"considering|deciding|wishing|believing|planning|struggling|noticing|sensing)\b",
    re.I,
)
_FIRST_IN_ACT = re.compile(r"\b(?:I|me|my|mine|myself)\b")
_DOER = re.compile(r"^(?:he|she|they|his|her|their)\b", re.I)
_THINKS_IN_ACT = re.compile(
    r"\b(?:thinking|wondering|hoping|fearing|knowing|remembering|believing|reali[sz]ing|deciding|wishing|"
    r"recalling|considering|reflecting) "
    r"(?:to (?:him|her)self|that|of|how|if|whether|about|why|what|he|she|they|it|there|this|i)\b|"
    r"\b(?:thinks|wonders|hopes|fears|knows|remembers|believes|reali[sz]es|decides|wishes|muses|reflects) "
    r"(?:to (?:him|her)self|that|how|if|whether|why|what|he|she|they|it|there)\b|\b(?:in (?:his|her) (?:mind|"
    r"heart)|inwardly|to (?:him|her)self,)|"
    r"心想|心道|暗想|暗道|想着|心里|心中|寻思|琢磨|盘算|暗自|觉得|以为",
    re.I,
)
_NARRATES = (
    r"(?:says?|said|repl(?:ies|ied)|answers?|answered|asks|asked|turns|turned|nods|nodded|smiles|smiled|sighs|sighed|whispers|"
    r"whispered|looks|looked|shouts|shouted|cries|cried|mutters|muttered|walks|walked|adds|added)"
)


def person_problems(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Yield thoughts that are not in the first person, acts that name a doer or hold a thought, and speech that narrates."""
    own = "|".join(map(re.escape, sorted(seen.own, key=len, reverse=True)))
    before = original.text()
    for part in written.parts:
        if part.kind == "role_thinking":
            if _in_another_person(part.text, own, seen):
                yield problem("thought_person", part.text)
        elif part.kind == "role_action":
            yield from _act_problems(part.text, before, own, seen)
        elif part.kind == "speech":
            narration = re.search(
                rf"\b(?:he|she|He|She|{own}) (?:\w+ly )?{_NARRATES}\b|(?:{own}|[他她])(?:\w{{0,4}})[说道]着?[：:，]", part.text
            )
            if narration and narration[0] not in before:
                yield problem("narration", narration[0])


def _in_another_person(thought: str, own: str, seen: Sight) -> bool:
    """Return whether a thought is told about its thinker, or spoken to them, instead of thought by them."""
    plain = _QUOTED.sub("“”", thought)
    if seen.language == "zh":
        return _in_another_person_zh(plain, own)
    if re.search(rf"[,;—-]\s*(?:he|she|{own}) (?:thought|thinks|wondered|wonders|mused|muses|told (?:him|her)self)\W*$", plain):
        return True
    named = re.search(rf"(?<!\w)(?:{own})(?!\w)", plain)
    if not named:
        return not _FIRST["en"].search(plain) and bool(_MENTAL.match(plain))
    for sentence in SENTENCE.findall(plain):
        # "Marta Vell fears he will say you lied to me": the name does what is told, whatever "me" comes later.
        told = re.match(
            rf"\W*(?:(?:and|but|so|now|then|still|yet|poor|old|no,|yes,) )?(?:{own})(?:['’]s)? (?=[a-z])", sentence, re.I
        )
        if told and not _I.search(sentence):
            return True
    if _YOU.search(plain) and not _I.search(plain):
        return True
    # "Steady, Marta" is how a person talks to themselves; a name in any other place, without an "I", is told by somebody else.
    called = re.search(rf"(?:^|[,.!?…] ?)(?:{own})(?=[,.!?…]|$)", plain)
    return not _FIRST["en"].search(plain) and not called


def _in_another_person_zh(plain: str, own: str) -> bool:
    first = _FIRST["zh"].search(plain)
    for sentence in SENTENCE.findall(plain):
        for clause in filter(None, re.split(r"[，。；！？…、：,.;!?:\s]+", sentence)):
            told = re.match(rf"(?:{own})(?![啊呀哪呵哟吗么的])(?=[\u4e00-\u9fff])", clause)
            if told and not _FIRST["zh"].search(sentence[: sentence.find(clause)]):
                return True
    return first is None and "你" in plain and re.search(own, plain) is not None


def _act_problems(act: str, before: str, own: str, seen: Sight) -> Iterable[Defect]:
    if act in before:
        return
    edge = r"(?!\w)" if seen.language == "en" else ""
    if (
        _DOER.match(act)
        or _FIRST_IN_ACT.search(act)
        or re.match(f"(?:{own}){edge}", act)
        or (seen.language == "zh" and "我" in act)
    ):
        yield problem("action_person", act)
    if (thinks := _THINKS_IN_ACT.search(act)) and thinks[0] not in before:
        yield problem("thought_in_action", act)
    names = "|".join(map(re.escape, sorted(seen.others, key=len, reverse=True)))
    does = (
        rf"(?:{names}) (?:\w+ly )?[a-z]+s\b"
        if seen.language == "en"
        else rf"(?:{names})(?![的面身对跟那，,、])[\u4e00-\u9fff]{{2,}}"
    )
    if names and re.match(does, act):
        yield problem("action_other", act)
