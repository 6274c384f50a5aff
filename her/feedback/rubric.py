"""The rubric of ratings: its dimensions and tags, and the check of a rating that a browser sends.

A change of dimensions, tags or their words is a new version; each stored rating names the version of its rubric.
"""

import json
from collections import Counter
from collections.abc import Mapping

from pydantic import ValidationError

from her.errors import InputError
from her.store.records import LONGEST_COMMENT, Rating
from her.types import Language, Value


class Label(Value):
    """A dimension or tag on the rating bar: its name in two languages, and one line that explains it.

    Args:
        low_en: name of one star, `high_en` of five; tags have no scale.
    """

    id: str
    en: str
    zh: str
    hint_en: str = ""
    hint_zh: str = ""
    low_en: str = ""
    low_zh: str = ""
    high_en: str = ""
    high_zh: str = ""

    def label(self, language: Language) -> str:
        """Return the name in this language."""
        return self.zh if language == "zh" else self.en

    def hint(self, language: Language) -> str:
        """Return the explanation in this language."""
        return self.hint_zh if language == "zh" else self.hint_en

    def ends(self, language: Language) -> tuple[str, str]:
        """Return the names of one star and of five in this language."""
        return (self.low_zh, self.high_zh) if language == "zh" else (self.low_en, self.high_en)


class Rubric(Value):
    """One version of the rubric: `dimensions` in the order of the bar, 1 to 5 stars each; a tag is set or absent."""

    version: str
    dimensions: tuple[Label, ...]
    tags: tuple[Label, ...]


RUBRIC = Rubric(
    version="2026-12",
    dimensions=(
        Label(
            id="in_character",
            en="In character",
            zh="符合人物",
            hint_en="Says and does what this character would, knows what they would know",
            hint_zh="言行像这个人物，只知道人物该知道的事",
            low_en="someone else",
            low_zh="完全不像",
            high_en="wholly this character",
            high_zh="活脱脱此人",
        ),
        Label(
            id="voice",
            en="Voice",
            zh="语言风格",
            hint_en="The words and rhythm are this character's own",
            hint_zh="用词和语气是这个人物自己的",
            low_en="anybody's words",
            low_zh="谁都会这么说",
            high_en="unmistakably theirs",
            high_zh="一听便知是谁",
        ),
        Label(
            id="coherence",
            en="Coherence",
            zh="连贯",
            hint_en="Fits what was said before and the place you are in",
            hint_zh="与前文和场景相合，没有矛盾",
            low_en="contradicts itself",
            low_zh="前后矛盾",
            high_en="everything fits",
            high_zh="处处相合",
        ),
        Label(
            id="emotional_depth",
            en="Emotional depth",
            zh="情感深度",
            hint_en="The feelings are particular, and have a reason",
            hint_zh="情感具体而有来由",
            low_en="nothing is felt",
            low_zh="毫无感情",
            high_en="deeply felt",
            high_zh="真切动人",
        ),
        Label(
            id="thought_and_speech_agree",
            en="Thought fits speech",
            zh="心口相应",
            hint_en="The inner thoughts explain the words and acts, even when these conceal them",
            hint_zh="内心活动能解释言行，即使言行有所掩饰",
            low_en="unrelated",
            low_zh="互不相干",
            high_en="each explains the other",
            high_zh="互相印证",
        ),
        Label(
            id="engaging",
            en="Engaging",
            zh="引人入胜",
            hint_en="You want to answer",
            hint_zh="让人想接着聊下去",
            low_en="I would stop here",
            low_zh="不想再聊",
            high_en="I want to go on",
            high_zh="欲罢不能",
        ),
    ),
    tags=(
        Label(id="lovely_line", en="Lovely line", zh="妙语"),
        Label(id="moves_the_story", en="Moves the story", zh="推动情节"),
        Label(id="out_of_character", en="Out of character", zh="不像此人"),
        Label(id="speaks_for_me", en="Speaks for me", zh="替我说话"),
        Label(id="repeats", en="Repeats itself", zh="重复"),
        Label(id="contradicts", en="Contradicts", zh="前后矛盾"),
        Label(id="too_long", en="Too long", zh="太长"),
        Label(id="too_short", en="Too short", zh="太短"),
        Label(id="thought_leaks", en="Knows my thoughts", zh="知道不该知道的"),
        Label(id="preachy", en="Preachy", zh="说教"),
        Label(id="broken_format", en="Broken format", zh="格式错乱"),
        Label(id="unsafe", en="Unsafe", zh="不安全"),
    ),
)


def check_rating(rating: Rating) -> Rating:
    """Return the rating when it fits the rubric in use.

    Raises:
        InputError: the version, a dimension or a tag is unknown, or a tag stands there twice.
    """
    if rating.rubric != RUBRIC.version:
        raise InputError(f"rubric {rating.rubric[:40]!r} is not the one in use; reload the page for {RUBRIC.version!r}")
    for kind, names, labels in (("dimension", rating.stars, RUBRIC.dimensions), ("tag", rating.tags, RUBRIC.tags)):
        known = [label.id for label in labels]
        for name in names:
            if name not in known:
                raise InputError(f"{kind} {name[:40]!r} is not in rubric {RUBRIC.version}; known are {', '.join(known)}")
    # Counted in one pass: a request may hold 800,000 tags, and comparing each with all before it would take hours.
    repeated = [tag for tag, count in Counter(rating.tags).items() if count > 1]
    if repeated:
        raise InputError(f"tag {repeated[0]!r} is given more than once; give it once")
    return rating


def read_rating(sent: Mapping[str, object]) -> Rating:
    """Return the checked rating from the JSON values that a browser sent: the fields of `Rating`.

    `rubric` may be left out and is the version in use then.

    Raises:
        InputError: one sentence about the first fault.
    """
    comment, stars = sent.get("comment"), sent.get("stars")
    if isinstance(comment, str) and len(comment) > LONGEST_COMMENT:
        raise InputError(f"the comment has {len(comment):,} characters; write at most {LONGEST_COMMENT:,}")
    for dimension, count in stars.items() if isinstance(stars, Mapping) else ():
        # `type`, because True is an int in Python and would count as one star.
        if type(count) is not int or not 1 <= count <= 5:
            raise InputError(f"dimension {str(dimension)[:40]!r} has {str(count)[:40]} stars; give 1, 2, 3, 4 or 5")
    try:
        return check_rating(Rating.model_validate_json(json.dumps({"rubric": RUBRIC.version, **sent})))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"])[:60] or "it"
        value = str(first["input"])[:40]
        raise InputError(f"the rating is not valid: {field} is {value!r}; {first['msg'][:200].lower()}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the rating is not valid: {str(error)[:200]}; send JSON") from None
