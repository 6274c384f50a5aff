"""An expert's page of hand-made principles and hostile pairs, for tests without and with a browser."""

from pathlib import Path

from her.judging.principles import LIBRARY
from her.statistics import Interval
from pipelines.principles.expert_page import write_page
from pipelines.principles.made import Outcome, RunFigures, make_principles
from pipelines.principles.selection import Decision, LabelTest
from tests.pipelines.principles.small import candidate, pair

HOSTILE = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=2">\u202e{{ 7 * 7 }}'


def hostile_page(folder: Path, library: Path = LIBRARY, *, kept: bool = True) -> Path:
    """Write a page of two kept principles (`oath` and `other`) and a rejected one; return its path."""
    pairs = (pair(f"By my sword. {HOSTILE}", "No."), pair("No.", "By my sword. Yes."))
    decisions = (
        Decision(principle="oath", pair=0, side="chosen", quote="By my sword"),
        Decision(principle="oath", pair=1, side="rejected", quote="By my sword"),
        Decision(principle="other", pair=0, side="chosen", quote=HOSTILE),
    )
    rejected = "" if kept else "no"
    agreement = Interval(0.75, 0.6, 0.9) if kept else None
    tests = [
        LabelTest(
            principle=name, decided=20, agreed=15, missing=1, conversations=9, agreement=agreement, p=p, q=p, reason=rejected
        )
        for name, p in (("oath", 0.001), ("other", 0.01))
    ]
    tests.append(LabelTest(principle="few", decided=3, agreed=2, missing=0, conversations=2, p=None, q=None, reason="too few"))
    made = make_principles([candidate("oath"), candidate("other", f"A definition. {HOSTILE}"), candidate("few")], tests)
    figures = RunFigures(
        name=f"first {HOSTILE}",
        named_from=20,
        held_out=2,
        conversations=1,
        namings=60,
        clusters=3,
        candidates=3,
        tested=2,
        kept=2,
        left_out={},
        missing={"named": 1, "distilled": 0, "applied": 1},
        reasons={},
        false_discovery=0.1,
        model="teacher",
        judge="teacher",
    )
    write_page(folder / "page.html", Outcome(made, decisions, pairs), figures, library, 12)
    return folder / "page.html"
