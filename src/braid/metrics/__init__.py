"""Pure functions (predictions, references) -> figures, without Java or downloads."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from braid.errors import UserError
from braid.metrics.bleu import bleu, bleu_statistics
from braid.metrics.bootstrap import Difference, interval, paired_difference
from braid.metrics.calibration import (
    Calibration,
    LabelOutcomes,
    Measured,
    Outcomes,
    ReliabilityBin,
    TextOutcomes,
    cross_fit,
    expected_calibration_error,
    fit_calibration,
    fit_label_temperature,
    fit_temperature,
    reliability,
)
from braid.metrics.cider import Cider
from braid.metrics.classification import (
    accuracy,
    auroc,
    confusion,
    macro_auroc,
    macro_f1,
    micro_f1,
    one_hot,
    outcomes,
    regression,
)
from braid.metrics.diversity import distinct, share_novel
from braid.metrics.fidelity import frechet_distance, kernel_distance, precision_recall
from braid.metrics.meteor import meteor
from braid.metrics.pictures import code_use, psnr, ssim
from braid.metrics.retrieval import RetrievalScores, score_retrieval, score_similarities
from braid.metrics.rouge import rouge_l
from braid.metrics.seeds import Spread, over_seeds
from braid.metrics.selective import RiskCoverage, risk_coverage
from braid.metrics.tokenizers import ngram_counts, tokenizer_named
from braid.metrics.vqa import ANSWER_TYPES, answer_type, exact_match, normalised_answer, vqa_accuracy
from braid.shapes import Bool, Float, Int

BLEUS = ("bleu-1", "bleu-2", "bleu-3", "bleu-4")
MEANS = ("rouge-l", "cider", "cider-2015", "meteor-exact-stem")
ANSWERS = ("accuracy", "vqa-accuracy")
LABELS = {"accuracy": accuracy, "macro-f1": macro_f1, "micro-f1": micro_f1}  # of the mean of rows' outcomes

__all__ = [
    "ANSWER_TYPES",
    "AnswerScores",
    "Calibration",
    "CaptionScores",
    "Cider",
    "Decisions",
    "Difference",
    "LabelOutcomes",
    "LabelScores",
    "Measured",
    "Outcomes",
    "ReliabilityBin",
    "RetrievalScores",
    "RiskCoverage",
    "Spread",
    "TextOutcomes",
    "answer_type",
    "auroc",
    "bleu",
    "bleu_statistics",
    "caption_diversity",
    "code_use",
    "confusion",
    "cross_fit",
    "exact_match",
    "expected_calibration_error",
    "fit_calibration",
    "fit_label_temperature",
    "fit_temperature",
    "frechet_distance",
    "interval",
    "kernel_distance",
    "ngram_counts",
    "normalised_answer",
    "over_seeds",
    "paired_difference",
    "precision_recall",
    "psnr",
    "reliability",
    "risk_coverage",
    "score_answers",
    "score_captions",
    "score_label_sets",
    "score_labels",
    "score_retrieval",
    "score_similarities",
    "score_values",
    "ssim",
    "tokenizer_named",
    "vqa_accuracy",
]


@dataclass(frozen=True, eq=False)
class Decisions:
    """How sure each decision was, in 0..1, and whether it was right."""

    confidences: Float[np.ndarray, " decisions"]
    right: Bool[np.ndarray, " decisions"]

    @cached_property
    def bins(self) -> list[ReliabilityBin]:
        """The decisions by tenths of confidence."""
        return reliability(self.confidences.tolist(), self.right.tolist())

    @cached_property
    def curve(self) -> RiskCoverage:
        """The share of wrong decisions, by how many are made."""
        return risk_coverage(self.confidences, 1.0 - self.right)

    @property
    def ece(self) -> float:
        """By how much confidence is off, on average, x100."""
        return 100 * expected_calibration_error(self.bins)

    @property
    def aurc(self) -> float:
        """The area under ``curve``, x100: what is wrong among the surest, averaged over how many of them are answered."""
        return 100 * self.curve.area


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

    @property
    def ciders_2015(self) -> Float[np.ndarray, " items"]:
        """``cider-2015`` of each item alone, x100."""
        return self.means[:, MEANS.index("cider-2015")]

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
        ciders = cider.cider(vector, others), cider.cider_2015(vector, others)
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


@dataclass(frozen=True)
class AnswerScores:
    """Answers to questions, x100: ``accuracy`` (exact match of a whole answer) and the official ``vqa-accuracy``."""

    rows: Float[np.ndarray, "rows metrics"]  # those of ANSWERS

    @property
    def figures(self) -> dict[str, float]:
        return dict(zip(ANSWERS, self.rows.mean(0).tolist(), strict=True)) | {"num_samples": float(len(self.rows))}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Metric -> 95% bootstrap interval over rows."""
        return {name: interval(self.rows[:, [k]], lambda means: means[:, 0]) for k, name in enumerate(ANSWERS)}

    def better_than(self, other: "AnswerScores") -> dict[str, Difference]:
        """Metric -> by how much these score higher on the same rows; see ``paired_difference``."""
        columns = [(name, self.rows[:, [k]], other.rows[:, [k]]) for k, name in enumerate(ANSWERS)]
        return {name: paired_difference(ours, theirs, lambda means: means[:, 0]) for name, ours, theirs in columns}

    def by_kind(self, kinds: Sequence[str]) -> dict[str, dict[str, float]]:
        """The figures of the rows of each kind (of answer, of question), the commonest kind first; one name a row."""
        named = np.array(kinds)
        return {kind: AnswerScores(self.rows[named == kind]).figures for kind, _ in Counter(kinds).most_common()}


def score_answers(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> AnswerScores:
    """Score one answer a question against those that people gave; see ``exact_match`` and ``vqa_accuracy``."""
    pairs = list(zip(predictions, answers, strict=True))
    rows = [(exact_match(guess, given), vqa_accuracy(guess, given)) for guess, given in pairs]
    return AnswerScores(100 * np.array(rows, dtype=np.float64))


@dataclass(frozen=True)
class LabelScores:
    """What the probabilities of labels are worth. A decision is a row where rows have one label, else a label of a row."""

    probabilities: Float[np.ndarray, "rows classes"]
    truth: Bool[np.ndarray, "rows classes"]
    outcomes: Bool[np.ndarray, "rows outcomes"]
    decisions: Decisions
    multiple: bool = False

    @cached_property
    def figures(self) -> dict[str, float]:
        """x100: ``accuracy`` (rows right in every label), ``macro-f1``, ``micro-f1``, ``auroc`` (the mean over classes; left out
        where no class has rows both of it and of others), ``ece`` and ``aurc`` of the decisions; and ``num_samples``."""
        means = self.outcomes.mean(0)
        found = {name: float(figure(means)) for name, figure in LABELS.items()}
        area = macro_auroc(self.probabilities, self.truth)
        found |= {"auroc": area} if area == area else {}
        hundredfold = {name: 100 * value for name, value in found.items()}
        return hundredfold | {"ece": self.decisions.ece, "aurc": self.decisions.aurc, "num_samples": float(len(self.truth))}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """``accuracy``, ``macro-f1`` and ``micro-f1`` -> 95% bootstrap interval over rows, x100."""
        rows = self.outcomes.astype(np.float64)
        return {name: interval(rows, lambda means, f=figure: 100 * f(means)) for name, figure in LABELS.items()}  # type: ignore[misc]

    @cached_property
    def confused(self) -> Int[np.ndarray, "classes classes"] | None:
        """How often a row of one label (down) was taken for another (across); None where rows have several."""
        return None if self.multiple else confusion(self.probabilities.argmax(1), self.truth.argmax(1), self.truth.shape[1])

    @cached_property
    def by_label(self) -> Float[np.ndarray, "classes 4"]:
        """Of each class: rows that have it, precision, recall and F1, the last three in 0..1 and 0 where nothing is there."""
        found, wrong, missed = (part.astype(np.float64) for part in np.split(self.outcomes[:, :-1].sum(0), 3))
        rates = [top / np.maximum(whole, 1) for top, whole in ((found, found + wrong), (found, found + missed))]
        return np.stack([found + missed, *rates, 2 * found / np.maximum(2 * found + wrong + missed, 1)], 1)

    def better_than(self, other: "LabelScores") -> dict[str, Difference]:
        """Metric -> by how much these score higher, x100, on the same rows; see ``paired_difference``."""
        ours, theirs = self.outcomes.astype(np.float64), other.outcomes.astype(np.float64)
        return {
            name: paired_difference(ours, theirs, lambda means, f=figure: 100 * f(means))  # type: ignore[misc]
            for name, figure in LABELS.items()
        }


def score_labels(probabilities: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"]) -> LabelScores:
    """One label a row, counted from 0: the likeliest is chosen, its probability is the confidence."""
    chosen, classes = probabilities.argmax(1), probabilities.shape[1]
    truth = one_hot(labels, classes)
    decisions = Decisions(probabilities.max(1), chosen == labels)
    return LabelScores(probabilities, truth, outcomes(one_hot(chosen, classes), truth), decisions)


def score_label_sets(
    probabilities: Float[np.ndarray, "rows classes"], truth: Bool[np.ndarray, "rows classes"], threshold: float = 0.5
) -> LabelScores:
    """Several labels a row, or none: those of at least ``threshold`` are chosen; each is decided for itself."""
    chosen = probabilities >= threshold
    sure = np.where(chosen, probabilities, 1 - probabilities)
    decisions = Decisions(sure.reshape(-1), (chosen == truth).reshape(-1))
    return LabelScores(probabilities, truth, outcomes(chosen, truth), decisions, multiple=True)


def score_values(predicted: Float[np.ndarray, " rows"], truth: Float[np.ndarray, " rows"]) -> dict[str, float]:
    """Numbers against numbers: ``mae`` and ``rmse`` in their unit; x100 ``r2`` and ``pearson``, each left out where the values
    never differ; and ``num_samples``."""
    found = regression(predicted, truth)
    scaled = {name: value if name in ("mae", "rmse") else 100 * value for name, value in found.items() if value == value}
    return scaled | {"num_samples": float(len(truth))}


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
