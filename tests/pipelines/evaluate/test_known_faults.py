"""Faults E1 to E17 of the published evaluation code of HER, each by its number: none of them comes back.

The numbers are those of the list in docs/evaluation.md.
"""

import ast
import json
import logging
import sys
from importlib import import_module, util
from pathlib import Path

import pytest

from her import paths, view
from her.files import jsonl
from her.format import parse
from her.runs.folder import run_folder
from her.types import ENVIRONMENT
from pipelines.evaluate.judgements import TITLES
from pipelines.evaluate.judging import SceneJudge, SceneQuestion, judge_messages, shown_turns
from pipelines.evaluate.players import reader_of
from pipelines.evaluate.protocols import PROTOCOLS
from pipelines.evaluate.retrieval import RetrievalOptions
from pipelines.evaluate.scores import JUDGED_DIMENSIONS, CaseScore
from pipelines.evaluate.text_overlap import Overlap, overlap, require_packages
from tests.pipelines.evaluate.asking import FakeAsker, a_case, acting, options, play, protocol, scripted
from tests.pipelines.evaluate.cases import case, write_cases
from tests.pipelines.evaluate.serving import evaluate, scene_server, spec


@pytest.fixture
def unreported(monkeypatch):
    """Leave out the report and the overlap of a run, which take seconds to import and to draw."""
    monkeypatch.setattr("pipelines.evaluate.evaluation.write_report", lambda folder, title, **_: (None, []))
    monkeypatch.setattr("pipelines.evaluate.score_rows.overlap", lambda simulation, reference: Overlap(0.1, 0.2))


SOURCES = sorted(Path(import_module("pipelines.evaluate").__file__).parent.glob("*.py"))


@pytest.mark.whole
@pytest.mark.parametrize("unknown", ["actor", "judge"])
def test_e1_an_unknown_model_is_refused_before_the_first_call_and_scores_nothing(tmp_path, capsys, caplog, unknown):
    with scene_server() as server:
        specs = {"actor": spec(server), "judge": spec(server), unknown: spec(server, "weather-9b")}
        assert evaluate(write_cases(tmp_path, case()), **specs) == 2
        assert not server.questions
    assert "does not have this model; it has scene" in caplog.text
    assert not (run_folder("coser") / "scores.jsonl").exists()


@pytest.mark.whole
@pytest.mark.usefixtures("unreported")
def test_e2_a_second_model_never_gets_the_transcripts_of_the_first(tmp_path, caplog):
    cases = write_cases(tmp_path, case())
    with scene_server() as first, scene_server(lambda role, text: text.replace("the", "thee"), model="other") as second:
        assert evaluate(cases, spec(first)) == 0
        before = (run_folder("coser") / "transcripts.jsonl").read_bytes()
        assert evaluate(cases, spec(second), spec(first)) == 2
        assert "the actor of run 'coser' was 'scene' and would now be 'other'" in caplog.text
        assert (run_folder("coser") / "transcripts.jsonl").read_bytes() == before and not second.chats
        assert evaluate(cases, spec(second), spec(first), name="second") == 0
        assert second.chats
    rows = list(jsonl.read(run_folder("second") / "scores.jsonl", CaseScore))
    assert {row.model for row in rows} == {"other"}


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_e3_a_judgement_that_cannot_be_read_is_missing_under_every_protocol(name):
    played = a_case()
    asker = FakeAsker(lambda role, call: "I give it 50 of 100.")
    for thoughts in ("hidden", "visible"):
        found = await SceneJudge(asker, protocol(name)).judge(SceneQuestion(played, played.scene.transcript(), thoughts))
        assert all(each.flaws is None and each.problem for each in found.values())
    assert len(asker.asked) == 2 * 4 * PROTOCOLS[name].judge_asks


@pytest.mark.parametrize("name", ["corrected", "coser-paper", "her"])
async def test_e4_the_judge_reads_who_speaks_before_every_line(name):
    asker = FakeAsker(acting("Well then.", "(nods)", "[So.] Yes."))
    played = await play(asker, a_case(), options(name, rounds=6))
    user = judge_messages(SceneQuestion(a_case(), played.transcript, "visible"), "anthropomorphism", protocol(name))[1]
    lines = user.content.split("\n\n")
    seen = shown_turns(played.transcript.turns, "visible")
    assert len(seen) >= 5 and all(f"{each.turn.speaker}: " in user.content for each in seen)
    assert all(any(f"{speaker}: " in text for speaker in ("Mira Vance", "Doctor Hale", ENVIRONMENT)) for text in lines)


def test_e5_turns_in_every_notation_are_shown_in_one():
    written = {
        "her": "<system_thinking>p</system_thinking>Ann: <role_thinking>t</role_thinking><role_action>nods</role_action>Yes.",
        "coser": "[t] (nods) Yes.",
        "asterisk": "[t] *nods* Yes.",
        "reasoning model": "<think>p</think>[t] (nods) Yes.",
    }
    for view_of, expected in (("visible", "Ann: [t] (nods) Yes."), ("hidden", "Ann: (nods) Yes.")):
        assert {shown_turns([parse(text, "Ann")], view_of)[0].text for text in written.values()} == {expected}


@pytest.mark.whole
@pytest.mark.usefixtures("unreported")
def test_e6_e7_e8_e12_all_roles_are_asked_by_plain_chat_messages_whatever_the_model_is_called(tmp_path):
    cases = write_cases(tmp_path, case())
    sent = {}
    for model in ("her", "weather", "other-coser-llama3"):
        with scene_server(model=model) as server:
            assert evaluate(cases, spec(server), name=model, protocol="her") == 0
            sent[model] = [{**body, "model": ""} for body in server.chats]
            assert {request.path for request in server.requests} == {"/v1/models", "/v1/chat/completions"}
    ordered = [sorted(json.dumps(body, sort_keys=True) for body in bodies) for bodies in sent.values()]
    assert ordered[0] == ordered[1] == ordered[2]  # E12: nothing follows from a part of the name
    for body in sent["her"]:
        assert all(set(message) == {"role", "content"} for message in body["messages"])  # E8: no name field
        assert "<|im_" not in json.dumps(body)  # E6: templates are the server's
        assert not {"repetition_penalty", "presence_penalty", "frequency_penalty"} & set(body)  # E7
    assert len({body["temperature"] for body in sent["her"] if "You judge" not in str(body["messages"][0])}) == 1


async def test_e9_the_prompt_of_an_actor_is_that_of_training_and_holds_no_plan():
    planned = "<system_thinking>A plan of mine.</system_thinking>"
    asker = FakeAsker(acting(*(f"{planned}Line {number}." for number in range(9))))
    played = await play(asker, a_case(), options("her", rounds=9))
    calls = asker.of("actor")
    expected = [messages for _, messages in view.prompts(played.transcript)]
    assert [call.messages for call in calls] == expected and len(calls) >= 3
    assert not any("A plan of mine" in message.content for call in calls for message in call.messages[1:])
    for call in calls:
        roles = [message.role for message in call.messages]
        assert all(a != b for a, b in zip(roles, roles[1:], strict=False))  # neighbours of one role are one message


def test_e10_visible_brackets_and_spaces_stay():
    text = "<role_thinking>hm</role_thinking>The sign says [CLOSED].  Ann: that is you."
    assert shown_turns([parse(text, "Bo")], "hidden")[0].text == "Bo: The sign says [CLOSED].  Ann: that is you."


@pytest.mark.parametrize("name", ["corrected", "her"])
@pytest.mark.parametrize("answer", ["Jane Bennet", "Next Speaker: Jane Bennet", "I think Jane Bennet should answer."])
def test_e11_a_name_is_never_read_as_a_part_of_it(name, answer):
    reading = reader_of(PROTOCOLS[name])(answer, ["Jane", "Jane Bennet", ENVIRONMENT])
    assert reading.name == "Jane Bennet"
    assert reader_of(PROTOCOLS[name])("Jane", ["Jane", "Jane Bennet"]).name == "Jane"


def test_e13_no_source_holds_a_chat_template_of_its_own_with_a_broken_token():
    assert not [path.name for path in SOURCES if "<|im" in path.read_text("utf-8") or "|}" in path.read_text("utf-8")]


def test_e14_nothing_is_decided_by_the_environment_at_import_and_nothing_is_printed(caplog):
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Attribute, ast.Name))}
        assert not names & {"os.environ", "os.getenv", "print"}, path.name
    with caplog.at_level(logging.DEBUG, logger="pipelines.evaluate"):
        logging.getLogger("pipelines.evaluate.evaluation").debug("said at once")
    assert "said at once" in caplog.text


@pytest.mark.whole
@pytest.mark.parametrize("package", ["nltk", "rouge"])
def test_e15_a_missing_package_ends_the_run_at_its_start_and_no_overlap_becomes_0(monkeypatch, package):
    real = util.find_spec
    monkeypatch.setattr("pipelines.evaluate.text_overlap.find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(ModuleNotFoundError, match=package):
        require_packages()
    monkeypatch.setitem(sys.modules, package, None)
    for module in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    from pipelines.evaluate import text_overlap

    text_overlap._tokenizer.cache_clear()
    with pytest.raises(ImportError):
        overlap("a text of words", "a text of words")


def test_e15_both_packages_are_declared():
    declared = (paths.ROOT / "pyproject.toml").read_text("utf-8")
    extra = declared.split("\nevaluate = [")[1].split("]")[0]
    assert '"nltk' in extra and '"rouge' in extra


def test_e16_the_documented_dimensions_are_those_of_the_code():
    page = (paths.ROOT / "docs/evaluation.md").read_text("utf-8")
    assert tuple(TITLES) == JUDGED_DIMENSIONS and all(title in page for title in TITLES.values())
    for wrong in ("Engagement", "Naturalness", "Relevance"):
        assert wrong not in page


async def test_e17_the_chooser_sees_who_spoke_knowledge_is_filled_in_and_so_are_the_main_characters(tmp_path):
    asker = FakeAsker(lambda role, call: "random" if role == "next_speaker" else scripted(role, call))
    book = {
        "plots": [
            {"i_p": 0, "summary": "The lamp was built.", "text": "Old Vance built the lamp of Sorrow Point with his own hands.",
             "key_characters": [{"name": name, "experience": "saw it"} for name in ("Mira Vance", "Doctor Hale")]},
            {"i_p": 9, "summary": "It is burnt.", "text": "He burnt the letter.", "key_characters": [{"name": "Mira Vance"}]},
        ],
        "split_plot_index": 9,
    }  # fmt: skip
    (tmp_path / "The Lamp at Sorrow Point.json").write_text(json.dumps(book))
    chosen = options(rounds=5, retrieval=RetrievalOptions(mode="raw_text", books=tmp_path))
    played = await play(asker, a_case(number=9), chosen)
    last = asker.of("next_speaker")[-1].messages
    said = "\n".join(message.content for message in last[1:])
    assert all(f"{turn.speaker}: " in said for turn in played.transcript.turns[:4]) and "random" not in said
    for call in asker.of("actor"):
        assert "Old Vance built the lamp" in call.messages[0].content and "He burnt" not in call.messages[0].content
    question = SceneQuestion(a_case(), played.transcript, "hidden")
    for dimension in TITLES:
        for name in PROTOCOLS:
            system = judge_messages(question, dimension, protocol(name))[0].content
            assert "{major" not in system and "$" not in system
    assert "Judge Mira Vance, Doctor Hale only" in judge_messages(question, "character_fidelity", protocol())[0].content
