"""Rules of the teacher for principles: name them for a pair, distil a cluster, say which candidate follows one.

The teacher sees a small world of traits, such as an oath or an animal in a turn. It cannot tell which of them make a turn better:
it names any trait in which the better candidate of a pair differs, as a model that rationalises does. The planted pairs of
pipelines/principles/planted.py are composed of the same traits. The formats stand in her/prompts and in
pipelines/principles/answers.py.
"""

import hashlib
import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from her.types import Language

Json = dict[str, Any]


class TraitWords(NamedTuple):
    """A trait in one language: the words that show it in a turn, name and definition of its principle, and a paraphrase."""

    marker: str
    name: str
    definition: str
    paraphrase: str


class Trait(NamedTuple):
    """Something a turn has or lacks. Of a `negative` one the principle is to lack it. `place` is the kind of its part."""

    id: str
    place: Literal["thought", "act", "speech"]
    dimension: str
    polarity: Literal["positive", "negative"]
    en: TraitWords
    zh: TraitWords

    def words(self, language: Language) -> TraitWords:
        """Return the trait in one language."""
        return self.zh if language == "zh" else self.en


# fmt: off
TRAITS = (
    Trait("hidden-thought", "thought", "character_development", "positive",
        TraitWords("I must not show it", "A silent thought first", "A silent thought of the character stands before the words.",
            "A silent thought shows the character before the words are said."),
        TraitWords("不能让人看出来", "先有心声", "人物开口之前先有一句不出声的心声。", "开口之前让读者看到人物不出声的心声。")),
    Trait("no-filler", "speech", "dialogue_interaction", "negative",
        TraitWords("To be honest", "No filler phrase", "The line does without a filler phrase such as 'to be honest'.",
            "A filler phrase at the start of the line weakens it."),
        TraitWords("老实说", "不说套话", "台词不用“老实说”一类的套话开头。", "用“老实说”一类套话开头的台词没有力量。")),
    Trait("touches-object", "act", "details_description", "positive",
        TraitWords("turns the lamp", "An object in the hand", "The act takes a concrete object of the place into the hand.",
            "The hand does something with a concrete object of the place."),
        TraitWords("转动灯盏", "手上有物", "动作里拿起了场景中一件具体的东西。", "手里摆弄着场景中一件具体的东西。")),
    Trait("no-modern-word", "speech", "worldview_consistency", "negative",
        TraitWords("Okay", "No modern word", "No modern word such as 'okay' breaks the period of the story.",
            "A modern word such as 'okay' does not belong to the period."),
        TraitWords("哦凯", "不用现代词", "不用“哦凯”一类打破时代感的现代词。", "“哦凯”一类现代词不属于故事的时代。")),
    Trait("hands-back", "speech", "dialogue_interaction", "positive",
        TraitWords("What do you say", "Gives the turn back", "The turn ends with a question for the other to answer.",
            "A question to the other at the end of the turn asks for an answer."),
        TraitWords("你怎么说", "把话递回去", "末尾用一个问题让对方有话可答。", "末尾向对方提一个问题，等对方回答。")),
    Trait("weather", "speech", "atmosphere_environment", "positive",
        TraitWords("It rains again", "The weather is felt", "Rain or other weather is mentioned in the scene.",
            "The weather of the scene, such as rain, is mentioned."),
        TraitWords("又下雨了", "写到天气", "提到场景里下雨一类的天气。", "场景的天气，例如下雨，被提到。")),
    Trait("number", "speech", "details_description", "positive",
        TraitWords("I counted seven", "A number is given", "An exact number is counted and given.",
            "Something is counted and its exact number given."),
        TraitWords("我数了七个", "给出数目", "数出并说出一个确切的数目。", "把东西数清，说出确切数目。")),
    Trait("colour", "speech", "atmosphere_environment", "positive",
        TraitWords("The red door", "A colour is named", "A colour such as red is named in the description.",
            "The description names a colour, for example red."),
        TraitWords("那扇红门", "写到颜色", "描写里点出红色一类的颜色。", "描写点出一种颜色，例如红色。")),
    Trait("animal", "speech", "atmosphere_environment", "positive",
        TraitWords("A dog barks", "An animal is heard", "An animal such as a barking dog is heard nearby.",
            "One hears an animal nearby, such as a dog that barks."),
        TraitWords("有狗在叫", "听得到动物", "听得到附近狗叫一类的动物声。", "附近有动物的声音，例如狗叫。")),
    Trait("oath", "speech", "character_development", "positive",
        TraitWords("By my sword", "Swears an oath", "The character swears an oath on what is dear to them.",
            "An oath is sworn on something dear to the character."),
        TraitWords("凭我这把剑", "起誓", "人物以自己珍视之物起誓。", "人物起誓，誓言里有自己珍视之物。")),
    Trait("no-repetition", "speech", "overall_quality", "negative",
        TraitWords("I said so, I said so", "No phrase twice", "No phrase is repeated twice within the same turn.",
            "A phrase repeated within the same turn adds nothing."),
        TraitWords("我说过，我说过", "不重复", "同一轮里不把一句话重复两遍。", "同一轮里把一句话重复两遍，毫无益处。")),
    Trait("threat", "speech", "conflict_tension", "positive",
        TraitWords("You will regret this", "Utters a threat", "A threat of regret raises the tension between the two.",
            "The tension between the two rises by a threat of regret."),
        TraitWords("你会后悔的", "出言威胁", "用让对方后悔的威胁抬高紧张。", "一句让对方后悔的威胁使气氛紧张。")),
    Trait("apology", "speech", "relationship", "positive",
        TraitWords("Forgive me", "Asks forgiveness", "The character asks forgiveness and so mends the bond.",
            "Asking forgiveness mends the bond between them."),
        TraitWords("原谅我", "请求原谅", "人物请求原谅，修补情分。", "请求原谅修补了两人的情分。")),
    Trait("proverb", "speech", "dialogue_interaction", "positive",
        TraitWords("Still waters run deep", "Speaks a proverb", "The speech contains a proverb or an old saying.",
            "An old saying or proverb is quoted in the speech."),
        TraitWords("静水流深", "引用谚语", "话里引用了一句谚语或老话。", "引用一句老话或谚语。")),
    Trait("next-step", "speech", "narrative_plot", "positive",
        TraitWords("Tomorrow we leave", "A next step", "A next step is announced that moves the plot to tomorrow.",
            "The plot moves because a next step for tomorrow is announced."),
        TraitWords("明天我们就走", "下一步", "说出明天的下一步，推动情节。", "情节向前，因为说出了明天的下一步。")),
    Trait("looks-away", "act", "action_description", "positive",
        TraitWords("looks aside", "A look aside", "The eyes look aside for a moment during the act.",
            "For a moment the eyes of the character look aside."),
        TraitWords("移开目光", "移开目光", "动作中目光有片刻移向别处。", "有片刻，人物的目光移向别处。")),
    Trait("no-laughter", "act", "emotional_expression", "negative",
        TraitWords("laughs aloud", "No loud laughter", "No loud laughter covers the feeling of the moment.",
            "Loud laughter would cover the feeling of the moment."),
        TraitWords("放声大笑", "不放声笑", "不用放声大笑盖过此刻的感情。", "放声大笑会盖过此刻的感情。")),
    Trait("keeps-secret", "speech", "safety_boundaries", "negative",
        TraitWords("The key is under the stone", "Keeps the secret", "The secret hiding place of the key is not given away.",
            "To give away the secret hiding place of the key is a fault."),
        TraitWords("钥匙在石头下面", "守住秘密", "不把藏钥匙的秘密地点说出来。", "把藏钥匙的秘密地点说出来是毛病。")),
    Trait("memory", "speech", "character_development", "positive",
        TraitWords("I remember the harvest", "A memory returns", "A memory of earlier years, such as a harvest, returns.",
            "Something of earlier years is remembered, such as a harvest."),
        TraitWords("我记得那年收成", "想起往事", "想起早年的一件往事，例如收成。", "早年的往事，例如收成，被想起。")),
    Trait("no-insult", "speech", "relationship", "negative",
        TraitWords("You fool", "No insult", "The other is not insulted with a word such as 'fool'.",
            "An insult such as 'fool' thrown at the other is a fault."),
        TraitWords("你这蠢货", "不辱骂", "不用“蠢货”一类的词辱骂对方。", "用“蠢货”一类的词辱骂对方是毛病。")),
)
# fmt: on
NEUTRAL = {"en": "We shall see.", "zh": "走着瞧吧。"}
OPENINGS = {"en": ("", "At this moment: ", "Better here: "), "zh": ("", "此刻：", "这里更好：")}
_PUNCTUATION = re.compile(r"[\W_]+")
MOST_NAMED = 4


def trait_of(text: str) -> Trait | None:
    """Return the trait whose principle a text states, by its name, definition or paraphrase; None for another text."""
    bare = _bare(text)
    found = [trait for trait in TRAITS for words in (trait.en, trait.zh) if any(_bare(said) in bare for said in words[1:])]
    return found[0] if found else None


def follows(trait: Trait, text: str) -> bool:
    """Return whether a turn follows the principle of a trait."""
    shown = any(_bare(words.marker) in _bare(text) for words in (trait.en, trait.zh))
    return shown == (trait.polarity == "positive")


def name_principles(question: Json) -> Json:
    """Name up to four traits in which the better candidate follows a principle and the worse does not, in any wording."""
    better, worse = str(question["better"]), str(question["worse"])
    told_apart = [trait for trait in TRAITS if follows(trait, better) and not follows(trait, worse)]
    drawn = sorted(told_apart, key=lambda trait: _number(better, worse, trait.id))[:MOST_NAMED]
    return {"principles": [_wording(trait, "zh" if _is_chinese(better) else "en", better) for trait in drawn]}


def distil_principle(question: Json) -> Json:
    """Return the principle of the trait that the most typical text states; without one the answer is empty and not usable."""
    trait = next(filter(None, map(trait_of, question["principles"])), None)
    if trait is None:
        return {}
    return {
        "dimension": trait.dimension,
        "level": "turn",
        "polarity": trait.polarity,
        "en": _example(trait, "en"),
        "zh": _example(trait, "zh"),
    }


def apply_principles(question: Json) -> Json:
    """Say for each principle which candidate follows it; equal candidates and unknown principles are ties."""
    return {"verdicts": [_applied(row, str(question["a"]), str(question["b"])) for row in question["principles"]]}


def _applied(row: Json, first: str, second: str) -> Json:
    trait = trait_of(str(row["definition"]))
    sides = (follows(trait, first), follows(trait, second)) if trait else (True, True)
    if trait is None or sides[0] == sides[1]:
        return {"id": row["id"], "winner": "tie", "quote": ""}
    shown = first if sides[0] == (trait.polarity == "positive") else second  # the one that has the trait
    marker = next(words.marker for words in (trait.en, trait.zh) if _bare(words.marker) in _bare(shown))
    return {"id": row["id"], "winner": "a" if sides[0] else "b", "quote": marker}


def _wording(trait: Trait, language: Language, seed: str) -> Json:
    words, draw = trait.words(language), _number(seed, trait.id)
    said = (words.definition, words.paraphrase)[draw % 2]
    return {"name": words.name, "definition": OPENINGS[language][draw // 2 % 3] + said}


def _example(trait: Trait, language: Language) -> Json:
    words = trait.words(language)
    comma, stop, brackets = ("，", "。", "【】（）") if language == "zh" else (", ", ". ", "[]()")
    shown = {
        "thought": f"{brackets[0]}{words.marker}{stop.strip()}{brackets[1]}{NEUTRAL[language]}",
        "act": f"{brackets[2]}{words.marker}{brackets[3]}{NEUTRAL[language]}",
        "speech": f"{words.marker}{comma if trait.id == 'no-filler' else stop}{NEUTRAL[language]}",
    }[trait.place]
    good, bad = (shown, NEUTRAL[language]) if trait.polarity == "positive" else (NEUTRAL[language], shown)
    return {"name": words.name, "definition": words.definition, "good": good, "bad": bad}


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


@lru_cache(4096)
def _bare(text: str) -> str:
    return _PUNCTUATION.sub("", text).casefold()


def _number(*texts: str) -> int:
    """Return a number that depends on the texts alone."""
    return int.from_bytes(hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).digest()[:6], "big")
