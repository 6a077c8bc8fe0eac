"""METEOR from exact and stem matches alone: no synonyms, no paraphrases, no Java, and so named ``meteor-exact-stem``."""

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5  # of the original metric (Lavie & Agarwal 2007)


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    return str(_porter().stemWord(word))


@cache
def _porter() -> Any:
    import snowballstemmer  # here, because whoever captions one photo waits for what is imported, and scores nothing

    return snowballstemmer.stemmer("porter")


def meteor(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The best score over the references, in 0..1."""
    return max(_against(candidate, reference) for reference in references)


def _against(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """F-mean of precision and recall, lowered where the matches fall apart into many chunks."""
    matches, chunks = aligned(candidate, reference)
    if not matches:
        return 0.0
    precision, recall = matches / len(candidate), matches / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * (chunks / matches) ** BETA)


def aligned(candidate: Sequence[str], reference: Sequence[str]) -> tuple[int, int]:
    """Matched words and the chunks they form: longest common runs first, by word, then by stem."""
    links: dict[int, int] = {}
    for own, other in ((list(candidate), list(reference)), ([stem(w) for w in candidate], [stem(w) for w in reference])):
        while run := _longest_run(own, other, links):
            links.update({run[0] + i: run[1] + i for i in range(run[2])})
    places = sorted(links.items())
    breaks = sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in pairwise(places))
    return len(links), breaks + bool(links)


def _longest_run(own: Sequence[str], other: Sequence[str], links: dict[int, int]) -> tuple[int, int, int] | None:
    """Start in each text and length of the longest run of equal words that no link has taken; None if there is none."""
    taken = set(links.values())
    best = (0, 0, 0)
    before = [0] * (len(other) + 1)
    for i, word in enumerate(own):
        row = [0] * (len(other) + 1)
        for j, another in enumerate(other):
            if word == another and i not in links and j not in taken:
                row[j + 1] = before[j] + 1
                if row[j + 1] > best[2]:
                    best = (i - row[j + 1] + 1, j - row[j + 1] + 1, row[j + 1])
        before = row
    return best if best[2] else None
