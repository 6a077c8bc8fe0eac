"""Retrieval of texts by image and of images by text: recall at K and median rank (Hodosh et al. 2013)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from braid.shapes import Float, Int, Shaped

RECALL_AT = (1, 5, 10)
BLOCK = 1 << 22  # similarities in memory at once: 16 MB as float32


@dataclass(frozen=True)
class RetrievalScores:
    """Ranks from 1: of each image's best-ranked text among all texts, and of each text's image among all images."""

    text_ranks: Int[np.ndarray, " images"]
    image_ranks: Int[np.ndarray, " texts"]

    @property
    def metrics(self) -> dict[str, float]:
        """``text-recall@K`` (of texts, by image) and ``image-recall@K`` (of images, by text): the share of queries with a rank of
        at most K, x100, higher is better. ``text-median-rank`` and ``image-median-rank``: from 1, lower is better.
        ``num_samples`` counts images."""
        result: dict[str, float] = {}
        for name, ranks in (("text", self.text_ranks), ("image", self.image_ranks)):
            result |= {f"{name}-recall@{k}": 100 * float((ranks <= k).mean()) for k in RECALL_AT}
            result[f"{name}-median-rank"] = float(np.median(ranks))
        return result | {"num_samples": float(len(self.text_ranks))}


def score_retrieval(
    images: Float[np.ndarray, "images width"], texts: Float[np.ndarray, "texts width"], owner: Int[np.ndarray, " texts"]
) -> RetrievalScores:
    """Rank by the inner product of embeddings (the cosine, if they have length 1).

    Args:
        owner: the row of the image that each text describes; every image has at least one text.
    """
    keys = np.arange(len(images))
    return RetrievalScores(
        _ranks(lambda part: images[part] @ texts.T, keys, owner), _ranks(lambda part: texts[part] @ images.T, owner, keys)
    )


def score_similarities(similarities: Float[np.ndarray, "images texts"], owner: Int[np.ndarray, " texts"]) -> RetrievalScores:
    """``score_retrieval`` of similarities that are already computed."""
    keys = np.arange(len(similarities))
    return RetrievalScores(
        _ranks(lambda part: similarities[part], keys, owner), _ranks(lambda part: similarities[:, part].T, owner, keys)
    )


def _ranks(
    similarities: Callable[[slice], Float[np.ndarray, "block candidates"]],
    queries: Shaped[np.ndarray, " queries"],
    candidates: Shaped[np.ndarray, " candidates"],
) -> Int[np.ndarray, " queries"]:
    """The rank of the best candidate that has the query's key.

    A candidate with another key ranks before it if it is equally similar, or if its similarity is NaN.
    """
    assert np.isin(queries, candidates).all(), "each query has a candidate"
    rows = max(1, BLOCK // len(candidates))
    ranks = np.empty(len(queries), dtype=np.int64)
    for first in range(0, len(queries), rows):
        part = slice(first, first + rows)
        block, own = similarities(part), queries[part, None] == candidates
        best = np.where(own, block, -np.inf).max(1, keepdims=True)
        ranks[part] = 1 + (~(block < best) & ~own).sum(1)
    return ranks
