"""Keep every rollout with its judgements and reward in Parquet, and show them on a page.

    python -m pipelines.rl.replay RUN          writes RUN's replay.html

`replay/STEP-HASH.parquet` has one row an answer (`SCHEMA`); the hash is of the answers, so a step that is repeated after a kill
writes the same file again. Judgements carry their comparisons by principle and the hash of the principles.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from her.errors import InputError
from her.files.atomic import replacing
from her.judging.groups import PairVerdict
from her.runs.folder import run_folder
from her.types import Language, Message, Value, Verdict
from pipelines.rl.reward import JudgedAnswer, JudgedGroup

log = logging.getLogger(__name__)
FOLDER = "replay"
FORMAT = "1"
SHOWN_GROUPS = 200
"""Groups of a page; of more, the first, the last and those between at equal distances."""


class ReplayRow(Value):
    """One answer of a group.

    Args:
        group: id of the prompt; with `step` and `draw` it names the group.
        draw: hash of the group's answers, since a flat group is drawn again.
        finished: whether the model ended the answer itself.
        sources: reward of each source on the scale from -1 to 1.
        penalties: of the shaping, by feature, 0 to 1.
        judgements: of pairs in which this answer stood first, or against the reference.
    """

    step: int
    group: str
    draw: str
    index: int
    size: int
    speaker: str
    language: Language
    prompt: tuple[Message, ...]
    others: tuple[str, ...]
    reference: str
    text: str
    finished: bool
    fault: str
    reward: float | None
    sources: dict[str, float | None]
    penalties: dict[str, float | None]
    judgements: tuple["ReplayJudgement", ...] = ()


class ReplayJudgement(Value):
    """One judgement: `second` is the other answer, -1 the reference; a missing verdict has a problem."""

    first: int
    second: int
    verdict: Verdict | None
    problem: str = ""


class ReplayGroup(NamedTuple):
    """The answers of one draw of one prompt."""

    step: int
    group: str
    draw: str
    rows: tuple[ReplayRow, ...]

    @property
    def failed(self) -> bool:
        """Return whether a judge failed on one of its answers."""
        return any(row.reward is None for row in self.rows)


class ReplayWriter:
    """Writer of one run; pass it to `GroupReward` as a watcher.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER

    def __call__(self, groups: Sequence[JudgedGroup], step: int) -> None:
        """Write the groups of one call."""
        rows = [row for group in groups for row in replay_rows(group, step)]
        name = hashlib.sha256("".join(row.group + row.draw for row in rows).encode()).hexdigest()[:12]
        write_rows(rows, self._folder / f"{step:06}-{name}.parquet")


def replay_rows(group: JudgedGroup, step: int) -> list[ReplayRow]:
    """Return the rows of a judged group."""
    draw = hashlib.sha256("\0".join(answer.turn.raw for answer in group.answers).encode("utf-8", "replace")).hexdigest()[:12]
    return [_row(answer, step, draw, len(group.answers)) for answer in group.answers]


def _row(answer: JudgedAnswer, step: int, draw: str, size: int) -> ReplayRow:
    reference = answer.group.reference
    return ReplayRow(
        step=step,
        group=answer.prompt_id,
        draw=draw,
        index=answer.place,
        size=size,
        speaker=answer.turn.speaker,
        language=answer.group.language,
        prompt=answer.group.prompt,
        others=answer.others,
        reference=reference.raw if reference else "",
        text=answer.turn.raw,
        finished=answer.fault != "truncated",
        fault=answer.fault,
        reward=answer.reward,
        sources=answer.sources,
        penalties=answer.penalties,
        judgements=tuple(map(_judgement, answer.judgements)),
    )


def _judgement(each: PairVerdict) -> ReplayJudgement:
    return ReplayJudgement(first=each.first, second=each.second, verdict=each.verdict, problem=each.problem)


def write_rows(rows: Sequence[ReplayRow], path: Path) -> None:
    """Write rows as one Parquet file, which appears whole or not at all."""
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    table = pa.Table.from_pylist([_fields(row) for row in rows], schema=_schema())
    try:
        parquet.write_table(table, part, compression="zstd")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _fields(row: ReplayRow) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(row.model_dump_json())
    # One type for all rows, whatever the sources and principles are called: nested values are JSON texts.
    for name in ("sources", "penalties", "judgements"):
        fields[name] = json.dumps(fields[name], ensure_ascii=False)
    return fields


def _schema() -> Any:
    import pyarrow as pa

    text = pa.string()
    message = pa.struct([("role", text), ("content", text)])
    whole = {"step": pa.int64(), "index": pa.int64(), "size": pa.int64(), "finished": pa.bool_(), "reward": pa.float64()}
    lists = {"prompt": pa.list_(message), "others": pa.list_(text)}
    types = {**whole, **lists}
    return pa.schema([(name, types.get(name, text)) for name in ReplayRow.model_fields], metadata={"her_replay": FORMAT})


def read_rows(folder: Path) -> Iterator[ReplayRow]:
    """Yield every row of a run's replay, or of one rescoring of it, by step.

    Args:
        folder: that holds the Parquet files.

    Raises:
        InputError: there is no replay, or a file is damaged or of another version.
    """
    import pyarrow as pa
    from pyarrow import parquet

    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"'{folder}' holds no rollouts; the run was started with reward.replay=false, or has not sampled yet")
    for file in files:
        try:
            table = parquet.read_table(file)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"'{file}' cannot be read as Parquet ({error}); delete it") from error
        if (version := (table.schema.metadata or {}).get(b"her_replay", b"").decode("utf-8", "replace")) != FORMAT:
            raise InputError(f"'{file}' has version {version!r} of the replay and this HER reads {FORMAT!r}")
        for fields in table.to_pylist():
            for name in ("sources", "penalties", "judgements"):
                fields[name] = json.loads(fields[name])
            yield ReplayRow.model_validate_json(json.dumps(fields))


def read_groups(folder: Path) -> Iterator[ReplayGroup]:
    """Yield the groups of a replay; arguments and errors as `read_rows`."""
    for (step, group, draw), rows in groupby(read_rows(folder), lambda row: (row.step, row.group, row.draw)):
        yield ReplayGroup(step, group, draw, tuple(rows))


def write_page(groups: Iterable[ReplayGroup], path: Path, title: str) -> int:
    """Write the page of a replay; return how many groups are on it."""
    listed = list(groups)
    shown = _thinned(listed)
    text = _template().render(title=title, groups=shown, count=len(listed))
    with replacing(path) as file:
        file.write(text)
    return len(shown)


def _thinned(groups: Sequence[ReplayGroup]) -> list[ReplayGroup]:
    if len(groups) <= SHOWN_GROUPS:
        return list(groups)
    distance = (len(groups) - 1) / (SHOWN_GROUPS - 1)
    return [groups[round(number * distance)] for number in range(SHOWN_GROUPS)]


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("replay.html.jinja")


def main(words: Sequence[str]) -> int:
    """Write the page of the run that `words` names, and say where it is."""
    if len(words) != 1:
        raise InputError("name one run: python -m pipelines.rl.replay RUN")
    folder = run_folder(words[0])
    shown = write_page(read_groups(folder / FOLDER), folder / "replay.html", f"Rollouts of {words[0]}")
    sys.stdout.write(f"{folder / 'replay.html'}: {shown} groups\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
