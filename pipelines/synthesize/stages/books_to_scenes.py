"""Turn raw books into scenes: extract plots and conversations from every piece, unify names, write settings and profiles.

A book becomes one file in the CoSER schema, `scenes/TITLE.json` of the run folder, which the later stages read like any
finished book. Pieces of one book are asked about one after the other, because a plot may continue in the next piece;
books run concurrently.
"""

from collections.abc import Sequence
from typing import Any

from her.types import ENVIRONMENT
from her.words import ends_with_sentence
from pipelines.synthesize.concurrency import gather_all
from pipelines.synthesize.questions import Question, StageContext
from pipelines.synthesize.sources.pieces import pieces
from pipelines.synthesize.sources.raw_books import RawBook
from pipelines.synthesize.stages.answers import ExtractedPlots, FoundConversation, SceneSetting
from pipelines.synthesize.stages.book_names import NAMES, unify_names
from pipelines.synthesize.stages.book_profiles import PROFILES, character_datasets
from pipelines.synthesize.stages.plots import FoundPlot, anchored_plots, join_plots, open_plots, tidy_name

EXTRACT = Question("scenes_extract", "extract_plots", ExtractedPlots)
SETTINGS = Question("scenes_staging", "stage_scene", SceneSetting)
QUESTIONS = (EXTRACT, NAMES, SETTINGS, PROFILES)
"""Every question that is asked about a raw book."""
Json = dict[str, Any]


async def book_to_scenes(book: RawBook, context: StageContext) -> Json:
    """Return the book in the CoSER schema; `fail_to_parse_responses` lists every piece without a usable answer."""
    plots, failures = await _extract(book, context)
    _drop_short_conversations(plots, book, context)
    await unify_names(book, plots, context)
    await gather_all(_write_settings(book, plot, context) for plot in plots)
    rows = [_plot_row(plot, number) for number, plot in enumerate(plots)]
    # The last plots are kept for tests, so no profile may give them away: CoSER's `split_plot_index`.
    split = round(len(rows) * (1 - context.options.scenes.held_out))
    people = await character_datasets(book, rows, split, context)
    return {"plots": rows, "character_datasets": people, "split_plot_index": split, "fail_to_parse_responses": failures}


async def _extract(book: RawBook, context: StageContext) -> tuple[list[FoundPlot], list[Json]]:
    """Ask about all pieces; return the plots, and the pieces that failed."""
    plots: list[FoundPlot] = []
    failures: list[Json] = []
    options = context.options.scenes
    skip = context.notes.skipper(EXTRACT.name)
    for piece in pieces(book.content, options.chunk_tokens):
        where = f"book '{book.title}', piece {piece.number}" + (f" ({piece.chapter})" if piece.chapter else "")
        payload: Json = {"book": book.title, "author": book.author, "chapter": piece.chapter, "text": piece.text}
        payload["carried"] = open_plots(plots)
        messages = EXTRACT.messages(book.language, payload, least=str(options.least_turns))
        # Temperature 0 and 16,384 tokens are CoSER's values for this question.
        answer = await context.ask(EXTRACT, messages, temperature=0.0, max_tokens=16_384)
        if isinstance(answer.value, ExtractedPlots):
            plots = join_plots(plots, anchored_plots(answer.value.plots, piece, options, where, skip))
        else:
            failures.append({"i_chunk": piece.number, "chapter": piece.chapter, "reason": answer.error})
            skip(where, answer.error or "no answer")
            plots = join_plots(plots, [])  # nothing continues across a piece that is missing
    return plots, failures


def _drop_short_conversations(plots: Sequence[FoundPlot], book: RawBook, context: StageContext) -> None:
    """Keep only conversations of `least_turns`; a plot without any stays, for what it says about its characters."""
    least = context.options.scenes.least_turns
    for plot in plots:
        long = []
        for conversation in plot.plot.conversation:
            if len(conversation.dialogues) >= least:
                long.append(conversation)
            else:
                where = f"book '{book.title}', plot {plot.id}"
                reason = f"a conversation of {len(conversation.dialogues)} lines, at least {least}"
                context.notes.skip(EXTRACT.name, where, reason)
        plot.plot.conversation = long


async def _write_settings(book: RawBook, plot: FoundPlot, context: StageContext) -> None:
    """Write scenario and motivations anew from the whole conversation; an unusable answer leaves the extracted ones."""
    described = {each.name: each.description for each in plot.plot.key_characters}
    for conversation in plot.plot.conversation:
        motivations = {each.name: each.motivation for each in conversation.key_characters}
        speakers = [line.character for line in conversation.dialogues if line.character != ENVIRONMENT]
        cast = list(dict.fromkeys([*speakers, *motivations]))
        payload = {
            "book": book.title,
            "summary": plot.plot.summary,
            "scenario": conversation.scenario,
            "characters": [
                {"name": name, "description": described.get(name, ""), "motivation": motivations.get(name, "")} for name in cast
            ],
            "dialogues": [line.model_dump() for line in conversation.dialogues],
        }
        answer = await context.ask(SETTINGS, SETTINGS.messages(book.language, payload), max_tokens=4096)
        where = f"book '{book.title}', plot {plot.id}"
        if not isinstance(answer.value, SceneSetting):
            context.notes.skip(SETTINGS.name, where, f"the extracted setting is kept: {answer.error}")
        elif problem := _setting_problem(answer.value, cast):
            context.notes.skip(SETTINGS.name, where, f"the extracted setting is kept: {problem}")
        else:
            _apply_setting(conversation, answer.value)


def _setting_problem(setting: SceneSetting, cast: Sequence[str]) -> str:
    """Return why an answer cannot be used; empty when it can."""
    if {tidy_name(each.name) for each in setting.characters} != set(cast):
        return "the answer is about other characters"
    texts = [setting.scenario, *(each.motivation for each in setting.characters if each.motivation)]
    return "" if all(map(ends_with_sentence, texts)) else "the answer ends in the middle of a sentence"


def _apply_setting(conversation: FoundConversation, setting: SceneSetting) -> None:
    conversation.scenario = setting.scenario.strip()
    conversation.key_characters = [each.model_copy(update={"name": tidy_name(each.name)}) for each in setting.characters]


def _plot_row(plot: FoundPlot, number: int) -> Json:
    """Return a plot in the CoSER schema; `i_p`, `i_c`, `i_u` are the indices of plot, conversation and utterance."""
    conversations = []
    for index, conversation in enumerate(plot.plot.conversation):
        row = conversation.model_dump()
        row["key_characters"] = [{**each, "i_p": number, "i_c": index} for each in row["key_characters"]]
        row["dialogues"] = [{**each, "i_p": number, "i_c": index, "i_u": at} for at, each in enumerate(row["dialogues"])]
        conversations.append({**row, "i_c": index})
    return {
        "text": plot.text,
        "summary": plot.plot.summary,
        "prominence": plot.plot.prominence,
        "key_characters": [{**each.model_dump(), "i_p": number} for each in plot.plot.key_characters],
        "chapter": plot.chapter or None,
        "conversation": conversations,
        "state": "truncated" if plot.open else "finished",
        "i_chunk": plot.piece,
        "i_p": number,
    }
