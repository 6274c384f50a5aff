"""pipelines/sft/rows/audit.py: a run whose trainer would see something other than intended does not start."""

import re
from typing import Any

import pytest

from her.errors import InputError
from her.types import Sample
from pipelines.models.chat_template import ChatTemplate
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.audit import audit_samples
from tests.pipelines.models.test_chat_template import CHATML, PLAN, sample, tokenizer

pytestmark = pytest.mark.whole
GOOD = [sample(f"Tom: {number}?", PLAN + "Mara: Aye.") for number in range(6)]
LONG = sample("Tom: " + "Well? " * 60, PLAN + "Mara: Aye.")


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate(tokenizer())


def options(**samples: Any) -> TrainingOptions:
    return TrainingOptions.model_validate({"samples": {"files": ["unused.jsonl"], **samples}}, strict=False)


def test_good_samples_are_kept_unchanged(template: ChatTemplate) -> None:
    reports, train, held_out = audit_samples(GOOD[:4], GOOD[4:], template, options(), 4096)
    assert (train, held_out) == (GOOD[:4], GOOD[4:])
    assert [(report.name, report.samples, report.stops) for report in reports] == [
        ("train", 4, {"end": 4}),
        ("held_out", 2, {"end": 2}),
    ]
    prompt, target = template.pairs(GOOD[:1])[0]
    assert (reports[0].prompt_tokens, reports[0].kept_tokens) == (4 * len(prompt), 4 * len(target))
    assert len(audit_samples(GOOD, [], template, options(), 4096).reports) == 1


def test_samples_that_are_too_long_are_left_out_whole_when_allowed(template: ChatTemplate) -> None:
    checked = audit_samples([*GOOD, LONG], GOOD[:1], template, options(most_tokens=150, dropped=0.2), 4096)
    assert checked.train == GOOD and checked.reports[0].dropped == {"too_long": 1}


REFUSED = [
    ([], GOOD, options(), 4096, "split 'train' has no sample"),
    (
        [*GOOD, LONG],
        [],
        options(most_tokens=150),
        4096,
        r"train': 1 of 7 .* too_long 1 \(up to \d+ tokens; the limit is 150\)",
    ),
    (GOOD, [LONG], options(most_tokens=150, dropped=0.2), 4096, "split 'held_out' has no sample"),
    (GOOD, [LONG], options(), 150, r"longest sample has \d+ tokens and the model has 150 positions; set samples.most_tokens=150"),
    ([*GOOD, sample("Tom: Well?", "Mara: Aye.")], [], options(), 4096, "target_plan_missing in 1 samples, such as t2"),
    (
        [sample("Tom: Well?", PLAN + "Mara: Hm.", "Tom: So?", GOOD[0].messages[-1].content)],
        [],
        options(),
        4096,
        "plan_in_history",
    ),
]


@pytest.mark.parametrize(("train", "held_out", "settings", "context", "message"), REFUSED)
def test_a_problem_stops_the_run(
    template: ChatTemplate, train: list[Sample], held_out: list[Sample], settings: TrainingOptions, context: int, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        audit_samples(train, held_out, template, settings, context)
    assert re.search(message, str(refused.value))


HARM = [
    (CHATML.replace("m['content'] + '<|im_end|>\n'", "m['content'] + '\n'"), "stop_missing in 6 samples"),
    (CHATML.replace("m['content'] + '<|im_end|>\n'", "'<|im_end|>' + m['content']"), "stop_inside in 6 samples"),
    (CHATML.replace("<|im_start|>assistant\n'", "<|im_start|>assistant\n<think>'"), "prompt_not_prefix in 6 samples"),
]


@pytest.mark.parametrize(("template", "message"), HARM)
def test_a_template_that_moves_the_stop_token_or_the_prompt_is_refused(template: str, message: str) -> None:
    with pytest.raises(InputError, match=f"split 'train': {message}"):
        audit_samples(GOOD, [], ChatTemplate(tokenizer(template=template)), options(), 4096)


def test_without_plans_a_missing_plan_is_no_problem(template: ChatTemplate) -> None:
    plain = [sample("Tom: Well?", "Mara: Aye.")]
    assert audit_samples(plain, [], template, options(plans=False), 4096).train == plain
