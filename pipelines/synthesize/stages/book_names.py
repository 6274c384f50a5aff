"""Give every character of a book one name: ask a model which names stand for whom, and rename."""

from collections.abc import Sequence

from her.types import ENVIRONMENT
from pipelines.synthesize.questions import Question, StageContext
from pipelines.synthesize.sources.raw_books import RawBook
from pipelines.synthesize.stages.answers import CharacterMotivation, KeyCharacter, OfficialNames
from pipelines.synthesize.stages.plots import FoundPlot, tidy_name

NAMES = Question("scenes_names", "name_characters", OfficialNames)
IMPERSONAL = "impersonal"
"""Official name, in the prompt and in CoSER, of a voice that is nobody in particular: a crowd, a servant without a name."""


async def unify_names(book: RawBook, plots: Sequence[FoundPlot], context: StageContext) -> None:
    """Rename the characters of all plots; without an answer the names stay as the pieces of the book gave them."""
    names = _names(plots)
    if len(names) < 2:
        return
    messages = NAMES.messages(book.language, {"book": book.title, "names": sorted(names)})
    answer = await context.ask(NAMES, messages, temperature=0.0, max_tokens=8192)
    if not isinstance(answer.value, OfficialNames):
        context.notes.skip(NAMES.name, f"book '{book.title}'", f"names are not unified: {answer.error}")
        return
    official = {tidy_name(each.name): tidy_name(each.official) for each in answer.value.names if tidy_name(each.official)}
    # An impersonal voice keeps the name it speaks under: all of them together would become one character.
    chosen = {name: name if official.get(name) == IMPERSONAL else official.get(name, name) for name in names}
    for plot in plots:
        _rename(plot, chosen)


def _names(plots: Sequence[FoundPlot]) -> set[str]:
    names: set[str] = set()
    for plot in plots:
        names.update(each.name for each in plot.plot.key_characters)
        for conversation in plot.plot.conversation:
            names.update(line.character for line in conversation.dialogues)
    return names - {ENVIRONMENT}


def _rename(plot: FoundPlot, chosen: dict[str, str]) -> None:
    """Rename the characters of a plot; of two entries that get one name the first is kept."""
    characters: dict[str, KeyCharacter] = {}
    for character in plot.plot.key_characters:
        name = chosen.get(character.name, character.name)
        characters.setdefault(name, character.model_copy(update={"name": name}))
    plot.plot.key_characters = list(characters.values())
    for conversation in plot.plot.conversation:
        for line in conversation.dialogues:
            line.character = chosen.get(line.character, line.character)
        motivations: dict[str, CharacterMotivation] = {}
        for entry in conversation.key_characters:
            name = chosen.get(entry.name, entry.name)
            motivations.setdefault(name, entry.model_copy(update={"name": name}))
        conversation.key_characters = list(motivations.values())
