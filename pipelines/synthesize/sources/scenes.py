"""Books to scenes: plots and conversations of every piece, one name a character, settings, wants and profiles.

A book becomes one file in the CoSER schema, `scenes/TITLE.json` of the run folder, which the next stages read like any
finished book. Pieces of one book are asked about in turn, since a plot may go on in the next; books side by side.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from her.types import ENVIRONMENT, Sampling
from pipelines.synthesize.checks.turns import whole
from pipelines.synthesize.options import SceneOptions
from pipelines.synthesize.sources.books import RawBook, pieces
from pipelines.synthesize.sources.plots import FoundPlot, carried, found_plots, joined, tidy
from pipelines.synthesize.stages.answers import Extraction, FoundConversation, Known, Names, Profile, Staging, Wanting
from pipelines.synthesize.work import Asker, Notes, question, together

EXTRACT, NAME, STAGE_SCENE, PROFILE = "scenes_extract", "scenes_names", "scenes_staging", "scenes_profiles"
IMPERSONAL = "impersonal"
PROFILE_LINES, PROFILE_TEXTS = 20, 12
"""How much of what a book says of a character is shown for the profile."""
REFUSALS = ("i can't", "i cannot", "i'm sorry", "i am sorry", "as an ai", "我无法", "对不起", "抱歉")

Json = dict[str, Any]


async def book_to_scenes(book: RawBook, asker: Asker, sampling: Sampling, options: SceneOptions, notes: Notes) -> Json:
    """The book in the CoSER schema; `fail_to_parse_responses` names every piece that gave nothing."""
    plots, failures = await _extract(book, asker, sampling, options, notes)
    kept = _long_enough(plots, options, book, notes)
    named = await _named(book, kept, asker, sampling, notes)
    await together(_stage(book, plot, asker, sampling, notes) for plot in named)
    rows = [_plot_row(plot, number) for number, plot in enumerate(named)]
    split = round(len(rows) * (1 - options.held_out))
    people = await _people(book, rows, split, asker, sampling, options, notes)
    return {"plots": rows, "character_datasets": people, "split_plot_index": split, "fail_to_parse_responses": failures}


async def _extract(
    book: RawBook, asker: Asker, sampling: Sampling, options: SceneOptions, notes: Notes
) -> tuple[list[FoundPlot], list[Json]]:
    """The plots of all pieces, one after the other."""
    plots: list[FoundPlot] = []
    failures: list[Json] = []
    cold = sampling.model_copy(update={"temperature": 0.0, "max_tokens": 16_384})
    for piece in pieces(book.content, options.chunk_tokens):
        where = f"book '{book.title}', piece {piece.number}" + (f" ({piece.chapter})" if piece.chapter else "")
        payload = {"book": book.title, "author": book.author, "chapter": piece.chapter, "text": piece.text}
        payload |= {"carried": carried(plots)}  # type: ignore[dict-item]
        asked = question("extract_plots", book.language, payload, least=str(options.least_turns))
        reply = await asker.ask(EXTRACT, asked, cold, Extraction)
        if not isinstance(reply.value, Extraction):
            failures.append({"i_chunk": piece.number, "chapter": piece.chapter, "reason": reply.error})
            notes.skip(EXTRACT, where, reply.error or "no answer")
            plots = joined(plots, [])
            continue
        found = found_plots(reply.value.plots, piece, options, where, lambda at, why: notes.skip(EXTRACT, at, why))
        plots = joined(plots, found)
    return plots, failures


def _long_enough(plots: Sequence[FoundPlot], options: SceneOptions, book: RawBook, notes: Notes) -> list[FoundPlot]:
    """The plots with their long conversations only; a plot without any stays, for what it says of its characters."""
    for plot in plots:
        long = []
        for talk in plot.plot.conversation:
            if len(talk.dialogues) >= options.least_turns:
                long.append(talk)
            else:
                where = f"book '{book.title}', plot {plot.id}"
                notes.skip(EXTRACT, where, f"a conversation of {len(talk.dialogues)} lines, at least {options.least_turns}")
        plot.plot.conversation = long
    return list(plots)


async def _named(book: RawBook, plots: list[FoundPlot], asker: Asker, sampling: Sampling, notes: Notes) -> list[FoundPlot]:
    """The plots with one name a character. Where there is no answer the names stay as the book's pieces gave them."""
    names = _names(plots)
    if len(names) < 2:
        return plots
    payload = {"book": book.title, "names": sorted(names)}
    asked = question("name_characters", book.language, payload)
    reply = await asker.ask(NAME, asked, sampling.model_copy(update={"temperature": 0.0, "max_tokens": 8192}), Names)
    if not isinstance(reply.value, Names):
        notes.skip(NAME, f"book '{book.title}'", f"names stay as they are: {reply.error}")
        return plots
    official = {tidy(each.name): tidy(each.official) for each in reply.value.names if tidy(each.official)}
    chosen = {name: official.get(name, name) for name in names}
    for plot in plots:
        _rename(plot, chosen)
    return plots


def _names(plots: Sequence[FoundPlot]) -> Counter[str]:
    found: Counter[str] = Counter()
    for plot in plots:
        found.update(each.name for each in plot.plot.key_characters)
        for talk in plot.plot.conversation:
            found.update(line.character for line in talk.dialogues)
    del found[ENVIRONMENT]
    return found


def _rename(plot: FoundPlot, chosen: dict[str, str]) -> None:
    """Give every character of a plot their official name; who is impersonal keeps the name they speak under."""

    def name(given: str) -> str:
        official = chosen.get(given, given)
        return given if official == IMPERSONAL else official

    seen: dict[str, Known] = {}
    for known in plot.plot.key_characters:
        seen.setdefault(name(known.name), known.model_copy(update={"name": name(known.name)}))
    plot.plot.key_characters = list(seen.values())
    for talk in plot.plot.conversation:
        for line in talk.dialogues:
            line.character = name(line.character)
        wants: dict[str, Wanting] = {}
        for wanting in talk.key_characters:
            wants.setdefault(name(wanting.name), wanting.model_copy(update={"name": name(wanting.name)}))
        talk.key_characters = list(wants.values())


async def _stage(book: RawBook, plot: FoundPlot, asker: Asker, sampling: Sampling, notes: Notes) -> None:
    """Write scenario and wants anew from the whole conversation; the drafts stay where the answer does not fit."""
    described = {each.name: each.description for each in plot.plot.key_characters}
    for talk in plot.plot.conversation:
        wants = {each.name: each.motivation for each in talk.key_characters}
        speakers = dict.fromkeys(line.character for line in talk.dialogues if line.character != ENVIRONMENT)
        cast = list(dict.fromkeys([*speakers, *wants]))
        payload = {
            "book": book.title,
            "summary": plot.plot.summary,
            "scenario": talk.scenario,
            "characters": [
                {"name": name, "description": described.get(name, ""), "motivation": wants.get(name, "")} for name in cast
            ],
            "dialogues": [line.model_dump() for line in talk.dialogues],
        }
        asked = question("stage_scene", book.language, payload)
        reply = await asker.ask(STAGE_SCENE, asked, sampling.model_copy(update={"max_tokens": 4096}), Staging)
        where = f"book '{book.title}', plot {plot.id}"
        if not isinstance(reply.value, Staging):
            notes.skip(STAGE_SCENE, where, f"the drafted setting stays: {reply.error}")
        elif {tidy(each.name) for each in reply.value.characters} != set(cast):
            notes.skip(STAGE_SCENE, where, "the drafted setting stays: the answer is about other characters")
        elif not all(map(whole, [reply.value.scenario, *filter(None, (e.motivation for e in reply.value.characters))])):
            notes.skip(STAGE_SCENE, where, "the drafted setting stays: the answer ends in the middle of a sentence")
        else:
            _staged(talk, reply.value)


def _staged(talk: FoundConversation, staging: Staging) -> None:
    talk.scenario = staging.scenario.strip()
    talk.key_characters = [each.model_copy(update={"name": tidy(each.name)}) for each in staging.characters]


def _plot_row(plot: FoundPlot, number: int) -> Json:
    talks = []
    for index, talk in enumerate(plot.plot.conversation):
        row = talk.model_dump()
        row["key_characters"] = [{**each, "i_p": number, "i_c": index} for each in row["key_characters"]]
        row["dialogues"] = [{**each, "i_p": number, "i_c": index, "i_u": at} for at, each in enumerate(row["dialogues"])]
        talks.append({**row, "i_c": index})
    return {
        "text": plot.text,
        "summary": plot.plot.summary,
        "prominence": plot.plot.prominence,
        "key_characters": [{**each.model_dump(), "i_p": number} for each in plot.plot.key_characters],
        "chapter": plot.chapter or None,
        "conversation": talks,
        "state": "truncated" if plot.open else "finished",
        "i_chunk": plot.piece,
        "i_p": number,
    }


async def _people(
    book: RawBook, rows: list[Json], split: int, asker: Asker, sampling: Sampling, options: SceneOptions, notes: Notes
) -> Json:
    """`character_datasets`: what the book holds on each character, with a profile from the plots before `split`."""
    people: dict[str, Json] = defaultdict(lambda: {"plots": [], "conversations": [], "utterances": [], "profile": ""})
    for row in rows:
        for known in row["key_characters"]:
            people[known["name"]]["plots"].append(known)
        for talk in row["conversation"]:
            for wanting in talk["key_characters"]:
                people[wanting["name"]]["conversations"].append(wanting)
            for line in talk["dialogues"]:
                if line["character"] != ENVIRONMENT:
                    people[line["character"]]["utterances"].append(line)
    names = sorted(people)
    written = await together(_profile(book, name, people[name], split, asker, sampling, options, notes) for name in names)
    return {name: {**people[name], "profile": profile} for name, profile in zip(names, written, strict=True)}


async def _profile(
    book: RawBook, name: str, person: Json, split: int, asker: Asker, sampling: Sampling, options: SceneOptions, notes: Notes
) -> str:
    """A character's profile from the plots that are not held out; empty when these say too little or no answer came."""
    plots = [each for each in person["plots"] if each["i_p"] < split]
    lines = [each["message"] for each in person["utterances"] if each["i_p"] < split]
    if len(plots) < options.profiles_from and not (lines and not person["plots"]):
        return ""
    payload = {
        "book": book.title,
        "character": name,
        "descriptions": [each["description"] for each in plots[:PROFILE_TEXTS] if each["description"]],
        "experiences": [each["experience"] for each in plots[:PROFILE_TEXTS] if each["experience"]],
        "lines": lines[:PROFILE_LINES],
    }
    asked = question("write_profile", book.language, payload)
    reply = await asker.ask(PROFILE, asked, sampling.model_copy(update={"max_tokens": 2048}), Profile)
    where = f"book '{book.title}', character '{name}'"
    if not isinstance(reply.value, Profile):
        notes.skip(PROFILE, where, f"no profile: {reply.error}")
        return ""
    text = reply.value.profile.strip()
    if text.lower().startswith(REFUSALS):
        notes.skip(PROFILE, where, f"the model refused: {text[:80]}")
        return ""
    if not whole(text):
        notes.skip(PROFILE, where, "no profile: the answer ends in the middle of a sentence")
        return ""
    return text
