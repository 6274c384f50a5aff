"""Draw the expert's page: one HTML file in which an expert merges, edits and drops the kept principles and sees why they stand.

It loads nothing and sends nothing: style and script are in it, and a content security policy allows that script alone. Every text
is escaped; characters that turn the direction of writing are shown by their number. The edits leave it as a JSON file for
`her principles apply`.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from her.files.atomic import replacing
from her.judging.preference_pairs import pair_language
from her.judging.principle_edits import FORMAT
from her.judging.principles import LONGEST, DimensionFile, PrincipleEntry, library_hash, load_dimensions
from her.kinds import REPLY_KINDS, Kind
from her.types import Language, Preference, Turn
from pipelines.principles.clusters import text_vectors
from pipelines.principles.made import MadePrinciple, Outcome, RunFigures
from pipelines.principles.selection import Decision

FOLDER = Path(__file__).parent
ALIKE = 0.35
"""Cosine of two TF-IDF rows from which a principle is named as alike; the most alike two of the library have 0.37."""
LONGEST_SHOWN = 2000
"""Characters of a text of a pair that are shown."""
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class Segment(NamedTuple):
    """A piece of a part's text; `marked` is the quote of the verdict."""

    text: str
    marked: bool


class CandidateView(NamedTuple):
    """A turn as the page shows it: its parts as (kind, segments), and whether it follows the principle."""

    parts: list[tuple[Kind, list[Segment]]]
    follows: bool


class PairView(NamedTuple):
    """A held-out pair that a principle decides."""

    number: int
    language: Language
    situation: str
    cue: str
    chosen: CandidateView
    rejected: CandidateView

    @property
    def agrees(self) -> bool:
        """True when the preferred turn follows the principle."""
        return self.chosen.follows


class PrincipleView(NamedTuple):
    """A kept principle with the pairs that the page shows, and the one that the library had before and that is most like it."""

    made: MadePrinciple
    dimension: DimensionFile
    pairs: list[PairView]
    near: PrincipleEntry | None


def write_page(path: Path, outcome: Outcome, figures: RunFigures, library: Path, shown: int) -> None:
    """Write the page of a run.

    Args:
        library: the library of the run, which the edits are made for.
        shown: pairs a principle that are shown.
    """
    dimensions = {file.id: file for file in load_dimensions(library)}
    chosen = [made for made in outcome.made if made.test.kept]
    near = nearest_entries([made.entry for made in chosen], [entry for file in dimensions.values() for entry in file.principles])
    kept = [PrincipleView(made, dimensions[made.dimension], _pairs(made, outcome, shown), near[made.entry.id]) for made in chosen]
    html = (
        _environment()
        .get_template("expert_page.html.jinja")
        .render(
            figures=figures,
            kept=kept,
            rejected=[made for made in outcome.made if not made.test.kept],
            style=Markup((FOLDER / "expert_page.css").read_text("utf-8")),
            script=Markup(_script()),
            script_hash=base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode(),
            state=_state(kept, dimensions, library_hash(library)),
            longest=LONGEST,
        )
    )
    with replacing(path) as file:
        file.write(html)


def visible(text: str) -> str:
    """Return a text whose control characters and marks of direction are shown by their number, such as ⟨U+202E⟩."""
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def nearest_entries(entries: Sequence[PrincipleEntry], library: Sequence[PrincipleEntry]) -> dict[str, PrincipleEntry | None]:
    """Return for each id the other principle of a library whose English wording is most alike; None where none is alike."""
    own = {entry.id for entry in entries}
    others = [entry for entry in library if entry.id not in own]
    if not entries or not others:
        return dict.fromkeys(own)
    vectors = text_vectors([f"{entry.en.name}: {entry.en.definition}" for entry in (*entries, *others)])
    alike = (vectors[: len(entries)] @ vectors[len(entries) :].T).toarray()
    best = alike.argmax(axis=1)
    return {entry.id: others[best[row]] if alike[row, best[row]] >= ALIKE else None for row, entry in enumerate(entries)}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["visible"] = visible
    return environment


@cache
def _script() -> str:
    return "\n" + (FOLDER / "expert_page.js").read_text("utf-8")


def _pairs(made: MadePrinciple, outcome: Outcome, shown: int) -> list[PairView]:
    """Return pairs that the principle decides, in their order; a third of them against the label where there are so many."""
    decided = [each for each in outcome.decisions if each.principle == made.entry.id and each.side in ("chosen", "rejected")]
    against = [each for each in decided if each.side == "rejected"][: shown // 3]
    agreeing = [each for each in decided if each.side == "chosen"][: shown - len(against)]
    drawn = sorted([*against, *agreeing], key=lambda each: each.pair)
    return [_pair_view(each, outcome.held_out[each.pair]) for each in drawn]


def _pair_view(decision: Decision, pair: Preference) -> PairView:
    system, *history = pair.prompt or (None,)
    last = history[-1] if history else None
    return PairView(
        number=decision.pair + 1,
        language=pair_language(pair),
        situation=_short(system.content if system else ""),
        cue=_short(last.content if last else ""),
        chosen=_candidate_view(pair.chosen, decision, "chosen"),
        rejected=_candidate_view(pair.rejected, decision, "rejected"),
    )


def _candidate_view(turn: Turn, decision: Decision, side: str) -> CandidateView:
    parts = [(part.kind, list(_segments(_short(part.text), decision.quote))) for part in turn.parts if part.kind in REPLY_KINDS]
    return CandidateView(parts, decision.side == side)


def _segments(text: str, quote: str) -> Iterator[Segment]:
    """Yield the text in pieces, the first place of the quote marked; a quote with other spaces or marks is not found."""
    start = text.casefold().find(quote.casefold()) if quote else -1
    if start < 0 or len(text.casefold()) != len(text):  # letters whose lower case is longer, such as U+0130
        yield Segment(text, False)
        return
    for piece, marked in ((text[:start], False), (text[start : start + len(quote)], True), (text[start + len(quote) :], False)):
        if piece:
            yield Segment(piece, marked)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} [… {len(text) - LONGEST_SHOWN:,}]"


def _state(kept: Sequence[PrincipleView], dimensions: dict[str, DimensionFile], digest: str) -> dict[str, Any]:
    """Return what the script reads: the principles, the names of all others they can be merged into, the dimensions."""
    own = {view.made.entry.id for view in kept}
    return {
        "format": FORMAT,
        "library": digest,
        "principles": [{**view.made.entry.model_dump(mode="json"), "dimension": view.made.dimension} for view in kept],
        "others": [
            {"id": entry.id, "dimension": file.id, "en": entry.en.name, "zh": entry.zh.name}
            for file in dimensions.values()
            for entry in file.principles
            if entry.id not in own
        ],
        "dimensions": {file.id: {"en": file.en, "zh": file.zh} for file in dimensions.values()},
    }
