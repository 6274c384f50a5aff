"""her/training_data/audit.py: rows are counted; a broken limit or a defect is reported and stops the run."""

from pathlib import Path
from typing import Any, get_args

import pytest

from her.errors import InputError
from her.files import jsonl
from her.tokens import estimate_tokens
from her.training_data.audit import (
    Audit,
    AuditLimits,
    AuditReport,
    Encoding,
    EstimatedEncoder,
    Stop,
    require,
    to_markdown,
    write_audit,
)
from her.training_data.samples import Dropped
from her.types import Message, Sample

GOOD = "<system_thinking>Mara must wait.</system_thinking>Mara: <role_thinking>Hm.</role_thinking>Aye."


def sample(target: str = GOOD, history: str = "", **changed: Any) -> Sample:
    said = [Message(role="user", content="Tom: Well?")]
    if history:
        said = [*said, Message(role="assistant", content=history), Message(role="user", content="Tom: And?")]
    messages = (Message(role="system", content="You are Mara."), *said, Message(role="assistant", content=target))
    return Sample(messages=messages, trained=(len(messages) - 1,), turn="t1", speaker="Mara").model_copy(update=changed)


class Fixed:
    """Encoder that returns these encodings, one after the other."""

    name, exact = "fixed", True

    def __init__(self, *encodings: Encoding) -> None:
        self._encodings = list(encodings)

    def encode(self, sample: Sample) -> Encoding:
        return self._encodings.pop(0)


def audited(*encodings: Encoding, limits: AuditLimits | None = None, samples: list[Sample] | None = None) -> AuditReport:
    audit = Audit("sft", Fixed(*encodings), limits)
    for row in samples or [sample()] * len(encodings):
        audit.add(row)
    return audit.report()


FINE = Encoding(prompt=90, target=10, stop="end", decoded="Aye.<|im_end|>")


def test_a_good_split_has_no_problems() -> None:
    report = audited(FINE, FINE, Encoding(prompt=100, target=29, stop="end", decoded="x"))
    assert report.problems == ()
    assert (report.samples, report.target_tokens, report.kept_tokens, report.prompt_tokens, report.longest) == (
        3,
        49,
        49,
        280,
        129,
    )
    assert report.histogram == ((128, 2), (256, 1))
    assert report.stops == {"end": 3}
    assert report.examples == ("Aye.<|im_end|>", "Aye.<|im_end|>", "x")
    require([report])


def test_a_length_is_counted_under_its_bound() -> None:
    lengths = [audited(Encoding(prompt=length - 1, target=1)).histogram[0][0] for length in (2, 3, 4, 5, 128, 129)]
    assert lengths == [2, 4, 4, 8, 128, 256]


WRONG = [
    (sample(), FINE.model_copy(update={"stop": "missing"}), "stop_missing"),
    (sample(), FINE.model_copy(update={"stop": "inside"}), "stop_inside"),
    (sample(), FINE.model_copy(update={"prefix": False}), "prompt_not_prefix"),
    (sample(), FINE.model_copy(update={"target": 0}), "nothing_trained"),
    (sample("Mara: Aye."), FINE, "target_plan_missing"),
    (sample("<system_thinking>Mara must"), FINE, "target_unclosed_plan"),
    (sample("<system_thinking>p</system_thinking>Aye."), FINE, "target_name_missing"),
    (sample(history=GOOD), FINE, "plan_in_history"),
    (sample(trained=(1,)), FINE, "trains_another_message"),
    (sample(trained=(1, 2)), FINE, "trains_another_message"),
    (sample(messages=(Message(role="system", content="x"), Message(role="user", content=GOOD))), FINE, "trains_another_message"),
]


@pytest.mark.parametrize(("bad", "encoding", "name"), WRONG)
def test_a_defect_is_reported_and_stops_the_run(bad: Sample, encoding: Encoding, name: str) -> None:
    report = audited(encoding, samples=[bad])
    assert report.defects == {name: 1}
    with pytest.raises(InputError, match=rf"split 'sft': {name} in 1 samples, such as t1"):
        require([audited(FINE), report])


def test_all_defects_of_a_row_are_counted() -> None:
    bad = sample("<think>x</think>Aye.", history=GOOD)
    report = audited(FINE.model_copy(update={"stop": "inside", "prefix": False, "target": 0}), samples=[bad])
    assert list(report.defects.items()) == [
        ("nothing_trained", 1),
        ("plan_in_history", 1),
        ("prompt_not_prefix", 1),
        ("stop_inside", 1),
        ("target_alias", 1),
        ("target_name_missing", 1),
    ]
    stopped = audited(FINE.model_copy(update={"stop": "missing", "prefix": False}), samples=[sample("x", trained=())])
    assert stopped.defects == {"prompt_not_prefix": 1, "stop_missing": 1, "trains_another_message": 1}


def test_the_system_prompt_may_name_the_tag() -> None:
    spoken = sample().messages
    taught = (Message(role="system", content=f"Write {GOOD}"), *spoken[1:])
    assert audited(FINE, samples=[sample(messages=taught)]).defects == {}


def test_five_turns_are_named_and_three_targets_shown() -> None:
    rows = [sample(f"<system_thinking>p</system_thinking>No {number}.", turn=f"t{number}" * (number > 0)) for number in range(7)]
    report = audited(*[FINE.model_copy(update={"decoded": ""})] * 7, samples=rows)
    assert report.problems == ("split 'sft': target_name_missing in 7 samples, such as 1, t1, t2, t3, t4",)
    assert report.examples == tuple(row.messages[-1].content for row in rows[:3])


def test_books_as_they_are_have_no_plans() -> None:
    defective = sample("<think></think>Mara: Aye.")
    assert "target_plan_missing" in audited(FINE, samples=[defective]).defects
    assert audited(FINE, limits=AuditLimits(plans=False), samples=[defective]).defects == {
        "target_alias": 1,
        "target_empty_part": 1,
    }
    assert audited(FINE, limits=AuditLimits(plans=False), samples=[sample("Mara: Aye.")]).problems == ()


def test_too_long_is_dropped_whole_and_counted() -> None:
    audit = Audit("sft", Fixed(FINE, Encoding(prompt=90, target=11)), AuditLimits(most_tokens=100))
    assert [audit.add(sample()), audit.add(sample())] == [True, False]
    report = audit.report()
    assert (report.samples, report.dropped, report.target_tokens, report.kept_tokens) == (1, {"too_long": 1}, 21, 10)
    assert report.problems == (
        "split 'sft': 47.6% of the target tokens are kept, at least 98% have to be; raise the longest sample above 100 tokens",
        "split 'sft': 1 of 2 turns have no sample, at most 10% may; too_long 1 (up to 101 tokens; the limit is 100)",
    )


def test_limits_are_inclusive() -> None:
    at_limit = AuditLimits(most_tokens=100, kept=0.5, dropped=0.5)
    half = audited(FINE, Encoding(prompt=91, target=10), limits=at_limit, samples=[sample()] * 2)
    assert (half.dropped, half.kept_tokens, half.target_tokens, half.problems) == ({"too_long": 1}, 10, 20, ())
    most = audited(FINE, *[Encoding(prompt=200, target=1), Encoding(prompt=150, target=1)], limits=at_limit)
    assert len(most.problems) == 1 and "2 of 3 turns" in most.problems[0] and "(up to 201 tokens" in most.problems[0]


def test_the_places_of_a_stop_token() -> None:
    assert get_args(Stop) == ("end", "missing", "inside", "unknown")
    assert Encoding(prompt=1, target=1) == Encoding(prompt=1, target=1, stop="unknown", prefix=True, decoded="")


def test_the_default_limits() -> None:
    assert AuditLimits() == AuditLimits(most_tokens=8192, kept=0.98, dropped=0.1, plans=True)


def test_dropped_turns_are_counted() -> None:
    audit = Audit("sft", Fixed(*[FINE] * 19))
    for _ in range(19):
        audit.add(sample())
    audit.drop(Dropped(transcript="t", turn="u", speaker="Mara", reason="no_plan"))
    assert (audit.report().dropped, audit.report().problems) == ({"no_plan": 1}, ())
    for reason in ("unspoken", "no_plan"):
        audit.drop(Dropped(transcript="t", turn="u", speaker="Mara", reason=reason))
    assert list(audit.report().dropped.items()) == [("no_plan", 2), ("unspoken", 1)]
    assert audit.report().problems == ("split 'sft': 3 of 22 turns have no sample, at most 10% may; no_plan 2, unspoken 1",)


def test_an_empty_split_is_reported() -> None:
    with pytest.raises(InputError, match="split 'rl' has no sample"):
        require([Audit("rl", Fixed()).report()])


def test_an_estimate_says_that_it_is_one() -> None:
    audit = Audit("sft", EstimatedEncoder())
    audit.add(sample())
    report = audit.report()
    assert (report.exact, report.stops, report.problems) == (False, {"unknown": 1}, ())
    assert report.encoder.startswith("estimate")
    assert report.prompt_tokens == estimate_tokens(sample().messages[:-1])
    assert report.target_tokens == estimate_tokens(sample().messages[-1:])
    assert report.examples == (GOOD,)


def test_reports_are_written_as_lines_and_as_a_page(tmp_path: Path) -> None:
    reports = [audited(FINE), Audit("rl", Fixed()).report()]
    write_audit(tmp_path, reports)
    assert list(jsonl.read(tmp_path / "audit.jsonl", AuditReport)) == reports
    assert (tmp_path / "audit.md").read_text("utf-8") == to_markdown(reports)


PAGE = """# Audit of the training data

## sft: no problems

- 2 samples, counted with fixed
- target tokens kept: 20 of 20 (100.0%); prompts: 180
- longest sample: 100 tokens
- turns without a sample: none
- stop token: end 2
- defects: none

| tokens, at most | samples |
| --- | --- |
| 128 | 2 |

What is trained, decoded:

~~~~text
Aye.<|im_end|>
~~~~

~~~~text
Aye.<|im_end|>
~~~~

## rl: problems

- **split 'rl' has no sample**
- 0 samples, counted with estimate (1 token a CJK character, 1 for 3.6 others) (estimated, not the trainer's own tokens)
- target tokens kept: 0 of 0 (0.0%); prompts: 0
- longest sample: 0 tokens
- turns without a sample: none
- stop token: none
- defects: none

| tokens, at most | samples |
| --- | --- |

What is trained:

"""


def test_the_page() -> None:
    reports = [audited(FINE, FINE), Audit("rl", EstimatedEncoder()).report()]
    assert to_markdown(reports) == PAGE


def test_a_target_cannot_end_its_block_on_the_page() -> None:
    page = to_markdown([audited(FINE.model_copy(update={"decoded": "a\n~~~~\n# b"}))])
    assert "a\n~ ~ ~ ~\n# b\n~~~~\n" in page
