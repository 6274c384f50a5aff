"""Test the renaming of people and places: one word for one word everywhere, roles kept, nothing of the book in a prompt."""

import pytest

from her.characters.anonymous import anonymised, proper_nouns, renaming
from her.characters.coser import BookScene
from her.format import parse
from her.types import CastMember, Scenario


def scene(**changes: object) -> BookScene:
    turns = (
        parse("Jane Bennet: <role_thinking>Lizzy must not go to Netherfield.</role_thinking>Stay, Elizabeth!", "Jane Bennet"),
        parse("Elizabeth Bennet: JANE, the Bennets never stay. We'll ride to Netherfield.", "Elizabeth Bennet"),
        parse("First Servant: Miss Bennet's carriage is here.", "First Servant"),
    )
    values: dict[str, object] = {
        "id": "s1",
        "book": "Pride and Prejudice",
        "plot": 1,
        "conversation": 0,
        "plot_summary": "Elizabeth walks to Netherfield; nobody stops her.",
        "scenario": Scenario(id="s1", source="Pride and Prejudice", setting="In the hall at Longbourn the Bennet sisters argue."),
        "cast": (
            CastMember(name="Jane Bennet", source="Pride and Prejudice", profile="**Key Traits**: Kind. Lives at Longbourn."),
            CastMember(name="Elizabeth Bennet", source="Pride and Prejudice", motivation="Lizzy wants to see Jane well."),
            CastMember(name="First Servant"),
        ),
        "major": ("Jane Bennet",),
        "experiences": {"Elizabeth Bennet": "Elizabeth goes."},
        "listed": ("Elizabeth Bennet", "Jane Bennet"),
        "turns": turns,
    }
    return BookScene(**{**values, **changes})  # type: ignore[arg-type]


def test_every_text_has_the_invented_names_and_none_has_the_true_ones() -> None:
    renamed, found = anonymised(scene())
    shown = renamed.model_dump_json(exclude={"book", "id"})
    for word in ("Jane", "JANE", "Elizabeth", "Bennet", "Netherfield", "Longbourn", "Pride"):
        assert word not in shown
    jane, bennet = found.words["Jane"], found.words["Bennet"]
    assert renamed.cast[0].name == f"{jane} {bennet}" == renamed.major[0] == renamed.listed[1] == renamed.turns[0].speaker
    assert renamed.turns[1].speaker.endswith(bennet) and renamed.turns[1].text("speech").startswith(jane.upper())
    assert renamed.turns[2].speaker == "First Servant" and f"Miss {bennet}'s carriage" in renamed.turns[2].raw
    assert list(renamed.experiences) == [renamed.cast[1].name] and "Key Traits" in renamed.cast[0].profile
    assert (renamed.id, renamed.book, renamed.turns[0].id) == ("s1", "Pride and Prejudice", renamed.turns[0].id)
    assert renamed.scenario.source == renamed.cast[0].source == ""


def test_the_same_book_has_the_same_names_in_every_scene() -> None:
    first, second = anonymised(scene()), anonymised(scene(plot=2, plot_summary="Nobody walks."))
    assert first[1].words["Jane"] == second[1].words["Jane"]
    assert first[0].cast == second[0].cast


def test_invented_names_are_no_words_of_the_scene_and_differ() -> None:
    words = renaming([f"Name{chr(97 + number)}x" for number in range(25)], ["brer harl"]).words
    assert len(set(words.values())) == 25 and not {"Brer", "Harl"} & set(words.values())


@pytest.mark.parametrize("text", ["Will you come?", "She said so. Perhaps it rains.", "I'll go on Monday.", "THE END of May"])
def test_words_that_are_no_names_stay(text: str) -> None:
    assert renaming(["Jane"], [text]).apply(text) == text


def test_proper_nouns_stand_inside_sentences() -> None:
    assert list(proper_nouns("Rain fell. He rode to Meryton with Mr. Darcy's dog.\n- **Core Traits**: Vain")) == [
        "Darcy",
        "Meryton",
    ]


def test_chinese_names_are_renamed_whole_and_given_places_too() -> None:
    found = renaming(["林黛玉", "宝玉"], ["黛玉在潇湘馆哭，林黛玉不理宝玉。"], ["潇湘馆"])
    text = found.apply("黛玉在潇湘馆哭，林黛玉不理宝玉。")
    assert not any(name in text for name in ("黛玉", "宝玉", "潇湘馆"))
    assert found.words["林黛玉"].endswith(found.words["黛玉"]) and text.count(found.words["黛玉"]) == 2
