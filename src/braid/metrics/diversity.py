"""Does it say more than a few safe sentences?"""

from collections import Counter
from collections.abc import Collection, Sequence

Counts = Counter[tuple[str, ...]]


def distinct(counts: Sequence[Counts], order: int) -> float:
    """Distinct n-grams of ``order`` as a share of all, over all texts together (distinct-n, arXiv:1510.03055), in 0..1."""
    whole: Counts = Counter()
    for grams in counts:
        whole.update({gram: count for gram, count in grams.items() if len(gram) == order})
    return len(whole) / max(whole.total(), 1)


def share_novel(texts: Sequence[Sequence[str]], known: Collection[tuple[str, ...]]) -> float:
    """The share of texts that are, word for word, none of ``known``, in 0..1."""
    return sum(tuple(words) not in known for words in texts) / max(len(texts), 1)
