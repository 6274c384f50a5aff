"""Distil every cluster into one principle in both languages; what is the same afterwards is joined."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from her.judging.principles import DIMENSIONS, DimensionFile, PrincipleEntry
from her.types import Sampling
from pipelines.principles.answers import DistilledPrinciple
from pipelines.principles.clusters import SHOWN_WORDINGS, Cluster, group_labels
from pipelines.principles.options import ClusterOptions
from pipelines.principles.questions import PrincipleCallers, answers, question

DISTIL_TOKENS = 2000
LONGEST_ID = 48
_WORD = re.compile(r"[a-z0-9]+")


class Candidate(NamedTuple):
    """A distilled principle before its test.

    Args:
        namings: namings of it, over all pairs it was made from.
        wordings: typical wordings of the pairs' own principles.
    """

    entry: PrincipleEntry
    dimension: str
    namings: int
    wordings: tuple[str, ...]


class Distilled(NamedTuple):
    """Candidates by the number of their namings, clusters left out by reason, and why answers are missing."""

    candidates: tuple[Candidate, ...]
    left_out: dict[str, int]
    missing: tuple[str, ...]


async def distil(
    callers: PrincipleCallers,
    clusters: Sequence[Cluster],
    library: Sequence[DimensionFile],
    options: ClusterOptions,
    sampling: Sampling,
) -> Distilled:
    """Ask the teacher for the one principle behind each cluster that is large enough.

    Raises:
        BudgetSpent, BackendError: the budget is spent, or no endpoint is left.
    """
    large = [cluster for cluster in clusters if cluster.namings >= options.least]
    asked = large[: options.most or None]
    names = {file.id: file.en for file in library}
    dimensions = {name: names.get(name, name) for name in DIMENSIONS}
    calls = (
        question(
            "distil_principle",
            str(number),
            "en",
            {"principles": list(cluster.texts[:SHOWN_WORDINGS]), "count": cluster.namings, "dimensions": dimensions},
            DistilledPrinciple,
            sampling.model_copy(update={"max_tokens": DISTIL_TOKENS}),
        )
        for number, cluster in enumerate(asked)
    )
    found: list[tuple[DistilledPrinciple, Cluster]] = []
    missing: list[str] = []
    at = 0
    async for answer in answers(callers.teacher, calls):
        if isinstance(answer.value, DistilledPrinciple):
            found.append((answer.value, asked[at]))
        else:
            missing.append(answer.error or "no answer")
        at += 1
    taken = {entry.id for file in library for entry in file.principles}
    candidates = _joined(found, options.same, taken)
    left_out = {
        "small": len(clusters) - len(large),
        "beyond the largest": len(large) - len(asked),
        "the same": len(found) - len(candidates),
    }
    return Distilled(candidates, {why: count for why, count in left_out.items() if count}, tuple(missing))


def new_id(name: str, taken: Iterable[str]) -> str:
    """Return an id made of a name's letters that no other principle has."""
    bare = "-".join(_WORD.findall(name.casefold()))[:LONGEST_ID].strip("-") or "principle"
    others, number, candidate = set(taken), 2, bare
    while candidate in others:
        candidate, number = f"{bare}-{number}", number + 1
    return candidate


def _joined(found: Sequence[tuple[DistilledPrinciple, Cluster]], same: float, taken: set[str]) -> tuple[Candidate, ...]:
    """Return one candidate for each group of equal principles, in the words of its largest cluster."""
    labels = _same_labels([f"{each.en.name}: {each.en.definition}" for each, _ in found], same)
    groups: dict[int, list[tuple[DistilledPrinciple, Cluster]]] = {}
    for label, each in zip(labels, found, strict=True):
        groups.setdefault(label, []).append(each)
    candidates: list[Candidate] = []
    for group in sorted(groups.values(), key=lambda group: -sum(cluster.namings for _, cluster in group)):
        first = max(group, key=lambda each: each[1].namings)[0]
        entry = first.entry(new_id(first.en.name, taken))
        taken.add(entry.id)
        wordings = tuple(cluster.texts[0] for _, cluster in group)
        candidates.append(Candidate(entry, first.dimension, sum(cluster.namings for _, cluster in group), wordings))
    return tuple(candidates)


def _same_labels(texts: Sequence[str], same: float) -> list[int]:
    """Return group numbers; equal texts share one even where their vectors would not be compared."""
    different = sorted(set(texts))
    groups = dict(zip(different, group_labels(different, same), strict=True))
    return [groups[text] for text in texts]
