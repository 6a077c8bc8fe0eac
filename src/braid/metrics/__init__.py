"""Metrics: pure numpy functions of predictions and references, without Java or downloads.

============= =====================================================================================================
captions      text -> words; BLEU, ROUGE-L, both CIDErs, METEOR, diversity
answers       VQA accuracy, exact match
labels        accuracy, F1, AUROC, confusion matrix
regression    mean errors, R2, correlation
retrieval     recall at K, median rank
images        PSNR, SSIM, FID, KID, precision and recall, use of codes
confidence    ECE, risk and coverage, calibration
statistics    bootstrap intervals, paired differences, intervals over seeds
============= =====================================================================================================
"""

from braid.metrics.answers import (
    ANSWER_TYPES,
    AnswerScores,
    answer_type,
    exact_match,
    normalised_answer,
    score_answers,
    vqa_accuracy,
)
from braid.metrics.captions import (
    CaptionScores,
    Cider,
    bleu,
    bleu_statistics,
    caption_diversity,
    caption_remarks,
    chosen_tokenizer,
    ngram_counts,
    score_captions,
    tokenizer_named,
)
from braid.metrics.confidence import (
    Calibration,
    Decisions,
    HeldOut,
    LabelOutcomes,
    Outcomes,
    ReliabilityBin,
    RiskCoverage,
    TextOutcomes,
    cross_fit,
    expected_calibration_error,
    fit_calibration,
    fit_label_temperature,
    fit_temperature,
    reliability,
    risk_coverage,
)
from braid.metrics.images import code_use, frechet_distance, kernel_distance, precision_recall, psnr, ssim
from braid.metrics.labels import (
    LabelScores,
    accuracy,
    auroc,
    confusion_matrix,
    macro_f1,
    score_label_sets,
    score_labels,
    score_values,
)
from braid.metrics.retrieval import RECALL_AT, RetrievalScores, score_retrieval, score_similarities
from braid.metrics.statistics import Difference, Spread, interval, over_seeds, paired_difference

__all__ = [
    "ANSWER_TYPES",
    "RECALL_AT",
    "AnswerScores",
    "Calibration",
    "CaptionScores",
    "Cider",
    "Decisions",
    "Difference",
    "HeldOut",
    "LabelOutcomes",
    "LabelScores",
    "Outcomes",
    "ReliabilityBin",
    "RetrievalScores",
    "RiskCoverage",
    "Spread",
    "TextOutcomes",
    "accuracy",
    "answer_type",
    "auroc",
    "bleu",
    "bleu_statistics",
    "caption_diversity",
    "caption_remarks",
    "code_use",
    "confusion_matrix",
    "cross_fit",
    "exact_match",
    "expected_calibration_error",
    "fit_calibration",
    "fit_label_temperature",
    "fit_temperature",
    "frechet_distance",
    "interval",
    "kernel_distance",
    "macro_f1",
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
    "chosen_tokenizer",
    "tokenizer_named",
    "vqa_accuracy",
]
