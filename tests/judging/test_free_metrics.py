"""Test what is measured without a judge: each figure moves with its planted fault, and with no other."""

import pytest

from her.format import parse
from her.judging.free_metrics import FreeMetrics, PersonaLikelihood, free_metrics, transcript_metrics
from her.types import CastMember, Scenario, Transcript, Turn

PLAN = "<system_thinking>{}</system_thinking>"
THOUGHT, ACT = "<role_thinking>{}</role_thinking>", "<role_action>{}</role_action>"
LINES = (
    ("I fear the letter more than the storm.", "folds the letter", "The letter came at dawn, and nobody signed it."),
    ("My brother would laugh at this.", "", "Brother, will you row us over before the tide turns?"),
    ("I must not show her the wound.", "hides one hand", "It is nothing, a scratch from the harbour wall."),
    ("I never trusted that lantern.", "lifts a lantern", "Hold the lantern higher, there is a step missing here."),
)


def said(text: str, speaker: str = "Mara", number: int = 0) -> Turn:
    return parse(text, speaker, notation="her", turn_id=f"t{number}")


def honest(plan: str = "Mara is uneasy; let the letter carry it.") -> list[Turn]:
    return [
        said(f"{PLAN.format(plan)}Mara: {THOUGHT.format(thought)}{ACT.format(act) if act else ''}{speech}", number=number)
        for number, (thought, act, speech) in enumerate(LINES)
    ]


def figures(*turns: Turn) -> FreeMetrics:
    return free_metrics([list(turns)])


def test_honest_turns_have_no_fault() -> None:
    found = figures(*honest())
    assert (found.turns, found.well_formed, found.spoken, found.thoughtful, found.first_person) == (4, 1, 1, 1, 1)
    assert (found.plan_shown, found.assistant, found.looped, found.repeated, found.thought_echoed) == (0, 0, 0, 0, 0)
    assert found.thought_fits is not None and found.thought_fits >= 0.75
    assert (found.patterns, found.top_pattern, found.top_share) == (2, "think-act-speech", 0.75)
    assert found.pattern_entropy == pytest.approx(0.8113, abs=1e-4)
    assert found.figures()["well_formed"] == 1 and "drift" not in found.figures() and "top_pattern" not in found.figures()


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("Mara: Good evening.", "well_formed", 0.0),
        ("<system_thinking>x</system_thinking>Mara: ", "spoken", 0.0),
        (f"Mara: {THOUGHT.format('Mara is sad about the harbour.')}Yes.", "first_person", 0.0),
        (
            f"Mara: {THOUGHT.format('They never saw the harbour burn.')}They never saw the harbour burn, no.",
            "thought_echoed",
            1.0,
        ),
        (f"Mara: {THOUGHT.format('I hate the harbour.')}Bring bread tomorrow.", "thought_fits", 0.0),
        ("Mara: I need to show the fear. Good evening.", "plan_shown", 1.0),
        ("Mara: I should portray her as cold.", "plan_shown", 1.0),
        ("Mara: As an AI language model I have no harbour.", "assistant", 1.0),
        ("Mara: I'm sorry, but I cannot do that here.", "assistant", 1.0),
        ("Mara: Nooooooooooooooooooooooooooo!", "looped", 1.0),
        ("Mara: " + "we go to the harbour now and then home " * 4, "looped", 1.0),
        ("Mara: 作为一个AI，我无法继续。", "assistant", 1.0),
        ("Mara: 我需要表现她的恐惧。", "plan_shown", 1.0),
    ],
)
def test_a_fault_moves_its_figure(text: str, name: str, value: float) -> None:
    assert getattr(figures(said(text)), name) == value


@pytest.mark.parametrize(
    "text",
    [
        "Mara: I need to go home before the play begins. Sorry, I cannot stay.",
        "Mara: I am sorry, but the boat is gone. No, no, no!",
        "Mara: Row, row, row your boat gently down the stream.",
        "Mara: 我不能继续等了，船要走了，哈哈哈哈。",
    ],
)
def test_honest_words_are_no_fault(text: str) -> None:
    found = figures(said(text))
    assert (found.plan_shown, found.assistant, found.looped) == (0, 0, 0)


def test_a_plan_may_draft_the_speech_but_its_own_words_may_not_show() -> None:
    drafted = 'She lies. Draft: "The letter came at dawn, and nobody signed it at all, I swear."'
    speech = "Mara: The letter came at dawn, and nobody signed it at all, I swear."
    assert figures(said(PLAN.format(drafted) + speech)).plan_shown == 0
    leaked = "Mara hides the truth about the letter because she fears the old captain."
    assert figures(said(PLAN.format(leaked) + "Mara: " + leaked)).plan_shown == 1


def test_repetition_counts_from_the_second_turn_and_within_one_speaker() -> None:
    line = "Mara: The harbour is closed tonight and nobody may pass."
    assert figures(said(line), said(line, number=1)).repeated == 1
    assert figures(said(line), said(line.replace("Mara", "Tom"), "Tom", 1)).repeated is None
    assert free_metrics([[said(line)], [said(line)]]).repeated is None  # two conversations


def test_length_drift_is_a_ratio() -> None:
    growing = [
        said("Mara: " + " ".join(f"word{number}{place}" for place in range(10 * 2**number)), number=number) for number in range(6)
    ]
    found = free_metrics([growing])
    assert found.drift == pytest.approx((320 + 160) / 30)
    assert free_metrics([growing[:5]]).drift is None


def test_more_of_the_same_variety_does_not_lower_distinct() -> None:
    few = [said("Mara: " + " ".join(f"w{number}" for number in range(500)))]
    assert free_metrics([few]).distinct_1 == pytest.approx(1)
    assert free_metrics([few * 4]).distinct_1 == pytest.approx(1)  # windows of 500 words
    assert figures(said("Mara: no no no no no no")).distinct_1 == pytest.approx(1 / 6)


def test_log_probabilities_say_what_the_persona_adds() -> None:
    turns = honest()
    given = {"t0": PersonaLikelihood(-20, -30, 10), "t1": PersonaLikelihood(-10, -10, 10), "other": PersonaLikelihood(0, -99, 9)}
    assert free_metrics([turns], likelihoods=given).persona_gain == pytest.approx(0.5)
    assert figures(*turns).persona_gain is None


def test_nothing_is_none_and_not_a_number() -> None:
    empty = free_metrics([])
    assert empty.turns == empty.conversations == 0 and empty.well_formed is None
    assert empty.figures() == {"conversations": 0, "turns": 0, "patterns": 0}
    assert FreeMetrics.model_validate_json(empty.model_dump_json()) == empty


def test_transcripts_are_measured_by_language_without_the_environment() -> None:
    def scene(language: str, *turns: Turn) -> Transcript:
        scenario = Scenario(id=language, language=language)
        return Transcript(id=language, scenario=scenario, cast=(CastMember(name="Mara"),), turns=turns)

    wind = said("Environment: The wind rises and rises and rises.", "Environment", 9)
    found = transcript_metrics([scene("en", *honest(), wind), scene("zh", said("Mara: 我们走吧，天快黑了。"))])
    assert {language: each.turns for language, each in found.items()} == {"en": 4, "zh": 1}
    assert found["zh"].words == 8 and transcript_metrics([scene("en", wind)])["en"].turns == 0
