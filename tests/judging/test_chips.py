"""her/judging/chips.py: principles as chips in both languages, and votes whose reasons are checked."""

import pytest

from her.errors import InputError
from her.judging.chips import MOST_WHY, check_vote, why_chips
from her.judging.principles import library_hash, load_principles
from her.store import Vote
from her.types import Winner

IDS = [chip.id for chip in why_chips("en")]


def test_the_chips_are_the_principles_of_a_turn_in_each_language() -> None:
    english, chinese = why_chips("en"), why_chips("zh")
    assert [chip.id for chip in english] == [chip.id for chip in chinese]
    assert {chip.id for chip in english} == {each.id for each in load_principles() if each.level == "turn"}
    assert all(left.label != right.label and left.group != right.group for left, right in zip(english, chinese, strict=True))


def test_a_vote_records_the_library_of_its_reasons() -> None:
    vote = Vote(winner="a", why=(IDS[0], IDS[1]), dimensions={"voice": "b"})
    assert check_vote(vote) == vote.model_copy(update={"principles": library_hash()})
    assert check_vote(Vote(winner="tie")).principles == ""


@pytest.mark.parametrize(
    ("why", "dimensions", "said"),
    [
        (("made_up",), {}, "principle 'made_up' is not in the library"),
        ((IDS[0], IDS[0]), {}, "2 reasons; give at most 8, each once"),
        (tuple(IDS[: MOST_WHY + 1]), {}, "9 reasons"),
        ((), {"beauty": "a"}, "dimension 'beauty' is not in rubric"),
    ],
)
def test_a_vote_with_other_reasons_is_refused(why: tuple[str, ...], dimensions: dict[str, Winner], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_vote(Vote(winner="a", why=why, dimensions=dimensions))
