"""Write the files of a data set of ratings, and look into them once more for what must not be in them."""

import json
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from her.deploy.hub.secrets import texts_of
from her.errors import HerError, InputError
from her.feedback.export import lines
from her.feedback.export_card import write_export_card
from her.feedback.export_files import ParquetLines
from her.feedback.public_rows import CHANGED, SALT_FILE, PublicRows
from her.files.atomic import replacing
from her.store import Store
from her.store.chat_owners import consents_given, row_ids
from her.store.exports import EVERYTHING
from her.training_data.splits import chat_split
from pipelines.ratings.options import PublicFormat, RatingsOptions

_ID = re.compile(r"[0-9A-Za-z]{12,}")
_SHORTENED = 12
"""Digits of a visitor's id by which exports named people earlier."""


def write_dataset(store: Store, folder: Path, options: RatingsOptions, salt: str) -> dict[str, int]:
    """Write all files into an empty folder; return the number of rows by file, and of raters.

    Raises:
        InputError: there are no rows, or fewer raters than asked for.
        HerError: an id of the database stands in a file.
    """
    public = PublicRows(store, salt)
    people: set[str] = set()
    counts: dict[str, int] = {format: _write_parquet(store, public, format, folder, people) for format in options.formats}
    if not any(counts.values()):
        raise InputError(f"nobody has rated or voted in {store.where} yet, so there is nothing to publish")
    if len(people) < options.least_raters:
        raise InputError(
            f"the rows are of {len(people)} people, and least_raters={options.least_raters}: whoever knows them knows who said "
            "what; wait for more ratings, or lower it"
        )
    with replacing(folder / SALT_FILE) as file:
        file.write(json.dumps({"salt": salt}) + "\n")
    card = write_export_card(store, folder)
    sections = [card.read_text("utf-8").rstrip(), _consent(store), _ABOUT]
    card.write_text("\n\n".join(sections) + "\n", "utf-8")
    _require_none(folder, row_ids(store))
    return {**counts, "raters": len(people)}


def _consent(store: Store) -> str:
    """Return the section on what people agreed to; a playground without a playtest asks nobody."""
    given = consents_given(store)
    if not given:
        return "## Consent\n\nThe playground recorded no consent."
    rows = [f"| {playtest} | {version} | {people} |" for (playtest, version), people in sorted(given.items())]
    return "\n".join(["## Consent", "", "| playtest | version of the text | people who agreed |", "| --- | --- | --- |", *rows])


_ABOUT = f"""## What was taken out

Names that visitors gave themselves stand here as `Visitor`, and what they said of themselves as `(left out)`; comments and
times are in no row. `rater`, `player` (whose chat it is) and all ids are hashes of the playground's ids and of the salt in
`{SALT_FILE}`, so they find nothing in another data set. What people wrote in their chats is here as they wrote it.

A chat is in one `split` only, by a hash of its id. People who withdraw later leave this data set as well: `her publish
--withdraw` finds their rows by these hashes. After `her pull` a reward model is trained with
`her run reward pairs.files=[FOLDER/rm.parquet]`."""


def _write_parquet(store: Store, public: PublicRows, format: PublicFormat, folder: Path, people: set[str]) -> int:
    left_out: Counter[str] = Counter()
    columns = {**CHANGED, "rater": str, "turns": tuple[str, ...], "split": str}
    with ParquetLines(folder / f"{format}.parquet", format, EVERYTHING, changed=columns) as parquet:
        for line in lines(store, format, left_out):
            given = _with_rater(json.loads(line))
            row = public.row({**given, "split": chat_split(given["conversation"])})
            people.add(row["rater"])
            parquet.add(json.dumps(row, ensure_ascii=False) + "\n")
        parquet.left_out = _counted(left_out)
        return parquet.count


def _with_rater(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row that names its rater and turns; a vote has them in its verdict and its two sides."""
    if "verdict" not in row:
        return row
    turns = [row[side]["turn"]["id"] for side in ("a", "b")]
    return {**row, "rater": row["verdict"]["judge"], "turns": turns}


def _counted(left_out: Counter[str]) -> dict[str, int]:
    """Return what was left out by reason, without the names of raters that reasons begin with."""
    counts: Counter[str] = Counter()
    for reason, count in left_out.items():
        counts[re.sub(r"^rater:\S+ ", "raters who ", reason)] += count
    return dict(sorted(counts.items()))


def _require_none(folder: Path, ids: Collection[str]) -> None:
    """Look for ids of the database in what was written, the twelve digits of a rater included.

    Raises:
        HerError: one was found; nothing is published then.
    """
    known = {*ids, *(identity[:_SHORTENED] for identity in ids)}
    for path in sorted(folder.iterdir()):
        for place, text in texts_of(path):
            if found := known.intersection(_ID.findall(text)):
                raise HerError(
                    f"'{path.name}' {place} holds the id {min(found)[:6]}... of the database; this is a bug, report it"
                )
