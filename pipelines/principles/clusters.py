"""Group texts of principles that say the same: TF-IDF of character n-grams, then agglomerative clusters by average distance.

Character n-grams serve English and Chinese alike. Above `BLOCK` different texts a k-means splits them first, because the
distances of n texts take 8 n^2 bytes: 10 GB for the 36,373 principles of the HER paper.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 4000
SHOWN_WORDINGS = 12
"""Wordings of a cluster that the teacher reads when it distils it."""
_BLANKS = re.compile(r"\s+")


class Cluster(NamedTuple):
    """Texts that say the same.

    Args:
        texts: different wordings, the medoid first and then by their distance from it.
        namings: number of namings, repeats included.
    """

    texts: tuple[str, ...]
    namings: int


def cluster_texts(texts: Sequence[str], distance: float, seed: int = 0) -> list[Cluster]:
    """Return the clusters of some texts, the largest first.

    Args:
        distance: cosine distance below which two clusters are joined; 0 joins equal texts only.
    """
    counts = Counter(_BLANKS.sub(" ", text).strip() for text in texts)
    different = sorted(counts)
    labels = group_labels(different, distance, seed)
    groups: dict[int, list[str]] = {}
    for text, label in zip(different, labels, strict=True):
        groups.setdefault(label, []).append(text)
    clusters = [_cluster(group, counts) for group in groups.values()]
    return sorted(clusters, key=lambda cluster: (-cluster.namings, cluster.texts[0]))


def group_labels(texts: Sequence[str], distance: float, seed: int = 0) -> list[int]:
    """Return the number of the group of each text."""
    from sklearn.cluster import MiniBatchKMeans

    if len(texts) < 2 or distance <= 0:
        return list(range(len(texts)))
    vectors = text_vectors(texts)
    if len(texts) <= BLOCK:
        return _agglomerate(vectors, distance)
    blocks = MiniBatchKMeans(2 * len(texts) // BLOCK + 1, random_state=seed, n_init=1).fit_predict(vectors)
    labels = [0] * len(texts)
    begin = 0
    for block in np.unique(blocks):
        places = np.flatnonzero(blocks == block)
        found = _agglomerate(vectors[places], distance)
        for place, label in zip(places, found, strict=True):
            labels[place] = begin + label
        begin += max(found) + 1
    return labels


def text_vectors(texts: Sequence[str]) -> Any:
    """Return the TF-IDF rows of texts, sparse, of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)


def _agglomerate(vectors: Any, distance: float) -> list[int]:
    from sklearn.cluster import AgglomerativeClustering

    if vectors.shape[0] < 2:
        return [0] * vectors.shape[0]
    distances = np.clip(1 - (vectors @ vectors.T).toarray(), 0, None)
    model = AgglomerativeClustering(n_clusters=None, metric="precomputed", linkage="average", distance_threshold=distance)
    labels: NDArray[np.intp] = model.fit_predict(distances)
    return [int(label) for label in labels]


def _cluster(texts: Sequence[str], counts: Counter[str]) -> Cluster:
    """Return a cluster with its medoid first: the wording nearest to all namings."""
    total = sum(counts[text] for text in texts)
    if len(texts) == 1:
        return Cluster(tuple(texts), total)
    vectors = text_vectors(texts)
    weights = np.array([counts[text] for text in texts], dtype=float)
    near = np.asarray((vectors @ vectors.T).toarray())
    medoid = int(np.argmax(near @ weights))
    order = np.argsort(-near[medoid], kind="stable")
    return Cluster(tuple(texts[place] for place in order), total)
