"""Handlers of a persona's writer: the files that are faulty, a form with a preview, and its YAML.

A draft is checked by the same door as a file: it is written into a folder of its own and read from there.
"""

import tempfile
from pathlib import Path

from her.characters.persona_shelf import PersonaShelf
from her.characters.personas import file_problems, load_persona, persona_id, save_persona
from her.chat.openings import HERE, greeting_turn
from her.chat.service import ChatService
from her.errors import Forbidden, InputError
from her.types import Persona
from her.ui import bubbles
from her.ui.answers import AuthorPage, FaultyFile, PersonaDraft, SavedPersona
from her.ui.author_requests import AuthorRequest, DraftPersonaRequest, PersonaFields, SavePersonaRequest
from her.ui.words import words

FIELDS = tuple(PersonaFields.model_fields)


def is_author(service: ChatService) -> bool:
    """Tell whether this playground was started for a writer."""
    return isinstance(service.personas, PersonaShelf) and service.personas.writable


async def author(service: ChatService, request: AuthorRequest) -> AuthorPage:
    """List the faulty files, and return the fields of one persona for the form."""
    shelf = _shelf(service)
    shelf.refresh()
    faults: list[FaultyFile] = [{"file": name, "problem": sentence} for name, sentence in shelf.faults.items()]
    persona = shelf.get(request.persona)
    fields = {name: getattr(persona, name) for name in FIELDS} if persona else PersonaFields().model_dump()
    return {
        "faults": faults,
        "fields": {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()},
    }


async def draft(service: ChatService, request: DraftPersonaRequest) -> PersonaDraft:
    """Check a draft and show it."""
    shelf = _shelf(service)
    stem = request.persona or persona_id(request.fields.name) or "persona"
    persona = _drafted(shelf, stem, request.fields)
    text, problems = _checked(shelf, persona)
    texts = words(persona.language)
    slots, name = (texts["visitor"], HERE[persona.language]), persona.name or "?"
    greetings = [greeting_turn(line, name, slots).parts for line in persona.greetings]
    return {
        "id": stem,
        "problems": problems,
        "yaml": text,
        "letters": bubbles.monogram(name),
        "greetings": [bubbles.layers(parts, texts) for parts in greetings],
    }


async def save(service: ChatService, request: SavePersonaRequest) -> SavedPersona:
    """Write a persona's file.

    Raises:
        InputError: the draft has a problem, or its file is there already and `replace` was not asked for.
    """
    shelf = _shelf(service)
    stem = request.persona or persona_id(request.fields.name)
    if not stem or (stem not in shelf and persona_id(stem) != stem):
        raise InputError(f"'{stem[:60]}' cannot name a file; write small letters, digits and '-'")
    persona = _drafted(shelf, stem, request.fields)
    _, problems = _checked(shelf, persona)
    if problems:
        raise InputError(problems[0])
    path = shelf.folder / f"{stem}.yaml"
    if path.is_symlink() or (path.exists() and not request.replace):
        raise InputError(f"there is a file '{path.name}' already; edit that persona, or choose another name")
    save_persona(persona, shelf.folder)
    shelf.refresh()
    return {"id": stem}


def _shelf(service: ChatService) -> PersonaShelf:
    shelf = service.personas
    if not isinstance(shelf, PersonaShelf) or not shelf.writable:
        raise Forbidden("personas are written where the playground was started with --author; ask the person who runs it")
    return shelf


def _drafted(shelf: PersonaShelf, stem: str, fields: PersonaFields) -> Persona:
    """Return the persona of a form; examples and written lines, which the form does not show, stay as they are in the file."""
    given = {name: getattr(fields, name) for name in FIELDS}
    given["greetings"] = tuple(text for line in fields.greetings if (text := line.strip()))
    given["tags"] = tuple(text for tag in fields.tags if (text := tag.strip()))
    texts = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
    kept = {"examples": old.examples, "exchanges": old.exchanges} if (old := shelf.get(stem)) else {}
    texts["colour"] = texts["colour"] or Persona.model_fields["colour"].default
    draft: Persona = Persona.model_construct(None, id=stem, **texts, **kept)  # not checked yet
    return draft


def _checked(shelf: PersonaShelf, persona: Persona) -> tuple[str, list[str]]:
    """Return the YAML of a draft and its problems."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_persona(persona, Path(folder))
        text, problems = path.read_text("utf-8"), file_problems(path)
        if not problems:
            load_persona(path)
    for other in shelf.values():
        if other.name == persona.name and other.id != persona.id:
            problems.append(f"the name '{persona.name}' is taken by '{other.id}.yaml'; no two personas share one")
    return text, problems
