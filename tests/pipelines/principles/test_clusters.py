"""pipelines/principles/clusters.py: wordings of one principle come together, in both languages; others stay apart."""

import pytest

from her.backends.teacher_principles import OPENINGS, TRAITS, trait_of
from pipelines.principles import clusters
from pipelines.principles.clusters import cluster_texts


def wordings(language: str) -> list[str]:
    return [
        f"{words.name}: {opening}{said}"
        for trait in TRAITS
        for words in (trait.words(language),)  # type: ignore[arg-type]
        for said in (words.definition, words.paraphrase)
        for opening in OPENINGS[language]
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_wordings_of_a_principle_are_one_cluster(language: str) -> None:
    texts = wordings(language)
    found = cluster_texts(texts, 0.7)
    traits = [{trait.id for text in each.texts if (trait := trait_of(text))} for each in found]
    assert sum(each.namings for each in found) == len(texts)
    assert sum(len(each) > 1 for each in traits) <= 2 and len(TRAITS) - 2 <= len(found) <= len(TRAITS) + 6


def test_equal_texts_are_counted_and_the_medoid_comes_first() -> None:
    texts = ["Shows the fear of the king", "Shows the  fear of the king", "Shows fear of a king", "An owl is heard"]
    first, second = cluster_texts(texts, 0.9)
    assert first.namings == 3 and first.texts[0] == "Shows the fear of the king" and len(first.texts) == 2
    assert second == (("An owl is heard",), 1)
    assert len(cluster_texts(texts, 0)) == 3 and cluster_texts([], 0.7) == []


def test_many_texts_are_split_into_blocks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = wordings("en")
    monkeypatch.setattr(clusters, "BLOCK", 30)
    found = cluster_texts(texts, 0.7)
    assert sum(each.namings for each in found) == len(texts) and len(found) < len(texts) / 2
