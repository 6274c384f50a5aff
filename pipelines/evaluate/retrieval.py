"""Give actors passages of their book: the retrieval modes of CoSER (arXiv:2502.09082), without the plots that hold the answer.

A mode names what is searched: the `raw_text` of plots, `expr` (plot summary and what the character went through) or `conv`
(conversations of the book). The query is the last three messages, the hits stand in the order of the book, and they are ranked by
BM25. CoSER ranks with a dense embedder and searches all plots, the tested one included; here the plot of the case and the plots
that CoSER holds out (index >= `split_plot_index`) are left out unless `held_out` is asked for, and the scores are then flagged.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from her.errors import InputError
from her.format import parse
from her.types import ENVIRONMENT, Message, Value
from her.view import Viewer, line
from pipelines.evaluate.cases import ActingCase

RetrievalMode = Literal["none", "raw_text", "expr1", "expr3", "conv1", "expr3_conv1", "expr10_conv1"]
_PLAN: dict[str, tuple[tuple[str, int], ...]] = {
    "none": (),
    "raw_text": (("raw_text", 1),),
    "expr1": (("expr", 1),),
    "expr3": (("expr", 3),),
    "conv1": (("conv", 1),),
    "expr3_conv1": (("expr", 3), ("conv", 1)),
    "expr10_conv1": (("expr", 10), ("conv", 1)),
}
"""Mode -> what is searched, and how many passages of it are shown."""
SIZE, OVERLAP = 1000, 200
"""Characters of a passage, and those it shares with the next one."""
QUERY_MESSAGES = 3


class RetrievalOptions(Value):
    """Settings of retrieval.

    Args:
        mode: what the actors are given of their book.
        books: folder of CoSER books, `TITLE.json`.
        held_out: whether held-out plots and the plot of the case itself may be found; every score is then flagged as leaked.
    """

    mode: RetrievalMode = "none"
    books: Path | None = None
    held_out: bool = False


class _Plot(NamedTuple):
    """One plot of a book: its documents by kind, and who takes part."""

    number: int
    people: frozenset[str]
    documents: Mapping[str, tuple[tuple[str, str], ...]]
    """Kind -> pairs (whose document it is, empty for everybody's; text)."""


class BookMemory:
    """Memory of the characters of one case.

    Raises:
        InputError: the case's book is not in the folder or is no book.
    """

    def __init__(self, case: ActingCase, options: RetrievalOptions) -> None:
        self._mode = options.mode
        plots, split = _book(_book_path(case, options))
        tested = case.scene.plot
        self._plots = [plot for plot in plots if options.held_out or (plot.number != tested and plot.number < split)]
        self.leaked = options.held_out and any(plot.number == tested or plot.number >= split for plot in plots)
        self._indices: dict[tuple[str, str], _Index] = {}

    def recall(self, name: str, messages: Sequence[Message]) -> str:
        """Return the passages that fit the last messages, in the order of the book; empty when there are none."""
        said = [message.content for message in messages if message.role != "system"][-QUERY_MESSAGES:]
        found = [passage for kind, count in _PLAN[self._mode] for passage in self._index(name, kind).best("\n".join(said), count)]
        return "\n\n".join(found)

    def _index(self, name: str, kind: str) -> "_Index":
        if (name, kind) not in self._indices:
            texts = [
                text for plot in self._plots if name in plot.people for owner, text in plot.documents[kind] if owner in ("", name)
            ]
            self._indices[name, kind] = _Index([passage for text in texts for passage in passages(text)])
        return self._indices[name, kind]


class _Index:
    """Passages of one character, ranked by BM25 (bm25s)."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self._texts = texts
        self._ranker = bm25s.BM25()
        if texts:
            self._ranker.index(bm25s.tokenize(list(texts), show_progress=False), show_progress=False)

    def best(self, query: str, count: int) -> list[str]:
        """Return the passages that fit best, in the order of the book."""
        import bm25s

        if len(self._texts) <= count:
            return list(self._texts)
        places, _ = self._ranker.retrieve(bm25s.tokenize([query], show_progress=False), k=count, show_progress=False)
        return [self._texts[place] for place in sorted(int(place) for place in places[0])]


def passages(text: str) -> Iterator[str]:
    """Yield a text in passages of at most SIZE characters that share OVERLAP, cut at a space where there is one."""
    start = 0
    while start < len(text):
        end = start + SIZE
        if end < len(text) and (space := text.rfind(" ", start + OVERLAP + 1, end)) > 0:
            end = space
        yield text[start:end].strip()
        if end >= len(text):
            return
        start = end - OVERLAP


def require_books(cases: Sequence[ActingCase], options: RetrievalOptions) -> None:
    """Refuse retrieval for cases whose book is missing, before anything is asked.

    Raises:
        InputError: names up to three of the missing books.
    """
    if options.mode == "none":
        return
    missing = sorted({case.scene.book for case in cases if not _book_path(case, options).is_file()})
    if missing:
        raise InputError(
            f"retrieval.mode={options.mode}: no book for {', '.join(map(repr, missing[:3]))} in '{options.books}'; "
            "put TITLE.json of CoSER's data/final there, or leave those cases out"
        )


def _book_path(case: ActingCase, options: RetrievalOptions) -> Path:
    if options.books is None:
        raise InputError(f"retrieval.mode={options.mode} needs retrieval.books=FOLDER, with CoSER's books")
    return options.books / f"{case.scene.book}.json"


@cache
def _book(path: Path) -> tuple[tuple[_Plot, ...], int]:
    """Return the plots of a book, and the index of its first held-out plot."""
    try:
        book = json.loads(path.read_text("utf-8"))
        plots = book["plots"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise InputError(f"book '{path.name}' cannot be used for retrieval ({why}); give a book of CoSER's data/final") from error
    read = tuple(_plot(plot, number) for number, plot in enumerate(plots) if isinstance(plot, dict))
    # CoSER holds out the last tenth; a file without the index is split likewise.
    split = book.get("split_plot_index")
    return read, split if isinstance(split, int) else int(0.9 * len(plots))


def _plot(plot: dict[str, Any], number: int) -> _Plot:
    conversations = plot.get("conversation") or []
    conversations = conversations if isinstance(conversations, list) else [conversations]
    happened = {
        str(entry.get("name", "")): str(entry.get("experience") or entry.get("summary") or "")
        for entry in plot.get("key_characters") or []
        if isinstance(entry, dict)
    }
    spoke = {str(said.get("character", "")) for each in conversations for said in each.get("dialogues") or []}
    summary, text = str(plot.get("summary") or ""), str(plot.get("text") or "")
    told = tuple(("", _conversation(summary, each)) for each in conversations if each.get("dialogues"))
    lived = tuple((name, f"{summary}\n{what}".strip()) for name, what in happened.items())
    index = plot.get("i_p")
    return _Plot(
        index if isinstance(index, int) else number,
        frozenset(happened) | spoke,
        {"raw_text": (("", text),) if text.strip() else (), "expr": lived, "conv": told},
    )


def _conversation(summary: str, conversation: dict[str, Any]) -> str:
    """Return a conversation as somebody who was there remembers it: what was said and done, and nobody's thoughts."""
    turns = [
        parse(str(said.get("message") or ""), str(said.get("character") or ENVIRONMENT), notation="coser")
        for said in conversation["dialogues"]
    ]
    heads = [summary, str(conversation.get("scenario") or ""), str(conversation.get("topic") or "")]
    return "\n".join(filter(None, [*heads, *(line(turn, Viewer(kind="environment")) for turn in turns)]))
