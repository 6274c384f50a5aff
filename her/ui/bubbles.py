"""A turn as HTML. Every name and text is escaped here by markupsafe; nothing hostile passes as structure.

<article class="turn persona|mine|environment">
  header   monogram, name, marks
  section.panel.reasoning      system_thinking: cool, squared, sans
  div.body                     in order: p.lines (speech, em.act), aside.panel.thought (role_thinking)
  footer                       swipes, tools, thumbs; built for the turns a person may act on
"""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from markupsafe import Markup, escape

from her.chat.views import TurnView
from her.kinds import BY_KIND, PANEL_KINDS, PLAN, Kind
from her.types import ENVIRONMENT, Language, Part

_EMPHASIS = re.compile(r"\*([^*\n]{1,200})\*")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def icon(name: str, shape: str = "icon") -> Markup:
    """A drawing of the sprite in static/stage.html."""
    return Markup('<svg class="{}" viewBox="0 0 24 24" aria-hidden="true"><use href="#her-{}"></use></svg>').format(shape, name)


def monogram(name: str) -> str:
    """One or two letters that stand for a name: initials, or the last character of a Chinese one."""
    if _CJK.search(name):
        return name.strip()[-1:]
    words = [word for word in re.findall(r"[^\W\d_]+", name) if word.lower() not in ("the", "of", "a")]
    return "".join(word[0].upper() for word in (words[:1] + words[1:][-1:])) or "?"


def mark(name: str) -> Markup:
    """The drawn monogram of a speaker (SVG; no image is ever fetched), in the colour of the chat's persona."""
    return Markup(
        '<svg class="monogram" viewBox="0 0 48 48" role="img" aria-hidden="true"><circle cx="24" cy="24" r="23"/>'
        '<circle class="ring" cx="24" cy="24" r="20.5"/>'
        '<text x="24" y="25" text-anchor="middle" dominant-baseline="central">{}</text></svg>'
    ).format(monogram(name))


def turn(view: TurnView, language: Language, words: dict[str, str]) -> Markup:
    """One stored turn as an article."""
    said = view.turn
    state = {
        "swipe": [view.swipe_index, view.swipe_count],
        "played": view.played,
        "mine": view.mine,
        "rating": view.rating.rating.model_dump(exclude={"seen"}) if view.rating else None,
        "saved": view.rating.created_at if view.rating else None,
    }
    return Markup(
        '<article class="turn {role}" id="t-{id}" data-id="{id}" data-state="{state}" lang="{lang}" tabindex="-1">'
        "{header}{parts}{footer}</article>"
    ).format(
        role=_role(view.turn.speaker, view.mine),
        id=said.id,
        state=json.dumps(state, ensure_ascii=False),
        lang=language,
        header=_header(said.speaker, view.mine, _marks(view, words)),
        parts=layers(said.parts, words),
        footer=_footer(view, words),
    )


def live(speaker: str, parts: Sequence[Part], pending: str, language: Language, words: dict[str, str]) -> Markup:
    """The turn that is being written, with what can safely be shown of it so far."""
    waiting = Markup('<p class="waiting" role="status">{} {}<span class="dots" aria-hidden="true"></span></p>').format(
        speaker, words["thinking_of"]
    )
    visible = any(part.kind != PLAN for part in parts)
    return Markup(
        '<article class="turn persona live" id="t-{id}" data-id="{id}" lang="{lang}" aria-busy="true">{}{}{}</article>'
    ).format(_header(speaker, False, ()), layers(parts, words), Markup("") if visible else waiting, id=pending, lang=language)


def layers(parts: Sequence[Part], words: dict[str, str]) -> Markup:
    """The panels and lines of a turn: reasoning first, then the body in its order."""
    plan = Markup("").join(_panel(part, words) for part in parts if part.kind == PLAN)
    rest = [part for part in parts if part.kind != PLAN]
    blocks = Markup("").join(_block(panel, group, words) for panel, group in groupby(rest, key=_is_panel))
    return Markup('{}<div class="body">{}</div>').format(plan, blocks)


def _is_panel(part: Part) -> bool:
    return part.kind in PANEL_KINDS


def _block(panels: bool, parts: Iterable[Part], words: dict[str, str]) -> Markup:
    if panels:
        return Markup("").join(_panel(part, words) for part in parts)
    inner = Markup(" ").join(
        Markup('<{0} class="{1}">{2}</{0}>').format(
            "em" if BY_KIND[part.kind].look == "direction" else "span", BY_KIND[part.kind].css, _emphasis(part.text)
        )
        for part in parts
    )
    return Markup('<p class="lines">{}</p>').format(inner)


def _panel(part: Part, words: dict[str, str]) -> Markup:
    """Inner thoughts as a warm aside, model reasoning as a cool section: own icon, name and shape."""
    kind: Kind = part.kind
    name = BY_KIND[kind].css
    return Markup(
        '<aside class="panel {name}" data-kind="{kind}" aria-label="{label}">'
        '<h4><button type="button" class="fold" data-act="peek-{kind}" title="{title}">{icon}<span>{label}</span></button></h4>'
        "<p>{text}</p></aside>"
    ).format(name=name, kind=kind, label=words[kind], title=words[f"peek_{kind}"], icon=icon(name), text=part.text)


def _emphasis(text: str) -> Markup:
    """Escaped text in which *stress* is set in italics; nothing else is interpreted."""
    return Markup(_EMPHASIS.sub(r"<i>\1</i>", str(escape(text))))


def _role(speaker: str, mine: bool) -> str:
    return "mine" if mine else "environment" if speaker == ENVIRONMENT else "persona"


def _header(speaker: str, mine: bool, marks: Iterable[Markup]) -> Markup:
    if speaker == ENVIRONMENT and not mine:
        return Markup("")
    picture = Markup("") if mine else mark(speaker)
    return Markup('<header>{}<h3>{}</h3><span class="marks">{}</span></header>').format(picture, speaker, Markup("").join(marks))


def _marks(view: TurnView, words: dict[str, str]) -> Iterable[Markup]:
    for name in ("kept", "edited", "stopped", "truncated"):
        if getattr(view, name):
            yield Markup('<span class="mark {}">{}</span>').format(name, words[name])
    defects = sorted({defect.name for defect in view.turn.defects})
    if defects and view.origin in ("model", "continue"):
        yield Markup('<span class="mark defects" title="{}">{}: {}</span>').format(
            ", ".join(defects), words["defects"], len(defects)
        )


def _footer(view: TurnView, words: dict[str, str]) -> Markup:
    """The small bar at the foot of a turn: peeks, swipes, thumbs, tools."""
    kinds = {part.kind for part in view.turn.parts}
    row = [
        _button(f"peek-{kind}", f"peek_{kind}", words, icon(BY_KIND[kind].css)) for kind in reversed(PANEL_KINDS) if kind in kinds
    ]
    if view.swipe_count > 1:
        row.append(_swipes(view, words))
    if view.played:
        row += [_choice(view, words), _thumbs(view, words)]
    if view.mine or view.played:
        row.append(_button("tools", "more", words, Markup("<span aria-hidden='true'>⋯</span>")))
    row.append(Markup('<span class="stamp" role="status"></span>'))
    return Markup("<footer>{}</footer>").format(Markup("").join(row))


def _swipes(view: TurnView, words: dict[str, str]) -> Markup:
    """The siblings of a turn: other replies of the model, or the branches of one's own words."""
    count = Markup('<span class="count">{}/{}</span>').format(view.swipe_index + 1, view.swipe_count)
    back = _button("swipe-back", "previous_swipe", words, Markup("‹"), off=view.swipe_index == 0)
    forth = _button("swipe-forth", "next_swipe", words, Markup("›"), off=view.swipe_index + 1 == view.swipe_count)
    return Markup('<span class="swipes">{}{}{}</span>').format(back, count, forth)


def _choice(view: TurnView, words: dict[str, str]) -> Markup:
    """Keep this reply, or ask for another."""
    again = _button("regenerate", "regenerate", words, Markup("↻"))
    if view.swipe_count == 1:
        return again
    return _text_button("keep", "kept" if view.kept else "keep", words, view.kept) + again


def _thumbs(view: TurnView, words: dict[str, str]) -> Markup:
    thumb = view.rating.rating.thumb if view.rating else None
    starred = bool(view.rating and view.rating.rating.stars)
    return Markup("").join(
        (
            _button("like", "like", words, icon("thumb", "thumb"), pressed=thumb == 1),
            _button("dislike", "dislike", words, icon("thumb", "thumb"), pressed=thumb == -1),
            _button("rate", "rate", words, Markup("★" if starred else "☆"), pressed=starred),
        )
    )


def _button(
    act: str, word: str, words: dict[str, str], face: Markup, *, off: bool = False, pressed: bool | None = None
) -> Markup:
    state = Markup("") if pressed is None else Markup(' aria-pressed="{}"').format(str(pressed).lower())
    return Markup(
        '<button type="button" class="tool {act}" data-act="{act}" title="{label}" aria-label="{label}"{state}{off}>'
        "{face}</button>"
    ).format(act=act, label=words[word], state=state, off=Markup(" disabled") if off else Markup(""), face=face)


def _text_button(act: str, word: str, words: dict[str, str], pressed: bool) -> Markup:
    return Markup('<button type="button" class="tool wordy {0}" data-act="{0}" aria-pressed="{1}">{2}</button>').format(
        act, str(pressed).lower(), words[word]
    )
