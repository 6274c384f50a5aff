"""Hold back what a profile tells of later than the scene: a finished book's profiles are written from the whole story.

A sentence is held back when it says itself that it tells how things end, or when the plots after the scene tell it and those up
to the scene do not. What remains is as of the scene's beginning as far as words alone decide; nothing is rewritten.
"""

import re
from collections.abc import Iterator, Sequence

from her.characters.coser import BookScene
from her.types import CastMember, Language
from her.words import SENTENCE, telling_words, words

TOLD, LEAST_WORDS = 0.6, 6
"""Share of a sentence's content words that a plot must have to tell it; a sentence of fewer content words is told by any plot."""
_ENDING = re.compile(
    r"\b(?:eventually|ultimately|in the end|by the end of|at the end of the (?:story|novel|book|play|series)|later (?:in|on)\b|"
    r"as the (?:story|novel|narrative|plot|series) (?:progresses|unfolds|advances|develops)|"
    r"(?:over|throughout|in) the course of the (?:story|novel|narrative|book|series)|"
    r"(?:his|her|their) (?:death|demise|downfall|redemption))\b|"
    r"最终|后来|结局|(?:故事|小说|全书)(?:的?结尾|末尾|最后|后半)|随着(?:故事|情节)",
    re.I,
)


def as_of_the_beginning(scenes: Sequence[BookScene]) -> Iterator[tuple[BookScene, int]]:
    """Yield the scenes of one book with their profiles cut, and how many sentences were held back in each."""
    told = {scene.id: _told(scene) for scene in scenes}
    for scene in scenes:
        before = [told[each.id] for each in scenes if each.plot <= scene.plot]
        after = [told[each.id] for each in scenes if each.plot > scene.plot]
        cast, count = [], 0
        for member in scene.cast:
            kept, held = _kept(member.profile, before, after, scene.scenario.language)
            cast.append(member if not held else _with_profile(member, kept))
            count += held
        yield (scene.model_copy(update={"cast": tuple(cast)}) if count else scene), count


def _with_profile(member: CastMember, profile: str) -> CastMember:
    return member.model_copy(update={"profile": profile})


def _told(scene: BookScene) -> frozenset[str]:
    text = " ".join((scene.plot_summary, *scene.experiences.values()))
    return frozenset(telling_words(words(text), scene.scenario.language))


def _kept(profile: str, before: Sequence[frozenset[str]], after: Sequence[frozenset[str]], language: Language) -> tuple[str, int]:
    """Return the profile without the sentences that are held back, and their number."""
    held = 0

    def decide(found: re.Match[str]) -> str:
        nonlocal held
        content = telling_words(words(found[0]), language)
        later = len(content) >= LEAST_WORDS and _share(content, after) >= TOLD > _share(content, before)
        if later or (_ENDING.search(found[0]) and _share(content, before) < TOLD):
            held += 1
            return ""
        return found[0]

    kept = SENTENCE.sub(decide, profile)
    return (re.sub(r"[ \t]{2,}", " ", kept).strip() if held else profile), held


def _share(content: set[str], plots: Sequence[frozenset[str]]) -> float:
    return max((len(content & plot) / max(1, len(content)) for plot in plots), default=0.0)
