"""Render a turn as HTML with the templates in her/ui/templates, in which every name and text is escaped.

A turn is an <article class="turn persona|mine|environment"> with
  header.html.jinja   monogram, name, marks
  layers.html.jinja   the plan (aside.panel.reasoning), then div.body with panels (aside.panel) and p.lines in order
  footer.html.jinja   swipes, thumbs, stars, tools
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup, escape

from her.chat.views import TurnView
from her.kinds import BY_KIND, PANEL_KINDS, PLAN, Kind
from her.types import ENVIRONMENT, Language, Part

_STRESS = re.compile(r"\*([^*\n]{1,200})\*")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_SMALL_WORDS = ("the", "of", "a")
Texts = dict[str, str]


def stored_turn(view: TurnView, language: Language, texts: Texts) -> str:
    """Render a stored turn."""
    return _render(
        "turn.html.jinja",
        id=view.turn.id,
        lang=language,
        role="mine" if view.mine else "environment" if view.turn.speaker == ENVIRONMENT else "persona",
        state=json.dumps(_state(view), ensure_ascii=False),
        marks=list(_marks(view, texts)),
        view=view,
        thumb=view.rating.rating.thumb if view.rating else None,
        starred=bool(view.rating and view.rating.rating.stars),
        peeks=_peeks(view.turn.parts),
        **_header(view.turn.speaker, view.mine),
        **_layers(view.turn.parts, steers=view.played),
        texts=texts,
    )


def live_turn(speaker: str, parts: Sequence[Part], pending: str, language: Language, texts: Texts) -> str:
    """Render the reply that is being written; `parts` are what may be shown of it, `pending` is its id."""
    return _render(
        "reply.html.jinja",
        id=pending,
        lang=language,
        waiting=all(part.kind == PLAN for part in parts),
        marks=(),
        **_header(speaker, mine=False),
        **_layers(parts),
        texts=texts,
    )


def pair_side(speaker: str, parts: Sequence[Part], language: Language, texts: Texts, *, whole: bool) -> str:
    """Render one of two replies that are shown side by side; `whole` once both are. No id or mark tells them apart."""
    return _render(
        "side.html.jinja",
        lang=language,
        whole=whole,
        waiting=not whole and all(part.kind == PLAN for part in parts),
        peeks=_peeks(parts),
        speaker=speaker,
        **_layers(parts),
        texts=texts,
    )


def _peeks(parts: Sequence[Part]) -> list[Kind]:
    return [kind for kind in reversed(PANEL_KINDS) if any(part.kind == kind for part in parts)]


def layers(parts: Sequence[Part], texts: Texts) -> str:
    """Render the panels and lines of a turn without its header and footer."""
    return _render("layers.html.jinja", **_layers(parts), texts=texts)


def monogram(name: str) -> str:
    """Return one or two letters for a name: its initials, or the last character of a Chinese name."""
    if _CJK.search(name):
        return name.strip()[-1:]
    words = [word for word in re.findall(r"[^\W\d_]+", name) if word.lower() not in _SMALL_WORDS]
    return "".join(word[0].upper() for word in (words[:1] + words[1:][-1:])) or "?"


class OneLine(Extension):
    """Remove line breaks and indentation of a template, which would be visible: `.lines` is `white-space: pre-wrap`."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return the source on one line."""
        return re.sub(r"\s*\n\s*", "", source)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=[OneLine],
        auto_reload=False,  # compiled once: the files do not change while the process runs
    )
    environment.filters["stressed"] = _stressed
    environment.globals["kinds"] = BY_KIND
    return environment


def _render(template: str, **variables: Any) -> str:
    return _environment().get_template(template).render(variables)


def _header(speaker: str, mine: bool) -> dict[str, Any]:
    """Return the variables of the header; the narrator has none, and the visitor has no monogram."""
    return {
        "speaker": speaker,
        "letters": "" if mine else monogram(speaker),
        "narrated": speaker == ENVIRONMENT and not mine,
    }


def _layers(parts: Sequence[Part], steers: bool = False) -> dict[str, Any]:
    """Return the variables of the layers: plans, and runs of panels or lines in their order, and whether panels are rewritten."""
    runs = groupby((part for part in parts if part.kind != PLAN), key=lambda part: part.kind in PANEL_KINDS)
    return {
        "plans": [part for part in parts if part.kind == PLAN],
        "blocks": [(are_panels, list(run)) for are_panels, run in runs],
        "steers": steers,
    }


def _state(view: TurnView) -> dict[str, Any]:
    """Return what the page has to know of a turn when a person acts on it."""
    return {
        "swipe": [view.swipe_index, view.swipe_count],
        "played": view.played,
        "mine": view.mine,
        "rating": view.rating.rating.model_dump(exclude={"seen"}) if view.rating else None,
        "saved": view.rating.created_at if view.rating else None,
    }


def _marks(view: TurnView, texts: Texts) -> Iterator[tuple[str, str, str]]:
    """Yield class, title and text of each mark in the header."""
    steered = view.origin == "steer"
    flags = {"kept": view.kept, "steered": steered, "edited": view.edited and not steered}
    flags |= {"stopped": view.stopped, "truncated": view.truncated}
    for name, is_set in flags.items():
        if is_set:
            yield name, "", texts[name]
    defects = sorted({defect.name for defect in view.turn.defects})
    if defects and view.origin in ("model", "continue", "steer"):
        yield "defects", ", ".join(defects), f"{texts['defects']}: {len(defects)}"


def _stressed(text: str) -> Markup:
    """Escape the text and set *stress* in italics; nothing else is interpreted."""
    return Markup(_STRESS.sub(r"<i>\1</i>", str(escape(text))))
