"""Write a profile of every character of a book, from the plots that are not held out (CoSER's `character_datasets`)."""

from collections import defaultdict
from typing import Any

from her.types import ENVIRONMENT
from her.words import ends_with_sentence
from pipelines.synthesize.concurrency import gather_all
from pipelines.synthesize.questions import Question, StageContext
from pipelines.synthesize.sources.raw_books import RawBook
from pipelines.synthesize.stages.answers import CharacterProfile

PROFILES = Question("scenes_profiles", "write_profile", CharacterProfile)
LINES, PLOTS = 20, 12
"""Lines, and plots with their descriptions, that a question shows of a character; the first of the book."""
REFUSALS = ("i can't", "i cannot", "i'm sorry", "i am sorry", "as an ai", "我无法", "对不起", "抱歉")
Json = dict[str, Any]


async def character_datasets(book: RawBook, rows: list[Json], split: int, context: StageContext) -> Json:
    """Return name -> plots, conversations, utterances and profile of each character.

    Args:
        rows: the plots of the book in the CoSER schema.
        split: number of plots, from the first, that a profile may be written from.
    """
    people: dict[str, Json] = defaultdict(lambda: {"plots": [], "conversations": [], "utterances": [], "profile": ""})
    for row in rows:
        for character in row["key_characters"]:
            people[character["name"]]["plots"].append(character)
        for conversation in row["conversation"]:
            for motivation in conversation["key_characters"]:
                people[motivation["name"]]["conversations"].append(motivation)
            for line in conversation["dialogues"]:
                if line["character"] != ENVIRONMENT:
                    people[line["character"]]["utterances"].append(line)
    names = sorted(people)
    profiles = await gather_all(_profile(book, name, people[name], split, context) for name in names)
    return {name: {**people[name], "profile": profile} for name, profile in zip(names, profiles, strict=True)}


async def _profile(book: RawBook, name: str, person: Json, split: int, context: StageContext) -> str:
    """Ask for the profile of a character; empty when the plots before `split` say too little or there was no usable answer."""
    plots = [each for each in person["plots"] if each["i_p"] < split]
    lines = [each["message"] for each in person["utterances"] if each["i_p"] < split]
    # A character that no plot lists as key may still speak: then the lines alone are enough.
    if len(plots) < context.options.scenes.profiles_from and not (lines and not person["plots"]):
        return ""
    payload = {
        "book": book.title,
        "character": name,
        "descriptions": [each["description"] for each in plots[:PLOTS] if each["description"]],
        "experiences": [each["experience"] for each in plots[:PLOTS] if each["experience"]],
        "lines": lines[:LINES],
    }
    answer = await context.ask(PROFILES, PROFILES.messages(book.language, payload), max_tokens=2048)
    where = f"book '{book.title}', character '{name}'"
    if not isinstance(answer.value, CharacterProfile):
        context.notes.skip(PROFILES.name, where, f"no profile: {answer.error}")
        return ""
    text = answer.value.profile.strip()
    if problem := _profile_problem(text):
        context.notes.skip(PROFILES.name, where, f"no profile: {problem}")
        return ""
    return text


def _profile_problem(text: str) -> str:
    """Return why a profile cannot be used; empty when it can."""
    if text.lower().startswith(REFUSALS):
        return f"the model refused: {text[:80]}"
    return "" if ends_with_sentence(text) else "the answer ends in the middle of a sentence"
