"""her/kinds.py: the table is complete, no other file lists the kinds, and one new entry is enough for a new kind."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import get_args

import pytest

from her.kinds import BARE, KINDS, PANEL_KINDS, PLAN, REPLY_KINDS, STARRED, TABLE, VISIBLE_KINDS, Kind
from her.store.records import Seen
from her.ui.words import WORDS
from tests.sources import ROOT, Source, sources

TEXTS_BY_KIND = (
    "her/kinds.py",
    "her/ui/words.py",
    "her/ui/organiser_words.py",
    "her/backends/teacher_turns.py",
    "her/backends/teacher_plans.py",
)
"""The table, and texts in two languages that name the kinds to people."""


def test_the_type_and_the_table_name_the_same_kinds() -> None:
    assert get_args(Kind) == KINDS == ("system_thinking", "role_thinking", "role_action", "speech")


def test_the_derived_lists() -> None:
    assert (PLAN, BARE, STARRED) == ("system_thinking", "speech", "role_action")
    assert REPLY_KINDS == ("role_thinking", "role_action", "speech")
    assert VISIBLE_KINDS == ("role_action", "speech")
    assert PANEL_KINDS == ("system_thinking", "role_thinking")


def test_how_each_kind_looks() -> None:
    assert [(entry.look, entry.css, entry.label, entry.pattern) for entry in TABLE] == [
        ("panel", "reasoning", "model reasoning", ""),
        ("panel", "thought", "inner thought", "think"),
        ("direction", "act", "", "act"),
        ("plain", "speech", "", "speech"),
    ]


def test_no_name_stands_twice() -> None:
    names = [name for entry in TABLE for name in (entry.kind, *entry.aliases)]
    assert len(set(names)) == len(names) and [name.lower() for name in names] == names
    brackets = "".join(entry.brackets.opening + entry.brackets.closing for entry in TABLE if entry.brackets)
    assert len(set(brackets)) == len(brackets)
    for entry in TABLE:
        if entry.brackets:
            assert len(entry.brackets.inside) == len(entry.brackets.opening + entry.brackets.closing)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.kind)
def test_each_kind_has_its_words_and_its_style(entry: object) -> None:
    kind, css, look = entry.kind, entry.css, entry.look  # type: ignore[attr-defined]
    assert kind in WORDS
    assert f".{css}" in "".join(path.read_text("utf-8") for path in (ROOT / "her/ui/static").glob("*.css")) or look == "plain"
    if look == "panel":
        assert {f"toggle_{kind}", f"peek_{kind}"} <= WORDS.keys()
        assert kind in Seen.model_fields, "a rating records whether the rater saw this panel"


def test_the_document_has_every_alias() -> None:
    page = (ROOT / "docs/format.md").read_text("utf-8")
    table = page.partition("Aliases of tag names:")[2].partition("Control tokens")[0]
    written: dict[str, list[str]] = {}
    kind = ""
    for first, names in re.findall(r"^\| (`\w+`)? *\| (`.*`) \|", table, re.MULTILINE):
        kind = first.strip("`") or kind
        written.setdefault(kind, []).extend(re.findall(r"`([^`]+)`", names))
    expected = {entry.kind: [*entry.aliases, *([entry.kind] if entry.kind == BARE else [])] for entry in TABLE}
    assert written == expected


def listed(source: Source) -> Iterator[str]:
    """Places where a literal holds two kinds or more."""
    for node in source.nodes:
        nodes: list[ast.expr | None] = []
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            nodes = [*node.elts]
        elif isinstance(node, ast.Dict):
            nodes = [*node.keys]
        elif isinstance(node, ast.Call):
            nodes = [*node.args]
        names = [item.value for item in nodes if isinstance(item, ast.Constant)]
        # The stages of pipelines/synthesize have two of these names, and always "settings" beside them.
        if len(set(names) & set(KINDS)) > 1 and "settings" not in names:
            yield f"{source.name}:{getattr(node, 'lineno', 0)}"


def test_no_other_file_lists_the_kinds() -> None:
    files = [source for source in sources("her", "pipelines") if source.name not in TEXTS_BY_KIND]
    suspects = [source for source in files if sum(f'"{kind}"' in source.text for kind in KINDS) > 1]
    assert [place for source in suspects for place in listed(source)] == []
    assert list(listed(Source("x.py", 'KINDS = ("speech", "role_action")'))) == ["x.py:1"]


NEW_KIND = """
import sys, types
from pathlib import Path

source = Path("her/kinds.py").read_text("utf-8")
source = source.replace('"speech"]', '"speech", "role_memory"]', 1).replace(
    "TABLE: tuple[PartKind, ...] = (",
    'TABLE: tuple[PartKind, ...] = (PartKind("role_memory", "self", ("memory",), "panel", "memory", '
    'brackets=Brackets("{", "}", "()"), pattern="memory", label="memory"),', 1,
)
import her
module = types.ModuleType("her.kinds")
exec(compile(source, "her/kinds.py", "exec"), module.__dict__)
sys.modules["her.kinds"] = module
from her.chat.export import to_markdown
from her.format import parse, pattern, render, render_coser
from her.types import CastMember, Part, Scenario, Transcript, Turn
from her.view import messages

text = "<system_thinking>p</system_thinking>Ann: <role_memory>snow</role_memory><role_action>a</role_action>hi"
turn = parse(text, "Ann")
assert not turn.defects and render(turn.parts, "Ann") == text, turn
assert parse(text.replace("role_memory", "memory"), "Ann").parts == turn.parts
assert pattern(turn.parts) == "memory-act-speech"
assert render_coser(turn.parts, "Ann") == "Ann: {snow} (a) hi"
for line in ("{snow} (a) hi", "{snow} (a) *b* hi"):
    assert [part.kind for part in parse(line, "Ann", notation="coser").parts][:2] == ["role_memory", "role_action"]
talk = Transcript(scenario=Scenario(), cast=(CastMember(name="Ann"), CastMember(name="Bo")), turns=(turn,))
assert "snow" in messages(talk, "Ann")[2].content and "snow" not in messages(talk, "Bo")[1].content
assert "(memory) snow" in to_markdown(talk, "t")
"""


@pytest.mark.whole
def test_one_entry_is_enough_for_a_new_kind() -> None:
    done = subprocess.run([sys.executable, "-c", NEW_KIND], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
