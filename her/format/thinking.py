"""Tell a model's native thinking from what it wrote as its answer, where a server sends both in one text."""

import re

from her.format.tags import TAG, WRITTEN, read_tag, unescape
from her.kinds import PLAN

_JSON = re.compile(r"\s*(?:```\w*\s*)?[\[{]")
_OPENING, _CLOSING = WRITTEN[PLAN]


def written_plan(text: str) -> str:
    """Return the last plan that stands between the canonical tags; empty when there is none."""
    _, opened, rest = text.rpartition(_OPENING)
    plan, closed, _ = rest.partition(_CLOSING)
    return unescape(plan.strip()) if opened and closed else ""


def after_thinking(text: str) -> str:
    """Return an answer in JSON without thinking before it, which may hold JSON as well; empty when the thinking has no end.

    A text that begins with JSON is returned as it is: a tag in it stands in one of its values.
    """
    if _JSON.match(text):
        return text
    ends = [match.end() for match in TAG.finditer(text) if _closes_thinking(match[0])]
    # Thinking may name its own closing tag; the one that JSON follows is the end.
    for end in ends:
        if _JSON.match(text, end):
            return text[end:]
    opened = TAG.match(text.lstrip())
    if not ends and opened and read_tag(opened[0]).kind == PLAN:
        return ""
    return text[ends[-1] :] if ends else text


def _closes_thinking(token: str) -> bool:
    tag = read_tag(token)
    return tag.kind == PLAN and tag.move in ("close", "end")
