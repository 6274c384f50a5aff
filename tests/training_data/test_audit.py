"""her/training_data/audit.py: rows are counted; a broken limit or a defect is reported and stops the run."""

from pathlib import Path
from typing import Any

import pytest

from her.errors import InputError
from her.files import jsonl
from her.training_data.audit import Audit, AuditLimits, AuditReport, Encoding, EstimatedEncoder, require, write_audit
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
    """An encoder that says what it is told to."""

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


WELL = Encoding(prompt=90, target=10, stop="end", decoded="Aye.<|im_end|>")


def test_a_good_split_is_well() -> None:
    report = audited(WELL, WELL, Encoding(prompt=100, target=29, stop="end", decoded="x"))
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
    (sample(), WELL.model_copy(update={"stop": "missing"}), "stop_missing"),
    (sample(), WELL.model_copy(update={"stop": "inside"}), "stop_inside"),
    (sample(), WELL.model_copy(update={"prefix": False}), "prompt_not_prefix"),
    (sample(), WELL.model_copy(update={"target": 0}), "nothing_trained"),
    (sample("Mara: Aye."), WELL, "target_plan_missing"),
    (sample("<system_thinking>Mara must"), WELL, "target_unclosed_plan"),
    (sample("<system_thinking>p</system_thinking>Aye."), WELL, "target_name_missing"),
    (sample(history=GOOD), WELL, "plan_in_history"),
    (sample(trained=(1,)), WELL, "trains_another_message"),
    (sample(trained=(1, 2)), WELL, "trains_another_message"),
]


@pytest.mark.parametrize(("bad", "encoding", "name"), WRONG)
def test_what_is_wrong_is_said_and_stops(bad: Sample, encoding: Encoding, name: str) -> None:
    report = audited(encoding, samples=[bad])
    assert report.defects[name] == 1
    with pytest.raises(InputError, match=rf"split 'sft': {name} in 1 samples, such as t1"):
        require([audited(WELL), report])


def test_books_as_they_are_have_no_plans() -> None:
    assert audited(WELL, limits=AuditLimits(plans=False), samples=[sample("Mara: Aye.")]).problems == ()


def test_too_long_is_dropped_whole_and_counted() -> None:
    audit = Audit("sft", Fixed(WELL, Encoding(prompt=90, target=11)), AuditLimits(most_tokens=100))
    assert [audit.add(sample()), audit.add(sample())] == [True, False]
    report = audit.report()
    assert (report.samples, report.dropped, report.target_tokens, report.kept_tokens) == (1, {"too_long": 1}, 21, 10)
    assert "47.6% of the target tokens are kept, at least 98% have to be" in report.problems[0]
    assert "1 of 2 turns have no sample, at most 10% may; too_long 1" in report.problems[1]


def test_dropped_turns_are_counted() -> None:
    audit = Audit("sft", Fixed(*[WELL] * 19))
    for _ in range(19):
        audit.add(sample())
    audit.drop(Dropped(transcript="t", turn="u", speaker="Mara", reason="no_plan"))
    assert (audit.report().dropped, audit.report().problems) == ({"no_plan": 1}, ())


def test_an_empty_split_is_said() -> None:
    with pytest.raises(InputError, match="split 'rl' has no sample"):
        require([Audit("rl", Fixed()).report()])


def test_an_estimate_says_that_it_is_one() -> None:
    audit = Audit("sft", EstimatedEncoder())
    audit.add(sample())
    report = audit.report()
    assert (report.exact, report.stops, report.problems) == (False, {"unknown": 1}, ())
    assert report.encoder.startswith("estimate")
    assert report.examples == (GOOD,)


def test_reports_are_written_as_lines_and_as_a_page(tmp_path: Path) -> None:
    reports = [audited(WELL), Audit("rl", Fixed()).report()]
    write_audit(tmp_path, reports)
    assert list(jsonl.read(tmp_path / "audit.jsonl", AuditReport)) == reports
    page = (tmp_path / "audit.md").read_text("utf-8")
    assert page.index("## sft: no problems") < page.index("## rl: problems")
