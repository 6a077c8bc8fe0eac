"""Pure functions (predictions, references) -> figures, without Java or downloads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from braid.errors import UserError
from braid.metrics.bleu import bleu, bleu_statistics
from braid.metrics.bootstrap import interval
from braid.metrics.calibration import Calibration, ReliabilityBin, expected_calibration_error, fit_calibration, reliability
from braid.metrics.cider import Cider
from braid.metrics.diversity import distinct, share_novel
from braid.metrics.meteor import meteor
from braid.metrics.rouge import rouge_l
from braid.metrics.tokenizers import ngram_counts, tokenizer_named

BLEUS = ("bleu-1", "bleu-2", "bleu-3", "bleu-4")
MEANS = ("rouge-l", "cider", "cider-d", "meteor-exact-stem")

__all__ = [
    "Calibration",
    "CaptionScores",
    "Cider",
    "ReliabilityBin",
    "bleu",
    "bleu_statistics",
    "caption_diversity",
    "expected_calibration_error",
    "fit_calibration",
    "ngram_counts",
    "reliability",
    "score_captions",
    "tokenizer_named",
]


@dataclass(frozen=True)
class CaptionScores:
    """Caption metrics over a corpus, x100 (CIDEr's own factor of 10 is left out of that: 0.53 is told as 53)."""

    ids: tuple[str, ...]
    statistics: Float[np.ndarray, "items statistics"]  # what BLEU adds up
    means: Float[np.ndarray, "items metrics"]  # those of MEANS, x100

    @cached_property
    def figures(self) -> dict[str, float]:
        """Metric -> corpus figure x100, and ``num_samples``."""
        corpus = 100 * bleu(self.statistics.sum(0))
        found = [*zip(BLEUS, corpus, strict=True), *zip(MEANS, self.means.mean(0), strict=True)]
        return {**{name: float(value) for name, value in found}, "num_samples": float(len(self.ids))}

    @cached_property
    def items(self) -> dict[str, dict[str, float]]:
        """id -> metric -> figure x100 of that item alone (document frequencies are the corpus's)."""
        rows = np.concatenate([100 * bleu(self.statistics), self.means], 1)
        return {key: dict(zip((*BLEUS, *MEANS), row.tolist(), strict=True)) for key, row in zip(self.ids, rows, strict=True)}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Metric -> 95% bootstrap interval over items; CIDEr's document frequencies stay those of the corpus."""
        found = {name: interval(self.statistics, lambda s, k=k: 100 * bleu(s)[:, k]) for k, name in enumerate(BLEUS)}  # type: ignore[misc]
        return found | {name: interval(self.means[:, [k]], lambda m: m[:, 0]) for k, name in enumerate(MEANS)}


def score_captions(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], tokenizer: str = "ptb"
) -> CaptionScores:
    """Score one text an id against that id's references.

    Raises:
        UserError: when the ids differ, an id has no reference, or there are none at all.
    """
    _check(predictions, references)
    split = tokenizer_named(tokenizer)
    words = {key: [split(text) for text in texts] for key, texts in references.items()}
    counts = {key: [ngram_counts(reference) for reference in texts] for key, texts in words.items()}
    cider = Cider(counts.values())
    rows, means = [], []
    for key, text in predictions.items():
        candidate, given = split(text), words[key]
        grams = ngram_counts(candidate)
        rows.append(bleu_statistics(grams, len(candidate), counts[key], [len(reference) for reference in given]))
        vector, others = cider.vector(grams), [cider.vector(reference) for reference in counts[key]]
        ciders = cider.cider(vector, others), cider.cider_d(vector, others)
        means.append([100 * rouge_l(candidate, given), *(100 * score for score in ciders), 100 * meteor(candidate, given)])
    return CaptionScores(tuple(predictions), np.array(rows), np.array(means))


def caption_diversity(texts: Sequence[str], known: Iterable[str] = (), tokenizer: str = "ptb") -> dict[str, float]:
    """x100: ``distinct-1`` and ``distinct-2``, ``different`` (captions that differ, of all) and, given the captions that were
    trained on, ``novel`` (captions that are none of them)."""
    split = tokenizer_named(tokenizer)
    words = [split(text) for text in texts]
    counts = [ngram_counts(one, longest=2) for one in words]
    found = {f"distinct-{order}": distinct(counts, order) for order in (1, 2)}
    found["different"] = len({tuple(one) for one in words}) / max(len(words), 1)
    seen = {tuple(split(text)) for text in known}
    if seen:
        found["novel"] = share_novel(words, seen)
    return {name: 100 * value for name, value in found.items()}


def _check(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    if not predictions:
        raise UserError("there are no predictions to score")
    for has, lacks, what in ((predictions, references, "no references"), (references, predictions, "no prediction")):
        missing = [key for key in has if key not in lacks]
        if missing:
            raise UserError(f"{len(missing)} ids have {what}, first {missing[0]!r}; give both for the same ids")
    for key, texts in references.items():
        if isinstance(texts, str) or not texts:
            raise UserError(f"the references of {key!r} are {texts!r}; give a list of at least one text")
