"""Requirements R1 to R10 on the reward half, one test each: faults of published reward-model code that must not come back.

Each docstring says what is asked. The tests go through the functions that a run calls, with the fault planted in the input.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from her import config
from her.errors import InputError
from her.files import jsonl
from her.judging.interchange import from_verl, to_pair_row, to_verl
from her.judging.judge import PairJudge, PairQuestion, pair_messages, principle_lines
from her.judging.pointwise import point_messages
from her.judging.principles import load_principles
from her.judging.role_play_benchmarks import read_labelled
from her.judging.verdicts import Slot
from her.prompts import template
from her.runs.pipelines import PIPELINES, pipeline_main, pipeline_options
from her.types import Message
from pipelines.reward.generative_heads import HEADS
from pipelines.reward.generative_rows import choose_twins, grpo_rows, sft_rows
from pipelines.reward.labelled_pairs import SIDES, Critique, LabelledPair
from pipelines.reward.options import PairOptions
from pipelines.reward.pairs import load_pairs
from pipelines.reward.planted_critic import critique, planted_pairs
from tests.judging.test_judge import LIBRARY, PROMPT, pair, turn
from tests.judging.test_labelled import preference
from tests.test_docs import COMMANDS, fault

HEAD = HEADS["pair"]
PAIRS = planted_pairs(12, (), 5)
PROMPTS = [(name, language) for name in ("judge_pair", "judge_point", "bare_pair", "general_point") for language in ("en", "zh")]


class Letters:
    """A chat template that encodes letters, in place of a model's: rows can be read again."""

    def ids(self, messages: Any, ask: bool) -> list[int]:
        text = "".join(f"<{message.role}>{message.content}" for message in messages)
        return [ord(letter) for letter in text + ("<assistant>" if ask else "<end>")]


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def critiques(pairs: Any = PAIRS, change: Any = lambda text, number: text) -> list[Critique]:
    """Return a text about both sides of each pair; `change` plants a fault in it."""
    sides = [(each, side) for each in pairs for side in SIDES]
    return [
        Critique(pair=each, side=side, text=change(critique(each, side), number), judge="teacher")
        for number, (each, side) in enumerate(sides)
    ]


def trained_texts(found: list[Critique]) -> list[str]:
    """Return what the rows of fine-tuning train, without the mark of its end."""
    twins, _ = choose_twins(found, HEAD)
    rows, _ = sft_rows(Letters(), HEAD, twins, "short", 100_000)  # type: ignore[arg-type]
    return [text_of([label for label in labels if label >= 0]).removesuffix("<end>") for labels in rows["labels"]]


def test_r1_a_split_that_no_file_has_is_refused_and_named(tmp_path: Path) -> None:
    """Nothing is lost because one step names its splits otherwise than the next: an unknown split ends the run with counts."""
    rows = [preference(f"Mara: No, {number}.", conversation=f"c{number}", split="rm_sft") for number in range(20)]
    jsonl.write(tmp_path / "p.jsonl", rows)
    assert len(load_pairs(PairOptions(files=(tmp_path / "p.jsonl",), split="rm_sft", held_out_share=0.3), 1).train) > 5
    with pytest.raises(InputError, match=r"no preference to train on \(other split: 20\)"):
        load_pairs(PairOptions(files=(tmp_path / "p.jsonl",), split="sft_single"), 1)


def test_r2_what_is_trained_was_written_by_a_model_byte_for_byte() -> None:
    """No reasoning is made up or stitched together: a text is trained as it was written, or left out and counted."""
    written = critiques(change=lambda text, number: f"  Let me see, {number}.\n\n{text}")
    assert trained_texts(written) == [each.text for each in written]
    torn = critiques(change=lambda text, number: text if number % 4 else text.replace("Verdict", "So I think"))
    twins, left_out = choose_twins(torn, HEAD)
    assert left_out == {"cannot be read": 6} and len(twins) == 6
    assert set(trained_texts(torn)) <= {each.text for each in torn}


def test_r3_a_trained_row_holds_both_candidates_and_a_text_that_its_own_prompt_allows() -> None:
    """The student sees what the teacher saw, and its target is in the form that is asked for: our reader finds the label."""
    twins, _ = choose_twins(critiques(), HEAD)
    rows, _ = sft_rows(Letters(), HEAD, twins, "short", 100_000)  # type: ignore[arg-type]
    texts = iter(zip(rows["input_ids"], rows["labels"], strict=True))
    for twin in twins:
        for side in SIDES:
            ids, labels = next(texts)
            prompt = text_of([each for each, label in zip(ids, labels, strict=True) if label < 0])
            for candidate in (twin.pair.a, twin.pair.b):
                assert all(part.text in prompt for part in candidate.parts if part.kind != "system_thinking")
            said = text_of([label for label in labels if label >= 0]).removesuffix("<end>")
            assert HEAD.read(twin.pair, side, said).value == twin.pair.label


@pytest.mark.parametrize("instructions", ["full", "short", "bare", "general"])
def test_r4_placeholders_inside_a_candidate_stay_text(instructions: Any) -> None:
    """A candidate that holds the name of a field of the prompt is shown as it is, never filled in."""
    hostile = "Mara: $second {cand_2} {{second}} $principles $history"
    system, user = pair_messages(pair(hostile, "Mara: No."), "a", "[x] rule", instructions)
    assert "$second {cand_2} {{second}} $principles $history" in user.content and "[x] rule" not in user.content
    assert hostile.removeprefix("Mara: ") not in system.content and user.content.count("> Mara: No.") == 1


@pytest.mark.parametrize(("name", "language"), PROMPTS)
def test_r5_the_prompt_names_what_is_shown_as_it_is_shown(name: str, language: Any) -> None:
    """The instructions describe the notation of the question that follows: its tags and the letters of its candidates."""
    thinking = "<role_thinking>He must not know.</role_thinking><role_action>nods</role_action>"
    question = pair(f"Mara: {thinking}No post today.", "Mara: A letter.", language=language)
    if name.endswith("pair"):
        system, user = pair_messages(question, "a", "", "full" if name.startswith("judge") else "bare")
        letters = set(re.findall(r"^===[^=\n]* ([AB])===$", user.content, re.MULTILINE))
        assert letters == {"A", "B"} <= set(re.findall(r"(?<![A-Za-z])[A-Z](?![A-Za-z])", system.content))
    else:
        system, user = point_messages(PROMPT, question.a, language, "", "full" if name.startswith("judge") else "general")
    assert system.content.startswith(template(name, language).partition("===")[0].strip()[:60])
    shown = set(re.findall(r"</?(\w+)>", user.content))
    assert shown == {"role_thinking", "role_action"} and all(f"<{tag}>" in system.content for tag in shown)
    assert "id:" not in system.content + user.content, "no notation is explained that is not used"


def test_r6_fine_tuning_and_reinforcement_learning_have_one_prompt() -> None:
    """The prompt of both phases, and of use afterwards, is the same byte for byte: neither adds an instruction."""
    twins, _ = choose_twins(critiques(), HEAD)
    sft, _ = sft_rows(Letters(), HEAD, twins, "short", 100_000)  # type: ignore[arg-type]
    rl = grpo_rows(HEAD, [twin.pair for twin in twins], "short")
    assert len(rl) == len(sft["input_ids"])
    for row, ids, labels in zip(rl, sft["input_ids"], sft["labels"], strict=True):
        asked = Letters().ids([Message.model_validate(message) for message in row["prompt"]], ask=True)
        assert ids[: labels.count(-100)] == asked
    used: list[str] = []

    async def ask(call: Any) -> Any:
        used.append(Letters().ids(call.messages, ask=True))  # type: ignore[arg-type]
        raise InputError("stop")

    judge = PairJudge(ask, name="j", instructions="short")
    for side in SIDES:
        with pytest.raises(InputError, match="stop"):
            asyncio.run(judge.judge(twins[0].pair.question, side))
    assert used == [ids[: labels.count(-100)] for ids, labels in zip(sft["input_ids"][:2], sft["labels"][:2], strict=True)]


def test_r7_documented_commands_and_examples_run_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    """No command of the README lacks an argument that it needs, and every pipeline's example is a whole set of settings."""
    ours = [words for _, words in COMMANDS if {"reward", "principles", "judge-check"} & set(words[:3])]
    assert len(ours) >= 5 and not [reason for words in ours if (reason := fault(words))]
    for name in ("reward", "principles", "judge_check"):
        assert pipeline_main(name)([f"@{PIPELINES[name].example}", "--dry-run"]) == 0
        config.load(pipeline_options(name), [f"@{PIPELINES[name].example}"])
    assert "planted" in capsys.readouterr().out


def test_r8_a_step_reads_what_the_step_before_wrote(tmp_path: Path) -> None:
    """One file of preferences feeds training, the check of a judge and both formats of others, and comes back from them."""
    written = [preference(f"Mara: No, {number}.", conversation=f"c{number}", split="rm_sft") for number in range(20)]
    jsonl.write(tmp_path / "preferences.jsonl", written)
    pairs = load_pairs(PairOptions(files=(tmp_path / "preferences.jsonl",), held_out_share=0.3), 1)
    assert {*pairs.train, *pairs.held_out} == set(written)
    assert len(read_labelled(tmp_path / "preferences.jsonl").pairs) == 20
    rows = [to_pair_row(each, f"p{number}") for number, each in enumerate(written)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows), "utf-8")
    again = read_labelled(tmp_path / "pairs.json").pairs
    assert [each.conversation for each in again] == [each.conversation for each in written]
    assert from_verl(to_verl(written[0], "b", "p0", 0, "Mara")) == (written[0], "b")


def test_r9_both_orders_are_asked_and_a_disagreement_is_a_tie() -> None:
    """No verdict rests on the place of a candidate: a judge that always names the first gives ties, and rows come in twins."""
    asked: list[str] = []

    class Said:
        error, truncated, text, choices = "", False, "Verdict: A", ()

    async def ask(call: Any) -> Any:
        asked.append(call.messages[1].content)
        return Said()

    judged = asyncio.run(PairJudge(ask, name="left").judge_both(pair("Mara: Yes.", "Mara: No.")))
    assert judged.verdict is not None and judged.verdict.winner == "tie" and "disagree" in judged.verdict.reason
    firsts = [re.search(r"===Candidate A===\n> Mara: (\w+)", text) for text in asked]
    assert {first[1] for first in firsts if first} == {"Yes", "No"}
    assert choose_twins(critiques()[:-1], HEAD)[1] == {"one side only": 1}


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_r10_everything_that_the_prompt_promises_is_given(first: Slot, language: Any) -> None:
    """No input is announced and left out; principles about a whole session come with the whole conversation so far."""
    said = [f"Tom: Line {number} of a long talk." for number in range(40)]
    prompt = (PROMPT[0], *(Message(role="user", content=text) for text in said))
    question = PairQuestion("q", prompt, turn("Mara: Yes."), turn("Mara: No."), language)
    rules = principle_lines(LIBRARY[language])
    system, user = pair_messages(question, first, rules)
    assert any(principle.level == "session" for principle in load_principles(language))
    assert all(text in user.content for text in (*said, "You are Mara.", "Mara: Yes.", "Mara: No."))
    assert "continuation" not in system.content and "续" not in template("judge_pair", language)
    headings = re.findall(r"^===(.+)===$", user.content, re.MULTILINE)
    sections = dict(zip(headings, re.split(r"^===.+===$", user.content, flags=re.MULTILINE)[1:], strict=True))
    assert len(sections) == 4 and all(text.strip() for text in sections.values())
    labelled = LabelledPair(id="q", prompt=prompt, a=question.a, b=question.b, label="a", language=language)
    assert all(text in HEAD.messages(labelled, first, "short")[1].content for text in said)
