"""Test judging: what the judge is shown, what it is asked again, what is missing, and which turn a flaw points at."""

import pytest

from her.errors import BackendError
from her.format import parse
from her.types import Turn
from pipelines.evaluate.judgements import TITLES
from pipelines.evaluate.judging import SceneJudge, SceneQuestion, credited_rounds, judge_messages
from pipelines.evaluate.score_rows import JudgedCase, score_rows
from pipelines.evaluate.simulation import Played, Simulation
from tests.pipelines.evaluate.asking import FakeAsker, Reply, a_case, dimension_of, flaws, protocol
from tests.pipelines.evaluate.cases import SPOKEN

SC, AN, CF, SQ = TITLES


def question(turns=None, thoughts="hidden", case=None, given=0) -> SceneQuestion:
    case = case or a_case()
    transcript = case.scene.transcript()
    if turns is not None:
        transcript = transcript.model_copy(update={"turns": tuple(turns)})
    return SceneQuestion(case, transcript, thoughts, given)


async def judged(answer, asked=None, **changes):
    asker = FakeAsker(answer)
    found = await SceneJudge(asker, protocol(**changes)).judge(asked or question())
    return found, asker


async def test_each_dimension_is_asked_once_and_read():
    severities = {SC: (1,), AN: (2, 3), CF: (), SQ: (10,)}
    found, asker = await judged(lambda role, call: flaws(dimension_of(call), *severities[dimension_of(call)]))
    assert {name: each.severity for name, each in found.items()} == {SC: 1, AN: 5, CF: 0, SQ: 10}
    assert len(asker.asked) == 4 and {call.sampling.temperature for call in asker.of("judge")} == {0}


async def test_an_unreadable_judgement_alone_is_asked_again_and_told_why():
    first = {AN}

    def answer(role, call):
        dimension = dimension_of(call)
        return "I liked it." if dimension in first and not first.remove(dimension) else flaws(dimension, 2)

    found, asker = await judged(answer)
    assert found[AN].severity == 2 and [each.reasked for each in found.values()] == [0, 1, 0, 0]
    again = [call for call in asker.of("judge") if dimension_of(call) == AN][1]
    assert again.sampling.temperature == 1 and again.number == 1
    assert "no complete JSON object" in again.messages[-1].content and again.messages[-2].content == "I liked it."


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("nothing to see", "unreadable: it holds no complete JSON"),
        (Reply(flaws(SC, 1), truncated=True), "unreadable: it was truncated"),
        (Reply(reason="timeout"), "timeout: the call failed"),
        (Reply(reason="empty"), "empty: the call failed"),
    ],
)
async def test_a_judgement_that_stays_unreadable_is_missing_and_never_a_number(reply, why):
    found, asker = await judged(lambda role, call: reply)
    assert all(each.flaws is None and each.problem.startswith(why) for each in found.values())
    assert len(asker.asked) == (4 if isinstance(reply, Reply) and reply.reason else 12)


async def test_an_error_of_the_run_is_raised_when_the_other_judgements_have_ended():
    def answer(role, call):
        if dimension_of(call) == SC:
            raise BackendError("no endpoint is left", "unreachable")
        return flaws(dimension_of(call))

    asker = FakeAsker(answer)
    with pytest.raises(BackendError, match="no endpoint"):
        await SceneJudge(asker, protocol()).judge(question())
    assert len(asker.asked) == 4


def test_the_judge_sees_names_and_one_notation_whatever_the_actor_wrote():
    tagged = "<system_thinking>I plan.</system_thinking>Mira Vance: <role_thinking>Mine.</role_thinking>Say it."
    turns = [
        parse(tagged, "Mira Vance", turn_id="a"),
        parse("[Also mine.] (nods) Yes.", "Doctor Hale", turn_id="b"),
        parse("*turns* No.", "Mira Vance", turn_id="c"),
        parse("<think>hm</think>Speak.", "Doctor Hale", turn_id="d"),
    ]
    hidden, visible = (judge_messages(question(turns, view), AN, protocol(numbered=False)) for view in ("hidden", "visible"))
    lines = hidden[1].content.split("\n\n")
    assert lines[-4].endswith("Mira Vance: Say it.") and lines[-3:] == [
        "Doctor Hale: (nods) Yes.",
        "Mira Vance: (turns) No.",
        "Doctor Hale: Speak.",
    ]
    assert "Mira Vance: [Mine.] Say it." in visible[1].content and "[Also mine.]" in visible[1].content
    for messages in (hidden, visible):
        assert "I plan" not in str(messages) and "hm" not in messages[1].content
    assert "[He has not slept.]" in visible[0].content and "He has not slept" not in hidden[0].content


def test_the_reference_and_the_plot_are_the_judges_alone_and_the_question_is_filled():
    system, user = judge_messages(question(), CF, protocol())
    for shown in ("The Doctor burns the letter", "Then you have read it", "lives on Sorrow Point", "Mira Vance, Doctor Hale"):
        assert shown in system.content
    assert "{" not in system.content.replace('{"Character Fidelity"', "").replace('{"flaws"', "").replace('[{"turn"', "")
    assert "$" not in system.content and "[1] Mira Vance:" in user.content


def test_text_of_a_book_that_looks_like_a_field_stays_text():
    case = a_case(scenario="A $major and a {major_characters} and a $form.")
    assert "A $major and a {major_characters} and a $form." in judge_messages(question(case=case), CF, protocol())[0].content


def test_a_later_coser_judge_reads_lines_without_names():
    user = judge_messages(question(), AN, protocol("coser-head"))[1]
    assert "\n\n(sets the lamp down) You are early" in f"\n\n{user.content.split('===', 2)[2].strip()}"
    assert "Mira Vance: (sets" in judge_messages(question(), AN, protocol("coser-paper"))[1].content


@pytest.mark.parametrize(("credit", "rounds"), [("seen", 4), ("all", 5)])
def test_a_turn_in_which_nothing_is_seen_earns_no_credit(credit, rounds):
    # SPOKEN has five turns of characters, and one of them is a thought alone.
    assert credited_rounds(question(), protocol(credit=credit)) == rounds
    assert len(SPOKEN) == 6


def test_given_turns_earn_no_credit_and_the_judge_is_told():
    assert credited_rounds(question(given=2), protocol()) == 2
    assert "first 2 turns are those of the book" in judge_messages(question(given=2), AN, protocol())[0].content


TURNS = [
    Turn(id=name, speaker="Mira Vance", parts=parse(text, "Mira Vance", notation="coser").parts)
    for name, text in (
        ("t1", "The lamp is out again."),
        ("t2", "You told me the boat was late, and it was not."),
        ("t3", "The lamp is out again."),
    )
]


@pytest.mark.parametrize(
    ("flaw", "turn", "numbered"),
    [
        ({"turn": 3}, "t3", True),
        ({"turn": "#2"}, "t2", True),
        ({"turn": 9, "instance": 'She says "you told me the boat was late".'}, "t2", True),
        ({"turn": 3, "instance": 'She says "You told me the BOAT was late".'}, "t2", False),
        ({"instance": "Mira says the lamp is out again, twice."}, "t1", False),
        ({"instance": "She is dull."}, "", True),
        ({"instance": ""}, "", True),
    ],
)
async def test_a_flaw_points_at_its_turn(flaw, turn, numbered):
    found, _ = await judged(lambda role, call: flaws(dimension_of(call), 1, **flaw), question(TURNS), numbered=numbered)
    assert {each.flaws[0].turn for each in found.values()} == {turn}


async def test_rows_have_a_score_or_a_reason_for_every_dimension_and_view():
    case, both = a_case(), protocol(thoughts=("hidden", "visible"))
    transcript = case.scene.transcript()
    played = Played(Simulation(case=case.key, run=0, key="k", transcript="t", model="m", ended="end"), transcript)
    answers = {SC: (2,), AN: ("high",), CF: (), SQ: (10,)}
    judgements = {}
    for view in both.thoughts:
        judge = SceneJudge(FakeAsker(lambda role, call: flaws(dimension_of(call), *answers[dimension_of(call)])), both)
        judgements[view] = await judge.judge(SceneQuestion(case, transcript, view))
    rows = list(score_rows(JudgedCase(case, played, judgements), both, "judge"))
    scores = {(row.thoughts, row.dimension): row.score for row in rows}
    # Credit of .3 for each of 4 turns that are seen, and of 5 where thoughts are: 100 - 5 * (2 - 1.2) = 96.
    assert scores == {
        ("hidden", SC): 96, ("hidden", AN): None, ("hidden", CF): 100, ("hidden", SQ): 56,
        ("visible", SC): 97.5, ("visible", AN): None, ("visible", CF): 100, ("visible", SQ): 57.5,
    }  # fmt: skip
    assert {row.missing for row in rows if row.score is None} == {"unreadable: the severity 'high' is no number from 1 to 5"}
    assert {(row.rounds, row.characters, row.judge, row.ended) for row in rows} == {(5, 2, "judge", True)}


@pytest.mark.parametrize(
    ("turns", "failed", "why"),
    [
        ((), "", "nothing was played"),
        ((Turn(speaker="Environment", parts=parse("Rain.", "Environment").parts),), "", "nothing was played"),
        (TURNS, "actor: the call failed: timeout", "not played to its end: actor: the call failed"),
    ],
)
def test_a_scene_that_was_not_played_has_no_score(turns, failed, why):
    case = a_case()
    transcript = case.scene.transcript().model_copy(update={"turns": tuple(turns)})
    simulation = Simulation(case=case.key, run=0, key="k", transcript="t", model="m", failed=failed)
    rows = list(score_rows(JudgedCase(case, Played(simulation, transcript), {}), protocol(), "judge"))
    assert len(rows) == 8 and all(row.score is None and row.missing.startswith(why) for row in rows)
