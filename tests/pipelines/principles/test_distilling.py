"""pipelines/principles/distilling.py: one bilingual principle a cluster, joined when equal; a bad answer is missing."""

from typing import Any

import pytest

from her.judging.principles import load_dimensions
from her.types import Sampling
from pipelines.principles.clusters import Cluster
from pipelines.principles.distilling import Distilled, distil, new_id
from pipelines.principles.options import ClusterOptions
from pipelines.principles.questions import PrincipleCallers
from tests.pipelines.principles.small import options
from tests.teaching import Spoil, answering, teaching

OATH, ANIMAL = "Swears an oath: an oath is sworn.", "An animal is heard: one hears an animal."
CLUSTERS = (
    Cluster((OATH, "起誓: 人物起誓。"), 9),
    Cluster((ANIMAL,), 4),
    Cluster((f"Here: {OATH}",), 3),
    Cluster(("Something else",), 1),
)


async def distilled(spoil: Spoil | None = None, **changes: Any) -> Distilled:
    with teaching(spoil) as server:
        async with PrincipleCallers(options(server.spec), None) as callers:
            return await distil(callers, CLUSTERS, load_dimensions(), ClusterOptions(**changes), Sampling())


async def test_equal_principles_are_joined_and_small_clusters_left_out() -> None:
    found = await distilled()
    assert [(each.entry.id, each.namings) for each in found.candidates] == [("swears-an-oath", 12), ("an-animal-is-heard", 4)]
    oath = found.candidates[0]
    assert oath.dimension == "character_development" and oath.entry.zh.name == "起誓" and len(oath.wordings) == 2
    assert found.left_out == {"small": 1, "the same": 1} and not found.missing
    assert (await distilled(most=1)).left_out == {"small": 1, "beyond the largest": 2}
    assert len((await distilled(least=1)).missing) == 1  # the teacher knows no principle for it


def spoiled(**changes: Any) -> Spoil:
    return answering("distil_principle", lambda payload, answer, count: {**answer, **changes})


LONG = {"name": "x", "definition": "y" * 301, "good": "a", "bad": "b"}


@pytest.mark.parametrize(
    "spoil",
    [
        spoiled(dimension="cooking"),
        spoiled(zh={"name": "x", "definition": "Not Chinese at all.", "good": "a", "bad": "b"}),
        spoiled(en=LONG),
        spoiled(en={"name": "x", "definition": "y", "good": "same", "bad": "same"}),
        spoiled(polarity="neutral"),
    ],
)
async def test_what_no_library_may_hold_is_missing(spoil: Spoil) -> None:
    found = await distilled(spoil)
    assert not found.candidates and len(found.missing) == 3


async def test_control_characters_and_marks_of_direction_do_not_reach_the_library() -> None:
    hostile = {"name": "A\u202etrick", "definition": "Line one\nline\x00 two\u2066 here", "good": "a\u200b", "bad": "b"}
    found = await distilled(spoiled(en=hostile))
    entry = found.candidates[0].entry
    assert (entry.en.name, entry.en.definition, entry.en.good) == ("A trick", "Line one line two here", "a")


def test_ids_are_letters_and_unique() -> None:
    assert new_id("No Filler Phrase!", ()) == "no-filler-phrase"
    assert new_id("Oath", {"oath", "oath-2"}) == "oath-3" and new_id("誓言", ()) == "principle"
