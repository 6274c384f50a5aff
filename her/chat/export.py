"""Export a chat as text: JSON lines of the spine, Markdown for readers, ShareGPT for trainers. Nothing is read or written."""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

from her import view
from her.errors import InputError
from her.kinds import BY_KIND, VISIBLE_KINDS
from her.store import Conversation
from her.types import ENVIRONMENT, Part, Transcript, Turn

ChatFormat = Literal["jsonl", "markdown", "sharegpt"]
_ENDINGS = {"jsonl": "jsonl", "markdown": "md", "sharegpt": "json"}
_FROM = {"system": "system", "user": "human", "assistant": "gpt"}
_MARKS = re.compile(r"([\\`*_\[\]<>#|~&!])")


def export(transcript: Transcript, title: str, speakers: str | Sequence[str], form: str) -> tuple[str, str]:
    """Return file name and text of a chat in which the model plays `speakers`; InputError for an unknown format."""
    if form not in get_args(ChatFormat):
        raise InputError(f"the export format {form[:40]!r} is unknown; choose one of {', '.join(get_args(ChatFormat))}")
    if form == "jsonl":
        text = transcript.model_dump_json() + "\n"
    elif form == "markdown":
        text = to_markdown(transcript, title)
    else:
        text = to_sharegpt(transcript, speakers) if isinstance(speakers, str) else to_sharegpt_list(transcript, speakers)
    stem = "-".join(re.findall(r"\w+", title.lower()))[:48].strip("-") or "chat"
    return f"{stem}-{transcript.id[:8]}.{_ENDINGS[form]}", text


def export_chat(transcript: Transcript, conversation: Conversation, form: str, director: bool | None) -> tuple[str, str]:
    """Return file name and text of a stored chat, as its visitor sees it.

    In a scene the thoughts of others stay hidden in every format, as on the page, unless `director` is on (`view.reader`).
    """
    cast = [member.name for member in conversation.cast if conversation.plays(member.name)]
    scene = conversation.ensemble is not None
    viewer = view.reader(conversation.visitor_name, scene=scene, director=director)
    return export(view.seen(transcript, viewer), conversation.title, cast if scene else conversation.speaker, form)


def to_markdown(transcript: Transcript, title: str) -> str:
    """Write a chat for readers: speech plain, acts in italics, thoughts and plans quoted with a label.

    Every mark of Markdown or HTML in a text is escaped, so that nothing in a chat becomes structure or live HTML.
    """
    scenario = transcript.scenario
    head = [f"# {_plain(title)}"]
    head += [f"*{_plain(scenario.place)}*"] if scenario.place else []
    head += [_plain(scenario.setting.strip())] if scenario.setting.strip() else []
    return "\n\n".join([*head, *(_markdown_turn(turn) for turn in transcript.turns)]) + "\n"


def to_sharegpt_list(transcript: Transcript, speakers: Sequence[str]) -> str:
    """Write a scene of several characters as a list of ShareGPT objects: what each of `speakers` saw and said."""
    objects = [_sharegpt(transcript, speaker) | {"id": f"{transcript.id}-{speaker}"} for speaker in speakers]
    return json.dumps(objects, ensure_ascii=False, indent=2) + "\n"


def to_sharegpt(transcript: Transcript, speaker: str) -> str:
    """Write one ShareGPT object. Roles and texts are those of the prompt, so it holds no plan."""
    return json.dumps(_sharegpt(transcript, speaker), ensure_ascii=False, indent=2) + "\n"


def _sharegpt(transcript: Transcript, speaker: str) -> dict[str, Any]:
    messages = view.messages(transcript, speaker)
    is_own_last = any(turn.speaker == speaker and turn.parts for turn in transcript.turns[-1:])
    if is_own_last and messages[-1].role == "user":  # the mark that asks for the next turn
        messages = messages[:-1]
    rows = [{"from": _FROM[message.role], "value": message.content} for message in messages]
    return {"id": transcript.id, "conversations": rows}


def _markdown_turn(turn: Turn) -> str:
    if turn.speaker == ENVIRONMENT:
        return f"*{_plain(turn.text(*VISIBLE_KINDS))}*"
    return "\n\n".join([f"**{_plain(turn.speaker)}**", *(_markdown_part(part) for part in turn.parts)])


def _markdown_part(part: Part) -> str:
    text = _plain(part.text)
    kind = BY_KIND[part.kind]
    if kind.look == "direction":
        return f"*{' '.join(text.split())}*"
    if kind.look == "plain":
        return text
    return "\n".join(f"> {line}".rstrip() for line in f"({kind.label}) {text}".split("\n"))


def _plain(text: str) -> str:
    """Escape every character that Markdown would interpret."""
    return _MARKS.sub(r"\\\1", text)
