"""her/feedback/rubric.py: a rating from a browser is checked against the rubric, and each fault is one sentence."""

import pytest

from her.errors import InputError
from her.feedback.rubric import RUBRIC, check_rating, read_rating
from her.store import Rating
from tests.store.samples import SEEN, rating


def test_the_rubric_has_the_agreed_dimensions_in_two_languages() -> None:
    assert [label.id for label in RUBRIC.dimensions] == [
        "in_character",
        "voice",
        "coherence",
        "emotional_depth",
        "thought_and_speech_agree",
        "engaging",
    ]
    for label in (*RUBRIC.dimensions, *RUBRIC.tags):
        assert label.label("en") and label.label("zh") and label.label("en") != label.label("zh")
    assert all(label.hint("en") and label.hint("zh") for label in RUBRIC.dimensions)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"thumb": -1},
        {"stars": {"voice": 1, "engaging": 5}, "tags": ["repeats"], "comment": "太长", "thumb": None},
        {"comment": "x" * 4_000, "seen": SEEN.model_dump(mode="json"), "rubric": RUBRIC.version},
    ],
)
def test_a_good_rating_is_read(sent: dict[str, object]) -> None:
    rating = read_rating(sent)
    assert rating.rubric == RUBRIC.version
    assert {name: rating.model_dump(mode="json")[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"stars": {"charm": 3}}, "dimension 'charm' is not in rubric 2026-12; known are in_character, voice"),
        ({"stars": {"voice": 6}}, "dimension 'voice' has 6 stars; give 1, 2, 3, 4 or 5"),
        ({"stars": {"voice": 0}}, "dimension 'voice' has 0 stars"),
        ({"stars": {"voice": 4.5}}, "dimension 'voice' has 4.5 stars"),
        ({"stars": {"voice": True}}, "dimension 'voice' has True stars"),
        ({"stars": {"voice": "5"}}, "dimension 'voice' has 5 stars"),
        ({"stars": [5]}, "the rating is not valid: stars is '\\[5\\]'"),
        ({"tags": ["rude"]}, "tag 'rude' is not in rubric"),
        ({"tags": ["repeats", "repeats"]}, "tag 'repeats' is given more than once"),
        ({"thumb": 2}, "the rating is not valid: thumb is '2'"),
        ({"comment": "x" * 4_001}, "the comment has 4,001 characters; write at most 4,000"),
        ({"comment": "\ud83d"}, "the rating is not valid"),
        ({"rubric": "2020-01"}, "rubric '2020-01' is not the one in use"),
        ({"seen": {"layout": "tall"}}, "the rating is not valid: seen.layout is 'tall'"),
        ({"seen": {"swipe_count": 0}}, "the rating is not valid: seen.swipe_count is '0'"),
        ({"score": 5}, "the rating is not valid: score is '5'"),
        ({"comment": object()}, "the rating is not valid"),
    ],
)
def test_a_bad_rating_is_one_sentence(sent: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read_rating(sent)
    assert "\n" not in str(caught.value)


def test_a_built_rating_is_checked_too() -> None:
    assert check_rating(rating(1, {"voice": 5})).thumb == 1
    with pytest.raises(InputError, match="is not in rubric"):
        check_rating(Rating(rubric=RUBRIC.version, stars={"charm": 3}))


@pytest.mark.parametrize(
    ("opinion", "empty"),
    [
        (rating(), True),
        (rating(comment="  "), True),
        (rating(0), False),
        (rating(stars={"voice": 1}), False),
        (rating(tags=("repeats",)), False),
    ],
)
def test_only_a_rating_that_says_nothing_withdraws(opinion: Rating, empty: bool) -> None:
    assert opinion.empty is empty


@pytest.mark.whole
def test_hundreds_of_thousands_of_tags_are_refused_in_linear_time() -> None:
    with pytest.raises(InputError, match="tag 'repeats' is given more than once"):
        read_rating({"tags": ["repeats"] * 800_000})
