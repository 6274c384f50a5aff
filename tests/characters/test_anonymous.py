"""Test the renaming of people and places: one word for one word everywhere, roles kept, nothing of the book in a prompt."""

import pytest

from her.characters.anonymous import Renaming, anonymised, proper_nouns, renaming
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


def test_chinese_places_are_found_and_keep_their_endings() -> None:
    text = "黛玉回潇湘馆，宝玉在怡红院等她。他们到荣国府去，又在花园里、在后院、往大街上走。荣国府的人都在。"
    renamed = renaming(["黛玉", "宝玉"], [text]).apply(text)
    assert not any(place in renamed for place in ("潇湘", "怡红", "荣国"))
    assert all(kept in renamed for kept in ("在花园里", "在后院", "往大街上"))
    places = [word for word in renaming(["黛玉"], [text]).words.values() if word[-1] in "馆院府"]
    assert len(places) == 3 and renamed.count(next(word for word in places if word.endswith("府"))) == 2


def test_short_forms_of_a_chinese_name_follow_the_whole_one() -> None:
    text = "王建国来了。王先生请坐，建国你也坐。简·班纳特和伊丽莎白·班纳特在内瑟菲尔德庄；这很简单，班纳特小姐。"
    found = renaming(["王建国", "简·班纳特", "伊丽莎白·班纳特"], [text])
    renamed = found.apply(text)
    assert not any(name in renamed for name in ("王建国", "王先生", "建国", "班纳特", "伊丽莎白")) and "这很简单" in renamed
    new = found.words["王建国"]
    assert f"{new[0]}先生请坐，{new[1:]}你也坐" in renamed
    sisters = [found.words[name].split("·")[1] for name in ("简·班纳特", "伊丽莎白·班纳特")]
    assert sisters[0] == sisters[1] == found.words["班纳特"] and renamed.count(sisters[0]) == 3


def test_an_invented_name_is_not_renamed_again() -> None:
    found = Renaming(words={"林黛玉": "沈宝玉", "宝玉": "云青"})
    assert found.apply("林黛玉看宝玉") == "沈宝玉看云青"
