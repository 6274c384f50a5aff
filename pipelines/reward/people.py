"""Read preferences of people from a playground's database: report on the raters first, then one label a pair and camp.

Votes, edits, kept swipes and differences of stars of all raters of a camp are joined: their log odds add by the raters' weights
(her/feedback/raters.py), so that a label is a probability, and a pair counts by how far that is from chance.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from her.errors import InputError
from her.feedback.agreement import JudgeAgreement, judge_agreement
from her.feedback.people import PeopleReport, people_report, report_lines
from her.feedback.preferences import preferences
from her.feedback.raters import PRIOR, RaterVote, label_pairs
from her.feedback.votes import rater_votes
from her.files.atomic import replacing
from her.statistics import Interval
from her.store import Store
from her.training_data.splits import chat_split
from her.types import Outcome, Preference, Winner
from pipelines.reward.options import PeopleOptions

log = logging.getLogger(__name__)
PRIOR_WEIGHT = 2 * PRIOR[0] / (PRIOR[0] + PRIOR[1]) - 1
"""Weight of a rater who never met a check, for example one who only gave stars."""


class PeoplePairs(NamedTuple):
    """Preferences by model to train, and what was left out, by reason. A single model has the name ''.

    Args:
        ceilings: by model how often two of its raters name the same winner.
        votes: by model the votes of its raters.
    """

    groups: dict[str, tuple[Preference, ...]]
    ceilings: dict[str, Interval]
    votes: dict[str, tuple[RaterVote, ...]]
    left_out: Counter[str]


def people_pairs(options: PeopleOptions, database: str, folder: Path, seed: int) -> PeoplePairs:
    """Read a database, log the report on its raters, write it to `people.json`, and join the preferences.

    Args:
        database: path of a SQLite file, or the URL of a database.
        folder: of the run.

    Raises:
        InputError: there is no such file, or no model may be trained from these votes; the report is written all the same.
    """
    left_out: Counter[str] = Counter()
    with closing(_open(database)) as store:
        votes = rater_votes(store)
        rows = tuple(_of_splits(preferences(store, left_out), options.splits, left_out))
    report = people_report(votes, resamples=options.resamples, seed=seed)
    for line in report_lines(report, options.models):
        log.info("%s", line)
    with replacing(folder / "people.json") as file:
        file.write(report.model_dump_json(indent=2) + "\n")
    report.require_trainable()
    groups = _groups(report, rows, options, left_out)
    camps = [camp.agreement.agreement for camp in report.camps]
    ceilings = [report.agreement.agreement] if len(groups) == 1 else camps
    own = [tuple(vote for vote in votes if vote.rater in raters) for raters in report.groups(options.models)]
    return PeoplePairs(groups, dict(zip(groups, ceilings, strict=True)), dict(zip(groups, own, strict=True)), left_out)


def database_hash(database: str) -> dict[str, str]:
    """Return the hash of all votes and preferences of a database under its setting's name; nothing without a database.

    A run that is resumed must find the same ones: a person may have withdrawn since. The file's own bytes say less, because
    SQLite keeps what is new in a second file and the playground changes much else.
    """
    if not database:
        return {}
    digest = hashlib.sha256()
    with closing(_open(database)) as store:
        for value in (*rater_votes(store), *preferences(store)):
            digest.update(value.model_dump_json().encode() + b"\n")
    return {"pairs.people.database": digest.hexdigest()}


def join_raters(rows: Iterable[Preference], weights: Mapping[str, float]) -> Iterator[Preference]:
    """Yield one preference for each pair of candidates: its label is that of all raters in `weights` together.

    The weight is how far the label is from chance, and the margin the mean over raters, those for the other side negative.
    Pairs that are undecided are left out.
    """
    pairs: dict[str, list[Preference]] = defaultdict(list)
    for row in rows:
        if row.rater in weights:
            pairs["\n".join(sorted((row.chosen.id, row.rejected.id)))].append(row)
    votes = [RaterVote(rater=row.rater, pair=pair, winner=_side(row)) for pair, own in pairs.items() for row in own]
    for pair, label in label_pairs(votes, weights, weights).items():
        if label.probability != 0.5:
            yield _joined(pairs[pair], label.probability)


def model_agreement(
    votes: Sequence[RaterVote], preferences: Sequence[Preference], differences: Sequence[float], resamples: int, seed: int
) -> JudgeAgreement:
    """Return the agreement of a model with single votes on these pairs.

    Args:
        differences: score of the chosen less score of the rejected candidate for each pair.
    """
    verdicts: dict[str, Outcome] = {}
    for preference, difference in zip(preferences, differences, strict=True):
        sides: tuple[Outcome, Outcome] = ("a", "b") if _side(preference) == "a" else ("b", "a")
        pair = "-".join(sorted((preference.chosen.id, preference.rejected.id)))
        verdicts[pair] = sides[difference < 0] if difference else "tie"
    return judge_agreement(votes, verdicts, resamples=resamples, seed=seed)


def _open(database: str) -> Store:
    if "://" in database:
        return Store(database)
    path = Path(database).expanduser()
    if not path.is_file():
        raise InputError(f"pairs.people.database is '{path}', which is no file; name the her.sqlite3 of a playground")
    return Store(f"sqlite:///{path}")


def _of_splits(rows: Iterable[Preference], splits: Sequence[str], left_out: Counter[str]) -> Iterator[Preference]:
    """Yield the preferences of chats of these splits; of all for none. Chats of the others are prompts of RL, or samples."""
    for row in rows:
        if splits and chat_split(row.conversation) not in splits:
            left_out["other split"] += 1
        else:
            yield row


def _groups(
    report: PeopleReport, rows: Sequence[Preference], options: PeopleOptions, left_out: Counter[str]
) -> dict[str, tuple[Preference, ...]]:
    """Return the preferences of each model to train."""
    groups = report.groups(options.models)
    known = report.weights
    unchecked = {row.rater for row in rows} - set(known)
    weights = [{name: known[name] for name in raters} for raters in groups]
    if len(groups) == 1:
        weights[0] |= dict.fromkeys(sorted(unchecked), PRIOR_WEIGHT)
    trusted = {name for group in weights for name in group}
    for row in rows:
        if row.rater not in trusted:
            left_out["rater in no camp" if row.rater in unchecked else "rater of low weight"] += 1
    names = [""] if len(groups) == 1 else [f"camp-{place}" for place in range(1, len(groups) + 1)]
    return {name: tuple(join_raters(rows, group)) for name, group in zip(names, weights, strict=True)}


def _side(row: Preference) -> Winner:
    """Return the side that won, in terms of the ids in order."""
    return "a" if row.chosen.id < row.rejected.id else "b"


def _joined(rows: Sequence[Preference], probability: float) -> Preference:
    """Return the pair as its raters see it together; `probability` is that the candidate with the lower id is better."""
    winner = "a" if probability > 0.5 else "b"
    chosen = max(probability, 1 - probability)
    for_it = [row for row in rows if _side(row) == winner]
    margin = sum(row.margin if _side(row) == winner else -row.margin for row in rows) / len(rows)
    raters = sorted({row.rater for row in rows})
    first = for_it[0]
    verdict = first.verdict.model_copy(
        update={
            "probability": chosen if first.verdict.winner == "a" else 1 - chosen,
            "judge": raters[0] if len(raters) == 1 else f"{len(raters)} raters",
        }
    )
    changes = {"verdict": verdict, "margin": max(0.0, margin), "weight": 2 * chosen - 1}
    return first.model_copy(update={**changes, "rater": raters[0] if len(raters) == 1 else ""})
