"""Rename the people and places of a scene consistently: a control for what a model knows of a famous book (arXiv:2603.03915).

Every word of a name has one invented word for the whole scene, in every text, speaker label and thought, so that `Jane Bennet`
and `Elizabeth Bennet` stay sisters. Titles and roles such as King or First Servant stay. In English, other words that are written
as proper nouns are renamed as well, places among them. Chinese marks no proper noun: there a place is what follows a word such as
在 or 到 and ends like 府, 馆 or 城, whose ending stays; a given name, a surname with a title, and the parts of a name with a dot
follow the whole name. The title of the book is taken out of the prompts. What it cannot do: a reader may still know the plot.
"""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from her.characters.coser import BookScene
from her.types import ENVIRONMENT, Value

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_CHINESE = re.compile("[\u3400-\u9fff]")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;…\n\"“”‘(\[>—*#•\d-]|['’](?=\s|$))\s*$")
_HEADING = re.compile(r"(?m)^[\s*#•\d.)-]*[A-Z][\w'’/& -]{0,60}(?::|\*\*)|\*\*[^*\n]{1,80}\*\*")
"""Headings of a profile, whose words are all capitalised."""
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Mme|Mlle|M|Prof|Col|Capt|Rev)\.\s+$")
_CONTRACTION = re.compile(r"['’](?:ve|ll|re|m|d|t)$")
KEPT = "".join(
    (
        "king queen prince princess duke duchess earl count countess lord lady sir dame madam madame monsieur ",
        "mademoiselle mr mrs ms miss master mistress doctor dr captain colonel major general lieutenant sergeant father ",
        "mother brother sister uncle aunt saint st reverend bishop pope emperor empress professor judge old young ",
        "little great elder younger junior senior jr sr first second third man woman boy girl servant soldier guard ",
        "knight gentleman fool nurse maid officer messenger herald and of the a an de la le von van der du da di i ii ",
        "iii iv god heaven hell lord's christ jesus christmas easter sunday monday tuesday wednesday thursday friday ",
        "saturday january february march april may june july august september october november december english french ",
        "german italian spanish latin greek roman moor european american oh ah yes no mr's perhaps you if how let do ",
        "does did what there even she he it they we who why when where thou please thank thanks indeed something ",
        "nothing have has had wait listen look come go never always but for not so then now here this that these those ",
        "my your his her our their am is are was were will shall can could would should might must very well good dear ",
        "such some any all both each every one two to in on at by with from as or than too just only still ",
    )
)
"""Words that are no name of one person or place, in lower case."""
_ONSETS = ("b", "br", "c", "d", "dr", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "th", "v", "w", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ae", "ia")
_CODAS = ("l", "n", "r", "s", "m", "th", "x", "ld", "nd", "rk")
_FAMILY, _GIVEN = "沈陆秦韩冯许邓曹彭曾萧田董袁潘于蒋蔡余杜", "云青文远清和子安明书景行怀言知微承若兰溪舟白"
_TITLES = ("先生", "太太", "小姐", "夫人", "老爷", "公子", "姑娘", "大人", "掌柜", "老师", "医生", "师傅", "大爷", "大娘", "氏")
_BEFORE_PLACE = "在到去往回从进出至离住过赴于向入抵经来自"
_PLACE_ENDINGS = "府馆院楼阁亭园城镇村县州省山江河湖寺庙庵桥街巷宫殿堂斋轩苑国岛港庄关峰谷湾"
_PLACE = re.compile(rf"(?<=[{_BEFORE_PLACE}])([\u3400-\u9fff]{{1,3}}?[{_PLACE_ENDINGS}])(?![{_PLACE_ENDINGS}])")
_ORDINARY = frozenset(
    "大小前后东西南北上下中里外内这那哪一二三几两多每各此某本全老新古旧高深荒花公学医书茶饭酒旅宾戏法法剧影茅竹草门家祖外爱中祠客厅江山"
)
"""Characters of common nouns such as 花园, 后院 or 大街: a place of these alone is no name."""
_KEYS_KEPT = frozenset({"id", "book", "kind", "language", "split", "persona", "source"})


class Renaming(Value):
    """Old word or name -> invented one."""

    words: dict[str, str]

    def apply(self, text: str) -> str:
        """Return a text with every name renamed; capitals, possessives and everything else stay."""
        # All at once, the longest first: an invented name that holds another's true one stays as it is.
        chinese = sorted((old for old in self.words if _CHINESE.search(old)), key=lambda old: (-len(old), old))
        if chinese and _CHINESE.search(text):
            text = re.sub("|".join(map(re.escape, chinese)), lambda match: self.words[match[0]], text)
        return _WORD.sub(self._word, text)

    def _word(self, match: re.Match[str]) -> str:
        word = match[0]
        for ending in ("", "'s", "’s", "'", "s'"):
            stem = word.removesuffix(ending)
            if word.endswith(ending) and stem in self.words:
                return self.words[stem] + ending
            if word.endswith(ending) and stem.isupper() and len(stem) > 1 and stem.capitalize() in self.words:
                return self.words[stem.capitalize()].upper() + ending
        if "-" in word:
            return "-".join(self.words.get(part, part) for part in word.split("-"))
        return word


def renaming(names: Iterable[str], texts: Iterable[str], places: Iterable[str] = (), seed: str = "") -> Renaming:
    """Return invented words for all names; the same for the same names, texts and seed.

    Args:
        names: of the characters, as they stand before their lines.
        texts: in which proper nouns are found.
        places: further names, for texts that do not mark them.
    """
    listed = [name for name in dict.fromkeys((*names, *places)) if name != ENVIRONMENT]
    whole = "\n".join(texts)
    lower = {word for word in _WORD.findall(whole) if word.islower()}
    wanted: dict[str, None] = {}
    for name in listed:
        if _CHINESE.search(name):
            wanted |= dict.fromkeys(_short_forms(name, whole))
        else:
            wanted |= dict.fromkeys(word for word in _WORD.findall(name) if _is_name(word))
    wanted |= dict.fromkeys(word for word in proper_nouns(whole) if word.lower() not in lower)
    spots = dict.fromkeys([place for place in chinese_places(whole) if not any(place in name for name in listed)])
    spots |= dict.fromkeys(place for place in places if _CHINESE.search(place))
    wanted |= spots
    taken = {word.lower() for word in (*wanted, *_WORD.findall(whole))}
    found: dict[str, str] = {}
    for word in sorted(wanted, key=lambda each: (each not in listed, -len(each), each)):
        chance = random.Random(hashlib.sha256(f"{seed}\0{word}".encode()).digest())
        if word in spots:
            found[word] = _fresh(word, found, chance, word[-1] if word[-1] in _PLACE_ENDINGS else "")
        else:
            found[word] = _chinese(word, found, chance) if _CHINESE.search(word) else _invented(taken, found, chance)
    return Renaming(words=found)


def proper_nouns(text: str) -> Iterator[str]:
    """Yield words that are capitalised inside sentences of an English text and are no title, role, day or people."""
    text = _HEADING.sub("\n", text)
    counts: Counter[str] = Counter()
    for match in _WORD.finditer(text):
        word = re.sub(r"['’]s?$", "", match[0])
        if _is_name(word) and not word.isupper() and not _CONTRACTION.search(word) and not _starts_sentence(text, match.start()):
            counts[word] += 1
    yield from sorted(counts)


def chinese_places(text: str) -> Iterator[str]:
    """Yield what stands where a place stands and ends like one, common nouns left out."""
    for place in sorted({match[1] for match in _PLACE.finditer(text)}):
        if not set(place[:-1]) <= _ORDINARY:
            yield place


def _short_forms(name: str, text: str) -> Iterator[str]:
    """Yield a Chinese name and the shorter forms of it that a text may have."""
    yield name
    if "·" in name:
        yield from (part for part in name.split("·") if len(part) > 1)  # a single character is part of other words
    elif len(name) in (2, 3):
        if len(name) == 3:
            yield name[1:]  # the given name alone
        yield from (form for title in _TITLES if (form := name[0] + title) in text and form != name)


def _starts_sentence(text: str, at: int) -> bool:
    before = text[max(0, at - 6) : at]
    return bool(_SENTENCE_START.search(before)) and not _ABBREVIATION.search(before)


def anonymised(scene: BookScene, places: Iterable[str] = (), seed: str = "") -> tuple[BookScene, Renaming]:
    """Return a scene in which people and places have invented names, and the names.

    Its id and the title of its book stay, by which its scores are found and clustered; no prompt may show the title.
    """
    record = json.loads(scene.model_dump_json())
    names = [member.name for member in scene.cast] + [turn.speaker for turn in scene.turns] + list(scene.listed)
    found = renaming(names, list(_texts(record)), places, seed or scene.book)
    renamed = _renamed(record, found)
    renamed["scenario"]["source"] = ""
    for member in renamed["cast"]:
        member["source"] = ""
    return BookScene.model_validate_json(json.dumps(renamed)), found


def _is_name(word: str) -> bool:
    return len(word) > 1 and word[0].isupper() and word.lower() not in KEPT.split()


def _texts(node: Any, key: str = "") -> Iterator[str]:
    if isinstance(node, str):
        if key not in _KEYS_KEPT:
            yield node
    elif isinstance(node, list):
        for each in node:
            yield from _texts(each, key)
    elif isinstance(node, dict):
        for name, each in node.items():
            yield from _texts(each, name)


def _renamed(node: Any, found: Renaming, key: str = "") -> Any:
    if isinstance(node, str):
        return node if key in _KEYS_KEPT else found.apply(node)
    if isinstance(node, list):
        return [_renamed(each, found, key) for each in node]
    if isinstance(node, Mapping):
        named = key == "experiences"  # its keys are names, all others are fields
        return {(found.apply(name) if named else name): _renamed(each, found, name) for name, each in node.items()}
    return node


def _invented(words: set[str], found: Mapping[str, str], chance: random.Random) -> str:
    """Return an English-sounding word that is no word of the texts, and neither part of an invented one nor the other way."""
    while True:
        middle = "".join(chance.choice(_ONSETS) + chance.choice(_VOWELS) for _ in range(chance.choice((2, 2, 3))))
        word = (middle + chance.choice(_CODAS)).capitalize()
        near = any(word.lower() in other.lower() or other.lower() in word.lower() for other in found.values())
        if word.lower() not in words and not near:
            return word


def _chinese(name: str, found: Mapping[str, str], chance: random.Random) -> str:
    """Return an invented Chinese name; a short form has its part of the whole one."""
    if "·" in name:
        return "·".join(_part(part, found) or _fresh(part, found, chance) for part in name.split("·"))
    if known := _part(name, found):
        return known
    return _fresh(name, found, chance)


def _part(name: str, found: Mapping[str, str]) -> str:
    """Return the part that a short form has of an invented whole name; empty for one that belongs to none."""
    for whole, invented in found.items():
        if "·" in whole and name in (parts := whole.split("·")):
            return invented.split("·")[parts.index(name)]
        if len(whole) == 3 and whole[1:] == name:
            return invented[1:]
        if 2 <= len(whole) <= 3 and name.endswith(_TITLES) and name[0] == whole[0]:
            return invented[0] + name[1:]
    return ""


def _fresh(name: str, found: Mapping[str, str], chance: random.Random, ending: str = "") -> str:
    """Return an invented name of about the same length; that of a place has no surname and keeps its ending."""
    while True:
        given = "".join(chance.choice(_GIVEN) for _ in range(max(1, min(2, len(name) - 1))))
        word = given + ending if ending else chance.choice(_FAMILY) + given
        if word not in found.values() and word != name:
            return word
