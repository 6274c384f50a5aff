"""her/backends/teacher.py: a valid answer to every question of synthesis, in both languages, the same each time."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from her.backends.open import open_backend, parse_spec
from her.backends.teacher import RULES, TeacherBackend, write_answer
from her.errors import BackendError, InputError
from her.prompts import prompt_messages
from her.types import Message, Sampling
from pipelines.principles import answers as principle_answers
from pipelines.synthesize.stages import answers
from pipelines.synthesize.stages.turn_text import turn_labels
from tests.teaching import a_scene

PLAY = "\n\n".join(f"{who}. {words}" for who, words in [("IAGO", "Are your doors locked?"), ("BRABANTIO", "Why, wherefore?")] * 4)
NOVEL = '"Are your doors locked?" said Iago. "Why, wherefore ask you this?" replied Brabantio. ' * 4
CHINESE = "宝玉道：“你怎么来了？”黛玉笑道：“我来看你。”" * 4
TURNS = [
    {"id": "t1", "speaker": "Iago", "text": "Ha! I like not that. Not at all."},
    {"id": "t2", "speaker": "Othello", "text": "What dost thou say?"},
    {"id": "t3", "speaker": "宝玉", "text": "你来了。坐下说话罢。"},
]
BETTER_ZH = {"better": "婉清：又下雨了。我数了七个。有狗在叫。", "worse": "婉清：哦凯。"}
RULES_ASKED = [{"id": "oath", "definition": "swears an oath"}, {"id": "x", "definition": "?"}]
BETTER = "Portia: By my sword. It rains again. I counted seven."
PLAN = {"name": "Iago", "book": "Othello", "turn": "Iago: Ha! I like not that.", "history": ["Othello: Speak, honest Iago."]}
PLAN_ZH = {"name": "宝玉", "book": "红楼梦", "turn": "宝玉: 你来了。坐下说话罢。", "history": [], "motivation": "宝玉想见她。"}
TALK = [{"character": "Iago", "message": "Ha!"}, {"character": "Othello", "message": "What?"}]


@pytest.mark.parametrize(
    ("task", "payload", "schema"),
    [
        ("extract_plots", {"text": PLAY, "chapter": "Act I", "carried": []}, answers.ExtractedPlots),
        ("extract_plots", {"text": NOVEL}, answers.ExtractedPlots),
        ("extract_plots", {"text": CHINESE}, answers.ExtractedPlots),
        ("extract_plots", {"text": "Nobody speaks here."}, answers.ExtractedPlots),
        ("name_characters", {"book": "Othello", "names": ["IAGO", "All"]}, answers.OfficialNames),
        (
            "write_profile",
            {"book": "Othello", "character": "Iago", "lines": []},
            answers.CharacterProfile,
        ),
        ("stage_scene", {"characters": [{"name": "Iago"}], "dialogues": TALK, "scenario": ""}, answers.SceneSetting),
        ("enhance_thoughts", {"turns": TURNS, "ask": ["t1", "t2", "t3"]}, answers.EnhancedTurns),
        ("rewrite_plan", PLAN, answers.RewrittenPlan),
        ("rewrite_plan", PLAN_ZH, answers.RewrittenPlan),
        ("complete_setting", {"setting": "", "characters": [], "dialogues": TURNS, "source": ""}, answers.CompletedSetting),
        ("name_principles", {"better": BETTER, "worse": "Portia: We shall see."}, principle_answers.NamedPrinciples),
        (
            "name_principles",
            BETTER_ZH,
            principle_answers.NamedPrinciples,
        ),
        ("distil_principle", {"principles": ["Swears an oath: On a sword.", "x"]}, principle_answers.DistilledPrinciple),
        (
            "apply_principles",
            {
                "a": BETTER,
                "b": "Portia: No.",
                "principles": RULES_ASKED,
            },
            principle_answers.AppliedPrinciples,
        ),
    ],
)
def test_every_question_has_a_valid_answer(task: str, payload: dict[str, Any], schema: type[BaseModel]) -> None:
    question = [Message(role="system", content=f"Task: {task}\n\nmore"), Message(role="user", content=json.dumps(payload))]
    thinking, text = write_answer(question)
    assert schema.model_validate_json(text) and not thinking
    assert write_answer(question) == ("", text)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", sorted(RULES))
def test_every_rule_has_its_prompt_in_both_languages(task: str, language: Any) -> None:
    system = prompt_messages(task, language, {}, name="Iago", most="3", least="6")[0].content
    assert system.startswith(f"Task: {task}\n") and "$" not in system and "JSON" in system


async def test_a_live_prompt_is_answered_with_thinking_and_a_turn() -> None:
    from her.view import messages

    scene = a_scene()
    prompt = messages(scene.transcript(), "Othello", scene.turns[:2])
    completion = await TeacherBackend().complete(prompt, Sampling())
    assert "portray Othello" in completion.reasoning and completion.text.startswith("Othello: ")
    assert completion.usage and completion.finish == "stop"


def test_it_describes_itself_as_not_a_model() -> None:
    described = open_backend("teacher:").describe()
    assert described.scripted and described.model == "rule-based-teacher"


@pytest.mark.parametrize(("spec", "sentence"), [("teacher:x", "'teacher:' alone is right"), ("teahcer:", "'teacher:' was meant")])
def test_a_wrong_spec_is_one_sentence(spec: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_spec(spec)


@pytest.mark.parametrize(
    ("system", "user", "sentence"),
    [
        ("Task: cook", "{}", "no rule for the task 'cook'"),
        ("Task: rewrite_plan", "no", "is not JSON"),
        ("Task: rewrite_plan", "[]", "list"),
    ],
)
def test_what_it_cannot_answer_is_an_error(system: str, user: str, sentence: str) -> None:
    with pytest.raises(BackendError, match=sentence):
        write_answer([Message(role="system", content=system), Message(role="user", content=user)])


def test_labels_are_short_and_of_ids() -> None:
    assert list(turn_labels(a_scene().turns).values())[:3] == ["t1", "t2", "t3"]
