"""her/judging/worse.py: a card says what a model is worse at than the one on stage, or why nobody knows."""

from pathlib import Path

from her.deploy.checkpoints import checkpoint_hash
from her.deploy.hub.publishing import PublicationOptions, prepare
from her.deploy.hub.selection import find_run
from her.judging.promotion import promote
from her.judging.worse import TITLE, worse_section
from tests.judging.test_promotion import evaluation, model


def test_what_fell_stands_in_the_card_with_its_interval(home: Path) -> None:
    old, new = model(home, "old"), model(home, "new")
    promote("old")
    assert "Not known: the model on stage (run `old`) and this model were not both evaluated" in worse_section(find_run("new"))
    evaluation(home, "old-eval", checkpoint_hash(old), faults=2)
    evaluation(home, "new-eval", checkpoint_hash(new), faults=18)
    prepared = prepare("new", "ada/her", PublicationOptions(), None, worse_section)
    card = (prepared.folder / "README.md").read_text()
    section = card.partition(TITLE)[2].partition("\n## ")[0]
    assert "Against the model on stage (run `old`)" in section and str(home) not in card
    row = next(line for line in section.splitlines() if line.startswith("| well_formed |"))
    change, interval, *_, said = (cell.strip() for cell in row.strip("|").split("|")[1:])
    low, high = (float(end) for end in interval.split(" to "))
    assert low < float(change) < high < 0 and said == "worse"


def test_nothing_to_compare_with_and_nothing_that_fell(home: Path) -> None:
    old, new = model(home, "old"), model(home, "new")
    assert "nothing to compare with" in worse_section(find_run("new"))
    promote("old")
    evaluation(home, "old-eval", checkpoint_hash(old))
    folder = evaluation(home, "new-eval", checkpoint_hash(new))
    assert "no figure fell." in worse_section(find_run("new"))
    (folder / "transcripts.jsonl").write_text("")
    assert "Not known: evaluation 'new-eval' was changed since it ended" in worse_section(find_run("new"))
