"""Labels, probabilities and numbers against truth: by hand, and against scikit-learn where it is installed."""

import numpy as np
import pytest

from braid.errors import UserError
from braid.metrics import (
    accuracy,
    auroc,
    confusion_matrix,
    fit_label_temperature,
    fit_temperature,
    interval,
    macro_f1,
    paired_difference,
    risk_coverage,
    score_label_sets,
    score_labels,
    score_values,
)

# Four rows of three classes: 0 taken for 0, 0 for 1, 1 for 1, 2 for 1.
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.1, 0.5, 0.4]])
LABELS = np.array([0, 0, 1, 2])


def generated(rows: int = 400, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know something, with ties, and labels of unequal frequency."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, rows, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    logits = np.round(rng.normal(size=(rows, classes)) + 1.5 * (labels[:, None] == np.arange(classes)), 1)
    return logits, labels


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_single_labels_by_hand() -> None:
    assert confusion_matrix(PROBABILITIES.argmax(1), LABELS, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    figures = score_labels(PROBABILITIES, LABELS).metrics
    assert figures["accuracy"] == figures["micro-f1"] == 50
    assert figures["macro-f1"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    # Class 0: 0.8 and 0.3 against 0.1, 0.1; class 1: 0.8 against 0.1, 0.6, 0.5; class 2: 0.4 against 0.1 thrice. All in order.
    assert figures["auroc"] == 100
    # Bins: 0.8 twice, right twice; 0.6 wrong; 0.5 wrong.
    assert figures["ece"] == pytest.approx(100 * (2 * 0.2 + 0.6 + 0.5) / 4)
    assert figures["aurc"] == pytest.approx(100 * (0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert figures["num_samples"] == 4


def test_a_class_that_nobody_has_or_names_counts_for_nothing() -> None:
    wide = np.concatenate([PROBABILITIES, np.zeros((4, 2))], 1)
    assert score_labels(wide, LABELS).metrics["macro-f1"] == score_labels(PROBABILITIES, LABELS).metrics["macro-f1"]
    assert score_labels(wide, LABELS).metrics["auroc"] == 100
    assert "auroc" not in score_labels(PROBABILITIES, np.zeros(4, dtype=int)).metrics


def test_label_sets_by_hand() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0]], dtype=bool)
    figures = score_label_sets(np.array([[0.9, 0.6], [0.8, 0.7], [0.1, 0.4]]), truth).metrics
    assert figures["accuracy"] == pytest.approx(200 / 3)
    assert figures["macro-f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert figures["micro-f1"] == pytest.approx(100 * 6 / 7)
    assert figures["auroc"] == 100
    assert figures["num_samples"] == 3
    # Six decisions, one wrong; 0.9 and 0.9, 0.8, 0.7, 0.6 wrong, 0.6 right.
    assert figures["ece"] == pytest.approx(100 * (2 * 0.1 + 0.2 + 0.3 + 2 * 0.1) / 6)


def test_ties_are_half_a_chance() -> None:
    assert auroc(np.array([0.5, 0.5, 0.5]), np.array([True, False, False])) == 0.5
    assert auroc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])) == pytest.approx(3.5 / 4)
    assert np.isnan(auroc(np.array([0.9, 0.5]), np.array([True, True])))


def test_labels_against_scikit_learn() -> None:
    oracle = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed to compare with")
    logits, labels = generated()
    probabilities, chosen = softmax(logits), logits.argmax(1)
    figures = score_labels(probabilities, labels).metrics
    assert figures["accuracy"] == pytest.approx(100 * oracle.accuracy_score(labels, chosen))
    assert figures["macro-f1"] == pytest.approx(100 * oracle.f1_score(labels, chosen, average="macro"))
    assert figures["micro-f1"] == pytest.approx(100 * oracle.f1_score(labels, chosen, average="micro"))
    assert figures["auroc"] == pytest.approx(100 * oracle.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert confusion_matrix(chosen, labels, 4).tolist() == oracle.confusion_matrix(labels, chosen).tolist()
    truth = np.stack([labels > 1, labels % 2 == 1], 1)
    figures = score_label_sets(probabilities[:, 2:], truth).metrics
    assert figures["macro-f1"] == pytest.approx(100 * oracle.f1_score(truth, probabilities[:, 2:] >= 0.5, average="macro"))
    assert figures["micro-f1"] == pytest.approx(100 * oracle.f1_score(truth, probabilities[:, 2:] >= 0.5, average="micro"))
    assert figures["accuracy"] == pytest.approx(100 * oracle.accuracy_score(truth, probabilities[:, 2:] >= 0.5))
    assert figures["auroc"] == pytest.approx(100 * oracle.roc_auc_score(truth, probabilities[:, 2:]))
    values, message = logits[:, 0], logits[:, 1] + logits[:, 0]
    assert score_values(message, values)["r2"] == pytest.approx(100 * oracle.r2_score(values, message))


def test_numbers_by_hand() -> None:
    truth = np.array([1.0, 2.0, 3.0])
    assert score_values(truth + 1, truth) == pytest.approx({"mae": 1, "rmse": 1, "r2": -50, "pearson": 100, "num_samples": 3})
    assert score_values(np.array([2.0, 2.0, 5.0]), truth) == pytest.approx(
        {"mae": 1, "rmse": (5 / 3) ** 0.5, "r2": 100 * (1 - 5 / 2), "pearson": 100 * 3 / (2 * 6) ** 0.5, "num_samples": 3}
    )
    assert score_values(truth, np.ones(3)) == pytest.approx({"mae": 1, "rmse": (5 / 3) ** 0.5, "num_samples": 3})


def test_intervals_hold_the_figures() -> None:
    logits, labels = generated()
    result = score_labels(softmax(logits), labels)
    for name, (low, high) in result.intervals.items():
        assert low < result.metrics[name] < high
    assert set(result.intervals) == {"accuracy", "macro-f1", "micro-f1"}


def test_a_temperature_undoes_what_logits_were_multiplied_by() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3))
    labels = (softmax(logits).cumsum(1) < rng.random((20_000, 1))).sum(1)  # drawn from what the logits say
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.05)
    assert fit_temperature(4 * logits, labels) == pytest.approx(4 * fit_temperature(logits, labels), rel=1e-5)
    assert fit_temperature(logits / 8 + 100, labels) == pytest.approx(fit_temperature(logits, labels) / 8, rel=1e-5)
    sure, cooled = (score_labels(softmax(4 * logits / t), labels).metrics for t in (1, fit_temperature(4 * logits, labels)))
    assert cooled["ece"] < 3 < sure["ece"]
    assert cooled["accuracy"] == sure["accuracy"]


def test_no_temperature_nearby_is_likelier() -> None:
    logits, labels = generated()

    def loss(temperature: float) -> float:
        return -float(np.log(softmax(logits / temperature)[np.arange(len(labels)), labels]).mean())

    best = fit_temperature(logits, labels)
    assert loss(best) < min(loss(best * 1.01), loss(best / 1.01))


def test_temperatures_of_label_sets_and_of_what_has_none() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(10_000, 2))
    truth = rng.random((10_000, 2)) < 1 / (1 + np.exp(-logits))
    assert fit_label_temperature(3 * logits, truth) == pytest.approx(3, abs=0.2)
    right = np.eye(3)[np.arange(30) % 3]
    assert fit_temperature(right, np.arange(30) % 3) == pytest.approx(0.01)  # all right: as cold as it gets
    assert fit_temperature(right, (np.arange(30) + 1) % 3) == pytest.approx(100)  # all wrong: as hot as it gets
    with pytest.raises(UserError) as caught:
        fit_temperature(right[:19], np.zeros(19, dtype=int))
    assert str(caught.value) == "19 rows are too few to fit a temperature on; give 20 or more"


def test_risk_and_coverage_by_hand() -> None:
    curve = risk_coverage(np.array([0.2, 0.9, 0.5, 0.5, 0.7]), np.array([1.0, 0.0, 1.0, 0.0, 0.0]))
    assert curve.thresholds.tolist() == [0.9, 0.7, 0.5, 0.2]
    assert curve.coverage.tolist() == pytest.approx([0.2, 0.4, 0.8, 1.0])
    assert curve.risk.tolist() == pytest.approx([0, 0, 1 / 4, 2 / 5])
    assert curve.area == pytest.approx((0 + 0 + 0.5 / 3 + 1 / 4 + 2 / 5) / 5)  # the third row: one of two in chance order


def test_the_order_of_rows_does_not_matter_to_the_area() -> None:
    rng = np.random.default_rng(0)
    sure, lost = np.round(rng.random(200), 1), rng.integers(0, 2, 200).astype(float)
    order = rng.permutation(200)
    assert risk_coverage(sure, lost).area == pytest.approx(risk_coverage(sure[order], lost[order]).area)


def test_a_pair_shows_what_two_intervals_hide() -> None:
    """The second system is right wherever the first is, and on 15 of 300 rows more; their intervals overlap."""
    first = (np.arange(300) < 150).astype(float)[:, None]
    second = (np.arange(300) < 165).astype(float)[:, None]

    def mean(columns: np.ndarray) -> np.ndarray:
        return 100 * columns[:, 0]

    assert interval(first, mean)[1] > interval(second, mean)[0]
    result = paired_difference(second, first, mean)
    assert result.difference == pytest.approx(5)
    assert 2 < result.low < 5 < result.high < 8
    assert result.p == pytest.approx(2 / 1001)
    turned = paired_difference(first, second, mean)
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-5, -result.high, -result.low))


def test_no_difference_is_none() -> None:
    logits, labels = generated()
    ours, others = (score_labels(softmax(one), labels).counts.astype(float) for one in (logits, np.roll(logits, 1, 0)))
    for metric in (accuracy, macro_f1):
        same, result = paired_difference(ours, ours, metric), paired_difference(ours, others, metric)
        assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
        assert result.low > 0
        assert result.p < 0.01
