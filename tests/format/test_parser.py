"""her/format/parser.py: tables of valid and malformed turns, what is shown while text streams, and the laws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.errors import InputError
from her.format import DEFECTS, Parser, normalise, parse, render
from her.format.markers import Notation
from her.format.tags import NAMES
from her.kinds import PLAN
from tests.format.turns import KIND, NAME, NOTATIONS, OTHERS, TEXT, A, P, T, parts_of, stream

# text, parts, defects
Row = tuple[str, str, str]

CLEAN: list[Row] = [
    (f"{P}Iago: {T}{A}hi", "p:p|t:t|a:a|s:hi", ""),
    (f"{P}Iago: hi", "p:p|s:hi", ""),
    (f"{P}Iago:hi", "p:p|s:hi", ""),
    (f"{P}Iago: {A}", "p:p|a:a", ""),
    (f"{P}Iago: hi{A}ho{T}", "p:p|s:hi|a:a|s:ho|t:t", ""),
    (f"{P}Iago: hi\n\nho\n", "p:p|s:hi¶¶ho", ""),
    (f"{P}Iago: 你好{A}she said “hi”，对。", "p:p|s:你好|a:a|s:she said “hi”，对。", ""),
    (f"{P}Iago: 1 < 2 & 3 > 2 <b>bold</b> <3 &lt; &amp;", "p:p|s:1 < 2 & 3 > 2 <b>bold</b> <3 &lt; &amp;", ""),
    (f"{P}Iago: {A}*stars* [and] (brackets)", "p:p|a:a|s:*stars* [and] (brackets)", ""),
    (f"{P}Iago: **now** it is *never* 2*3*4", "p:p|s:**now** it is *never* 2*3*4", ""),
    (f"{P}Iago: see f(x) and :( there", "p:p|s:see f(x) and :( there", ""),
    (f"{P}Iago: ```py\nx = 1\n```", "p:p|s:```py\nx = 1\n```".replace("\n", "¶"), ""),
    (f"{P}Iago: I met Othello: a fool", "p:p|s:I met Othello: a fool", ""),
    (f"{P}Iago: Iagoo: x", "p:p|s:Iagoo: x", ""),
    (f"{P}Iago: &lt;role_action>no&lt;/role_action>", "p:p|s:<role_action>no</role_action>", ""),
    (f"{P}Iago: &amp;lt;think>", "p:p|s:&lt;think>", ""),
]

ALIASES: list[Row] = [
    *(
        (f"<{name}>x</{name}>Iago: hi", "p:x|s:hi", "alias")
        for name, kind in NAMES.items()
        if kind == "system_thinking" and name != "system_thinking"
    ),
    *(
        (f"{P}Iago: <{name}>x</{name}>hi", f"p:p|{'t' if kind == 'role_thinking' else 'a'}:x|s:hi", "alias")
        for name, kind in NAMES.items()
        if kind in ("role_thinking", "role_action") and name not in KIND.values()
    ),
    *((f"{P}Iago: {A}<{name}>hi</{name}>", "p:p|a:a|s:hi", "alias") for name in ("role_speech", "speech")),
    ("<System_Thinking>p</SYSTEM_THINKING>Iago: hi", "p:p|s:hi", "alias"),
    ("< system_thinking >p< / system_thinking >Iago: hi", "p:p|s:hi", "alias"),
    ("<think>p</system_thinking>Iago: hi", "p:p|s:hi", "alias"),
    (f"{P}Iago: <speech>hi{A}ho</speech>", "p:p|s:hi|a:a|s:ho", "alias"),
    (
        "<|channel|>analysis<|message|>p<|end|><|start|>assistant<|channel|>final<|message|>Iago: hi<|return|>",
        "p:p|s:hi",
        "alias",
    ),
    ("<|channel|>analysis<|message|>p<|channel|>final<|message|>Iago: hi", "p:p|s:hi", "alias"),
    ("<|channel>thought p<channel|>Iago: hi", "p:p|s:hi", "alias space_at_tag"),
    ("<|START_THINKING|>p<|END_THINKING|><|START_RESPONSE|>Iago: hi<|END_RESPONSE|>", "p:p|s:hi", "alias"),
    ("<|think|>p<|content|>Iago: hi", "p:p|s:hi", "alias"),
]

PLANS: list[Row] = [
    ("p</think>Iago: hi", "p:p|s:hi", "alias missing_open"),
    ("p</system_thinking>Iago: hi", "p:p|s:hi", "missing_open"),
    ("I see him.\nOthello: a fool.\n</think>Iago: hi", "p:I see him. Othello: a fool.|s:hi", "alias missing_open space_at_tag"),
    ("<system_thinking>p", "p:p", "unclosed_plan"),
    (
        "<think>\nI plan\n<role_action>x</role_action>",
        "p:I plan¶<role_action>x</role_action>",
        "alias nested unclosed_plan space_at_tag",
    ),
    ("Iago: hi<system_thinking>p", "p:p|s:hi", "plan_not_first unclosed_plan"),
    ("<system_thinking>p</system_thi", "p:p", "cut_tag unclosed_plan"),
    (
        "<system_thinking>a<role_thinking>b</role_thinking>c</system_thinking>Iago: hi",
        "p:a<role_thinking>b</role_thinking>c|s:hi",
        "nested",
    ),
    ("<system_thinking>a<think>b</think>c</system_thinking>Iago: hi", "p:a<think>b</think>c|s:hi", "nested"),
    ("<system_thinking>use <think> tags</system_thinking>Iago: hi", "p:use <think> tags|s:hi", "nested"),
    ("<think>a<think>b</think>Iago: hi", "p:a<think>b|s:hi", "alias nested"),
    (f"Iago: hi{P}", "p:p|s:hi", "plan_not_first"),
    (f"{A}{P}Iago: hi", "p:p|a:a|s:hi", "plan_not_first name_misplaced"),
    (f"{P}<think>q</think>Iago: hi", "p:p q|s:hi", "alias plan_repeated"),
    (f"{P}Iago: hi<think>q</think>", "p:p q|s:hi", "alias plan_not_first plan_repeated"),
    ("<think>想</think><think>法</think>Iago: hi", "p:想法|s:hi", "alias plan_repeated"),
    ("Iago: hi", "s:hi", "plan_missing"),
    ("<think>\n\n</think>\n\nIago: hi", "s:hi", "alias space_at_tag empty_part plan_missing"),
    ("</think>Iago: hi", "s:hi", "alias missing_open plan_missing"),
]

ROLES: list[Row] = [
    (f"{P}Iago: <role_thinking>t<role_action>a</role_action>hi", "p:p|t:t|a:a|s:hi", "missing_close"),
    (f"{P}Iago: {T}hi<role_thinking>why", "p:p|t:t|s:hi|t:why", "missing_close"),
    (f"{P}Iago: <role_action>bows", "p:p|a:bows", "missing_close"),
    (f"{P}Iago: <role_thinking>t</role_action>hi", "p:p|t:t|s:hi", "missing_close"),
    (f"{P}Iago: t</role_thinking>hi", "p:p|t:t|s:hi", "missing_open"),
    (f"{P}Iago: {T}a</role_action>hi", "p:p|t:t|a:a|s:hi", "missing_open"),
    (f"{P}Iago: {T}</role_thinking>hi", "p:p|t:t|s:hi", "missing_open"),
    (f"{P}Iago: <role_thinking>a<role_action>b</role_action>c</role_thinking>d", "p:p|t:a|a:b|t:c|s:d", "nested"),
    (f"{P}Iago: <role_thinking>a<role_action>b</role_action></role_thinking>d", "p:p|t:a|a:b|s:d", "nested"),
    (
        f"{P}Iago: <role_thinking>a<system_thinking>b</system_thinking>c",
        "p:p b|t:a|s:c",
        "plan_not_first plan_repeated missing_close",
    ),
    (f"{P}Iago: {T}<role_action></role_action>hi", "p:p|t:t|s:hi", "empty_part"),
    (f"{P}Iago: hi<role_action> </role_action>ho", "p:p|s:hi ho", "empty_part space_at_tag"),
    (f"{P}Iago: {T}<role_thinking>u</role_thinking>hi", "p:p|t:t u|s:hi", "same_kind_neighbours"),
    (f"{P}Iago: <role_thinking>想</role_thinking><role_thinking>法</role_thinking>hi", "p:p|t:想法|s:hi", "same_kind_neighbours"),
    (f"{P}\nIago: hi", "p:p|s:hi", "space_at_tag"),
    (f"{P}Iago: {T} hi {A}", "p:p|t:t|s:hi|a:a", "space_at_tag"),
    (f"{P}Iago: <role_thinking> t </role_thinking>hi", "p:p|t:t|s:hi", "space_at_tag"),
    (f"{P}Iago: hi<role_act", "p:p|s:hi", "cut_tag"),
    (f"{P}Iago: {T}hi</", "p:p|t:t|s:hi", "cut_tag"),
    (f"{P}Iago: <role_action>bows</role_acti", "p:p|a:bows", "cut_tag missing_close"),
    (f"{P}Iago: hi <", "p:p|s:hi <", ""),
]

NAMES_AND_LINES: list[Row] = [
    (f"{P}hi", "p:p|s:hi", "name_missing"),
    (f"{P}Iago hi", "p:p|s:Iago hi", "name_missing"),
    (f"{P}Iago: Iago: hi", "p:p|s:hi", "name_doubled"),
    (f"{P}Iago：hi", "p:p|s:hi", "name_fullwidth_colon"),
    (f"{P}**Iago**: hi", "p:p|s:hi", "alias"),
    (f"{P}**Iago:** hi", "p:p|s:hi", "alias"),
    (f"Iago: {P}hi", "p:p|s:hi", "name_misplaced"),
    (f"Iago: {P}Iago: hi", "p:p|s:hi", "name_misplaced"),
    (f"{P}{T}Iago: hi", "p:p|t:t|s:hi", "name_misplaced"),
    (f"{P}Iago: hi\nIago: ho", "p:p|s:hi¶ho", "name_misplaced"),
    (f"{P}Iago: hi\nOthello: ho\nIago: ha", "p:p|s:hi", "other_speaker"),
    (f"{P}Iago: hi\n\n  **Othello:** ho", "p:p|s:hi", "other_speaker"),
    (f"{P}Iago: 嗯\n奥赛罗：你好", "p:p|s:嗯", "other_speaker"),
    (f"{P}Othello: ho", "p:p", "other_speaker empty"),
    (f"{P}Iago: {A}Othello: ho{P}", "p:p|a:a", "other_speaker"),
    ("hi\nOthello: ho", "s:hi", "name_missing other_speaker plan_missing"),
    ("", "", "empty"),
    (" \n ", "", "empty"),
    ("Iago: ", "", "empty"),
    (f"{P}Iago: ", "p:p", "empty"),
]

FENCES: list[Row] = [
    (f"{P}Iago: see\n```\n{A}\n```\nso", f"p:p|s:see¶```¶{A}¶```¶so", "tag_in_fence"),
    (f"{P}Iago: see\n```\n<think>x</think>\n```", "p:p|s:see¶```¶<think>x</think>¶```", "tag_in_fence"),
    (f"{P}Iago: see\n```\n{T}so", "p:p|s:see¶```|t:t|s:so", "space_at_tag"),
    (f"{P}Iago: see\n```\nx\nOthello: ho", "p:p|s:see¶```¶x", "other_speaker"),
    (f"{P}Iago: see\n```\nOthello: ho\n```", "p:p|s:see¶```¶Othello: ho¶```", ""),
    (f"```xml\n{P}Iago: hi\n```", "p:p|s:hi", "fenced"),
    (f"```\n{P}Iago: {A}hi\n```\n", "p:p|a:a|s:hi", "fenced"),
    (f"{P}```xml\n{A}Iago: hi\n```", "p:p|a:a|s:hi", "fenced name_misplaced"),
    (f"{P}Iago: &grave;``\nx", "p:p|s:```¶x", ""),
]

FOREIGN: list[tuple[Notation, str, str, str]] = [
    ("coser", "[t] (a) hi", "t:t|a:a|s:hi", ""),
    ("coser", "Hi(a)there", "s:Hi|a:a|s:there", ""),
    ("coser", "（笑）你好（点头）", "a:笑|s:你好|a:点头", ""),
    ("coser", "[a [b] c] hi", "t:a [b] c|s:hi", ""),
    ("coser", "(a (b) c) hi", "a:a (b) c|s:hi", ""),
    ("coser", "hi [t", "s:hi|t:t", "missing_close"),
    ("coser", "hi (a", "s:hi|a:a", "missing_close"),
    ("coser", "hi () ho", "s:hi ho", "empty_part"),
    ("coser", "*bows* [t] hi", "a:bows|t:t|s:hi", ""),
    ("coser", f"[t]{A}hi", "t:t|a:a|s:hi", ""),
    ("asterisk", "*bows* (so) hi", "a:bows|s:(so) hi", ""),
    ("asterisk", "*bows low", "s:*bows low", "-"),
    ("asterisk", "*bows*_low", "s:*bows*_low", "-"),
    ("asterisk", "*bows*low* hi", "a:bows*low|s:hi", ""),
    ("asterisk", "*bows *low* hi", "a:bows *low|s:hi", ""),
    ("asterisk", "* bows* hi", "s:* bows* hi", "-"),
    ("auto", "*bows* Well, *never*. *turns*", "a:bows|s:Well,|a:never turns", ""),
    ("auto", "*bows*\n[t] (a) hi :( f(x)", "a:bows|t:t|a:a|s:hi :( f(x)", ""),
    ("auto", "[t] (a) hi", "t:t|a:a|s:hi", ""),
    ("auto", "你好（笑）再见", "s:你好|a:笑|s:再见", ""),
    ("auto", "*one\ntwo* three", "a:one¶two|s:three", ""),
    ("auto", "*he **really** bows* hi", "a:he **really** bows|s:hi", ""),
    ("auto", f"[t] hi{A}", "t:t|s:hi|a:a", ""),
    ("auto", "*x" + A, "s:*x|a:a", "-"),
    ("her", "[t] (a) *b* hi", "s:[t] (a) *b* hi", "-"),
]

GOLDEN = CLEAN + ALIASES + PLANS + ROLES + NAMES_AND_LINES + FENCES


@pytest.mark.parametrize(("text", "parts", "defects"), GOLDEN)
def test_golden(text: str, parts: str, defects: str) -> None:
    turn = parse(text, NAME, OTHERS, turn_id="id")
    assert turn.parts == parts_of(parts)
    assert {defect.name for defect in turn.defects} == set(defects.split())
    assert turn.raw == text
    assert stream(text, list(range(len(text)))) == turn


@pytest.mark.parametrize(("notation", "text", "parts", "defects"), FOREIGN)
def test_foreign_notation(notation: Notation, text: str, parts: str, defects: str) -> None:
    turn = parse(f"{P}Iago: {text}", NAME, OTHERS, notation, turn_id="id")
    assert turn.parts == parts_of("p:p|" + parts)
    assert {defect.name for defect in turn.defects} == ({*defects.split()} | {"foreign_notation"} if defects != "-" else set())
    assert stream(f"{P}Iago: {text}", list(range(99)), notation) == turn


def test_the_tables_meet_every_defect() -> None:
    met = {defect.name for text, _, _ in GOLDEN for defect in parse(text, NAME, OTHERS).defects}
    assert met | {"foreign_notation"} == set(DEFECTS)


def test_defect_details_name_the_place() -> None:
    turn = parse(f"{P}Iago: hi{' ' * 10}<role_action>x", NAME)
    assert [(defect.name, defect.detail) for defect in turn.defects] == [
        ("space_at_tag", "at 54"),
        ("missing_close", "<role_action> at 68"),
    ]


def test_done_once_another_speaks() -> None:
    parser = Parser(NAME, OTHERS)
    for piece, done in ((f"{P}Iago: hi", False), ("\nOthel", False), ("lo", False), (":", True), (" more", True)):
        parser.feed(piece)
        assert parser.done is done
    assert parser.parts == parts_of("p:p|s:hi")


def test_a_plan_without_opening_tag_may_name_others() -> None:
    parser = Parser(NAME, OTHERS)
    parser.feed("He waits.\nOthello: the Moor")
    assert not parser.done
    parser.feed(" <think>x</think>\n</think>Iago: hi")
    assert parser.close().parts == parts_of("p:He waits. Othello: the Moor x|s:hi")


def test_a_reply_full_of_plans_without_an_end_takes_few_readings() -> None:
    """Each was read again from the beginning, within the last reading: a long reply took hours, or no more calls fitted."""
    turn = parse("<think>a\nIago: b\n" * 2_000, NAME)
    assert turn.parts[0].kind == PLAN and turn.parts[1:] == parts_of("s:b b b b")


def test_only_names_of_others_end_a_turn() -> None:
    parser = Parser(NAME, ("", NAME, "Othello"))
    assert parser.others == ("Othello",)
    turn = parse(f"{P}Iago: hi\n: ho\nIago: ha", NAME, ("", NAME))
    assert turn.parts == parts_of("p:p|s:hi¶: ho¶ha")


def test_unknown_notation() -> None:
    with pytest.raises(InputError, match="'novel' is unknown; write one of her, coser"):
        Parser(NAME, (), "novel")  # type: ignore[arg-type]


@given(TEXT, st.lists(st.integers(0, 500), max_size=40), NOTATIONS, st.sampled_from(["", "r"]))
@settings(max_examples=40)
def test_law_any_split_gives_the_whole(text: str, cuts: list[int], notation: Notation, reasoning: str) -> None:
    whole = parse(text, NAME, OTHERS, notation, reasoning, "id")
    assert stream(text, cuts, notation, reasoning) == whole
    assert stream(text, list(range(len(text))), notation, reasoning) == whole
    assert text.startswith(whole.raw) and (notation == "auto" or whole.raw == text)


@given(TEXT, NOTATIONS)
@settings(max_examples=40)
def test_law_what_is_read_is_canonical(text: str, notation: Notation) -> None:
    turn = parse(text, NAME, OTHERS, notation)
    assert turn.parts == normalise(turn.parts, NAME)
    assert {defect.name for defect in turn.defects} <= set(DEFECTS)
    assert all(len(defect.detail) <= 80 for defect in turn.defects)
    again = parse(render(turn.parts, NAME), NAME, notation="her")
    assert again.parts == turn.parts


@given(TEXT, TEXT, st.sampled_from(["system_thinking", "think", "seed:think"]), st.booleans())
@settings(max_examples=40)
def test_law_an_open_plan_never_shows(before: str, after: str, name: str, closed: bool) -> None:
    """Whatever surrounds it, the inside of a plan is system_thinking at every moment, or not shown yet."""
    inside = "SECRET one SECRET"
    text = f"{before}<{name}>{inside}" + (f"</{name}>{after}" if closed else "")
    parser = Parser(NAME, OTHERS)
    parser.feed(before)
    if parser._state.fence is not None or parser._state.mode == PLAN:
        return
    for char in text[len(before) :]:
        parser.feed(char)
        assert "SECRET" not in "".join(part.text for part in parser.parts if part.kind != PLAN)
    if not closed:
        assert "SECRET" not in "".join(part.text for part in parser.close().parts if part.kind != PLAN)
