"""Requests of a persona's writer; they are answered where the playground was started with `her play --author` alone."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from her.types import Language, Value
from her.ui.request_fields import Name, OptionalId, Request

Long = Annotated[str, StringConstraints(max_length=100_000)]


class PersonaFields(Value):
    """Persona as the form has it: texts, each of `greetings` in CoSER notation; an empty field is left out of the file."""

    name: Name = ""
    source: Name = ""
    language: Language = "en"
    tagline: Name = ""
    colour: Name = ""
    tags: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    profile: Long = ""
    background: Long = ""
    voice: Long = ""
    motivation: Long = ""
    greetings: Annotated[tuple[Long, ...], Field(max_length=50)] = ()


class AuthorRequest(Request):
    """List the persona files that cannot be used now, and show one persona in the form; an empty id is a new one."""

    act: Literal["author"]
    persona: OptionalId = ""


class DraftPersonaRequest(Request):
    """Check what is in the form, and show it as a reader will see it; nothing is written."""

    act: Literal["draft_persona"]
    persona: OptionalId
    fields: PersonaFields


class SavePersonaRequest(Request):
    """Write the form as a file; with `replace` it takes the place of the file of that name."""

    act: Literal["save_persona"]
    persona: OptionalId
    fields: PersonaFields
    replace: bool = False


WritingRequest = AuthorRequest | DraftPersonaRequest | SavePersonaRequest
