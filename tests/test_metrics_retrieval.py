"""Recall both ways with several texts a picture: by hand, against a plain loop, and in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from braid.metrics import retrieval, score_retrieval, score_similarities

# Two pictures, two texts each: rows are pictures, columns texts.
SIMILARITIES = np.array([[0.3, 0.9, 0.8, 0.1], [0.5, 0.2, 0.4, 0.6]])
OWNER = np.array([0, 0, 1, 1])


def test_by_hand() -> None:
    found = score_similarities(SIMILARITIES, OWNER)
    assert found.text_ranks.tolist() == [1, 1]  # the best of a picture's own texts counts
    assert found.image_ranks.tolist() == [2, 1, 2, 1]
    assert found.metrics == {
        "text-recall@1": 100,
        "text-recall@5": 100,
        "text-recall@10": 100,
        "text-median-rank": 1,
        "image-recall@1": 50,
        "image-recall@5": 100,
        "image-recall@10": 100,
        "image-median-rank": 1.5,
        "num_samples": 2,
    }


def test_ties_and_nan_help_nobody() -> None:
    assert score_similarities(np.ones((3, 6)), np.arange(6) // 2).text_ranks.tolist() == [5, 5, 5]  # four of other pictures
    assert score_similarities(np.ones((3, 6)), np.arange(6) // 2).image_ranks.tolist() == [3] * 6
    broken = np.where(np.eye(4), np.nan, 1.0)
    assert score_similarities(broken, np.arange(4)).text_ranks.tolist() == [4] * 4
    assert score_similarities(np.full((4, 4), np.nan), np.arange(4)).image_ranks.tolist() == [4] * 4


def plain(similarities: np.ndarray, owner: np.ndarray) -> tuple[list[int], list[int]]:
    """Candidates sorted one query after another, as the protocol is told."""
    texts = [
        next(place for place, text in enumerate(np.argsort(-row), 1) if owner[text] == image)
        for image, row in enumerate(similarities)
    ]
    images = [1 + np.argsort(-column).tolist().index(owner[text]) for text, column in enumerate(similarities.T)]
    return texts, images


@pytest.mark.parametrize("block", [1, 30, 1 << 22])
def test_blocks_of_any_size_give_the_ranks_of_a_plain_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "BLOCK", block)
    rng = np.random.default_rng(0)
    owner = rng.permutation(np.concatenate([np.arange(12), rng.integers(0, 12, 25)]))  # unequal numbers of texts, in any order
    images = rng.normal(size=(12, 6)).astype(np.float32)
    texts = (images[owner] + 1.5 * rng.normal(size=(37, 6))).astype(np.float32)
    found = score_retrieval(images, texts, owner)
    assert (found.text_ranks.tolist(), found.image_ranks.tolist()) == plain(images @ texts.T, owner)
    known = score_similarities(images @ texts.T, owner)
    assert (known.text_ranks == found.text_ranks).all()
    assert (known.image_ranks == found.image_ranks).all()


def test_memory_stays_bounded() -> None:
    """The whole matrix would take 200 MB, and its comparisons as much again."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3_000, 8)).astype(np.float32)
    texts = np.repeat(images, 5, 0) + rng.normal(size=(15_000, 8)).astype(np.float32)
    tracemalloc.start()
    try:
        found = score_retrieval(images, texts, np.repeat(np.arange(3_000), 5))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80e6
    assert found.metrics["text-recall@10"] > found.metrics["text-recall@1"] > 5
