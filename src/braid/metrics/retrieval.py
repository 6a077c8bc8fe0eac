"""Finding a picture's texts and a text's picture: recall at K and median rank both ways (Hodosh et al. 2013)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from braid.shapes import Float, Int, Shaped

AT = (1, 5, 10)
BLOCK = 1 << 22  # similarities looked at at once: 16 MB as float32


@dataclass(frozen=True)
class RetrievalScores:
    """Ranks from 1: of each picture's best-placed text among all texts, and of each text's picture among all pictures."""

    text_ranks: Int[np.ndarray, " images"]
    image_ranks: Int[np.ndarray, " texts"]

    @property
    def metrics(self) -> dict[str, float]:
        """``text-recall@K`` and ``image-recall@K`` x100, ``text-median-rank``, ``image-median-rank``; the text is found from
        the picture and the other way round. ``num_samples`` counts pictures."""
        result: dict[str, float] = {}
        for name, ranks in (("text", self.text_ranks), ("image", self.image_ranks)):
            result |= {f"{name}-recall@{k}": 100 * float((ranks <= k).mean()) for k in AT}
            result[f"{name}-median-rank"] = float(np.median(ranks))
        return result | {"num_samples": float(len(self.text_ranks))}


def score_retrieval(
    images: Float[np.ndarray, "images width"], texts: Float[np.ndarray, "texts width"], owner: Int[np.ndarray, " texts"]
) -> RetrievalScores:
    """Rank by the inner product of embeddings (cosine, where they have length 1).

    Args:
        owner: the row of the picture that each text describes; every picture has at least one.
    """
    keys = np.arange(len(images))
    return RetrievalScores(
        _ranks(lambda part: images[part] @ texts.T, keys, owner), _ranks(lambda part: texts[part] @ images.T, owner, keys)
    )


def score_similarities(similarities: Float[np.ndarray, "images texts"], owner: Int[np.ndarray, " texts"]) -> RetrievalScores:
    """``score_retrieval`` of similarities that are known already, whatever they are made of."""
    keys = np.arange(len(similarities))
    return RetrievalScores(
        _ranks(lambda part: similarities[part], keys, owner), _ranks(lambda part: similarities[:, part].T, owner, keys)
    )


def _ranks(
    similarities: Callable[[slice], Float[np.ndarray, "block candidates"]],
    queries: Shaped[np.ndarray, " queries"],
    candidates: Shaped[np.ndarray, " candidates"],
) -> Int[np.ndarray, " queries"]:
    """The rank of the best-placed candidate that has the query's key.

    A candidate of another key that is equally similar, or whose similarity is NaN, stands before it.
    """
    assert np.isin(queries, candidates).all(), "each query has something to be found"
    rows = max(1, BLOCK // len(candidates))
    ranks = np.empty(len(queries), dtype=np.int64)
    for first in range(0, len(queries), rows):
        part = slice(first, first + rows)
        block, own = similarities(part), queries[part, None] == candidates
        best = np.where(own, block, -np.inf).max(1, keepdims=True)
        ranks[part] = 1 + (~(block < best) & ~own).sum(1)
    return ranks
