"""Confidence that is the chance of being right, saying nothing when unsure, and the page that shows what both are worth."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import braid as library
from braid.bundle import average, read_bundle
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.evaluation import Answers, calibrate
from braid.metrics import (
    Decisions,
    TextOutcomes,
    answer_type,
    cross_fit,
    fit_calibration,
    fit_label_temperature,
    fit_temperature,
    score_label_sets,
    score_labels,
)
from braid.records import Prediction, Sample
from braid.reports import Evaluated
from braid.reports.evaluation import commonest, evaluated_page
from braid.tasks import Captioning, Classification, Retrieval, VisualQuestionAnswering, confident, task_of
from braid.tasks.label_selection import label_outcomes
from conftest import Ran
from test_cli_understand import lines, trained

Braid = Callable[..., Ran]
LABELS = "scenes:classification,train=96,val=60,test=1,compositional=1,size=32"
QUESTIONS = "scenes:vqa,train=96,val=60,test=1,compositional=1,size=32"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels, sets (a sigmoid a label), closed and written: tiny models that were trained for a moment."""
    folder = tmp_path_factory.mktemp("models")
    trained(folder / "labels", "classification", "classification")
    trained(folder / "sets", "classification", "classification", "outputs.label.multiple=true")
    trained(folder / "closed", "vqa", "vqa", "task.closed=true")
    trained(folder / "written", "vqa", "vqa", "epochs=12")
    return folder


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A model of one's own to write into."""
    return lambda name: shutil.copytree(models / name / "best", tmp_path / name)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def one_label(rows: int, sharper: float) -> tuple[list[Prediction], list[str], np.ndarray]:
    """Predictions whose logits are ``sharper`` times those that the truth was drawn from."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, 3))
    truth = (softmax(logits).cumsum(1) < rng.random((rows, 1))).sum(1)
    names, made = ("a", "b", "c"), []
    for row, probabilities in enumerate(softmax(sharper * logits)):
        said = names[int(probabilities.argmax())]
        scores = dict(zip(names, probabilities.tolist(), strict=True))
        made.append(Prediction(str(row), said, said, scores, float(probabilities.max())))
    return made, [names[k] for k in truth], sharper * logits


def answers(predictions: list[Prediction], references: list[tuple[str, ...]]) -> Answers:
    samples = [Sample(one.id, {}, {}, given) for one, given in zip(predictions, references, strict=True)]
    return Answers(tuple(predictions), tuple(samples), ())


@pytest.mark.parametrize("task", [Classification(), VisualQuestionAnswering(closed=True)])
def test_probabilities_alone_tell_the_temperature(task: Classification | VisualQuestionAnswering) -> None:
    predictions, truth, logits = one_label(2000, sharper=4)
    report = calibrate(task, answers(predictions, [(label,) for label in truth]))
    expected = fit_temperature(logits, np.array([["a", "b", "c"].index(label) for label in truth]))
    assert report.settings == {"temperature": pytest.approx(expected, rel=1e-6)}
    assert report.settings["temperature"] == pytest.approx(4, rel=0.15)
    assert report.task == task.fitted(report.settings["temperature"])
    assert report.task.unfitted == task
    assert report.error < 0.05 < 0.2 < report.error_before
    assert report.num_samples == sum(one.count for one in report.bins) == 2000


def test_a_row_whose_label_the_model_does_not_know_is_measured_and_not_fitted() -> None:
    predictions, truth, _ = one_label(400, sharper=1)
    known = calibrate(Classification(), answers(predictions, [(label,) for label in truth]))
    odd = [Prediction(f"odd {k}", "a", "a", {"a": 0.9, "b": 0.05, "c": 0.05}, 0.9) for k in range(100)]
    both = answers([*predictions, *odd], [*((label,) for label in truth), *[("unheard of",)] * 100])
    report = calibrate(Classification(), both)
    assert report.settings == known.settings
    assert report.num_samples == 500
    assert report.error > known.error + 0.1  # the odd rows are wrong, and told with 0.9


def test_another_of_the_answers_is_right_too() -> None:
    predictions, truth, _ = one_label(100, sharper=1)
    references = [("not known", label, "c") for label in truth]
    right = VisualQuestionAnswering(closed=True).items(predictions, answers(predictions, references).samples) > 0
    result = label_outcomes(predictions, references, right)
    assert ["abc"[k] for k in result.truth.argmax(1)] == truth  # the first that the model knows
    assert result.truth.sum() == 100
    assert result.correct.sum() == sum(one.text in given for one, given in zip(predictions, references, strict=True))


def test_sets_of_labels_have_a_temperature_too() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1000, 2))
    truth = rng.random((1000, 2)) < 1 / (1 + np.exp(-logits))
    probabilities = 1 / (1 + np.exp(-3 * logits))
    made = [Prediction(str(k), "", "", dict(zip("ab", row.tolist(), strict=True)), 0.5) for k, row in enumerate(probabilities)]
    given = [tuple(label for label, true in zip("ab", row, strict=True) if true) for row in truth]
    report = calibrate(Classification(), answers(made, given))
    assert report.settings == {"temperature": pytest.approx(fit_label_temperature(3 * logits, truth), rel=1e-6)}
    assert report.num_samples == 1000
    assert sum(one.count for one in report.bins) == 2000  # each label of each row is a decision
    assert report.error < report.error_before / 3


def test_each_half_is_measured_by_a_fit_on_the_other() -> None:
    """Among rows that are right at random, nothing but the fitted half's own luck can be told of the other."""
    rng = np.random.default_rng(0)
    sure, scores = rng.uniform(0.4, 0.9, 60), 100.0 * rng.integers(0, 2, 60)
    outcomes = TextOutcomes(sure, scores, threshold=0.0)
    order = np.random.default_rng(3).permutation(60)
    first, second = cross_fit(outcomes, 60, seed=3)
    for half, fitted, measured in ((first, order[:30], order[30:]), (second, order[30:], order[:30])):
        calibration = fit_calibration(sure[fitted].tolist(), scores[fitted].tolist(), 0.0)
        assert half.fitted.tolist() == [calibration.probability(one) for one in sure[measured]]
        assert (half.raw.tolist(), half.correct.tolist()) == (sure[measured].tolist(), (scores[measured] > 0).tolist())


@pytest.mark.parametrize(
    ("confidences", "scores", "message"),
    [
        ([0.5] * 39, [100.0] * 39, "39 rows are too few to fit on one half and measure on the other; give 40 or more"),
        ([0.5] * 40, [0.0] * 40, "20 rows, 0 of them right, are too few to fit a confidence on; give 20 or more that differ"),
        ([0.5] * 40, [100.0] * 40, "20 rows, 20 of them right, are too few to fit a confidence on; give 20 or more that differ"),
    ],
)
def test_what_is_too_little_to_fit_on_is_told(confidences: list[float], scores: list[float], message: str) -> None:
    with pytest.raises(UserError) as caught:
        cross_fit(TextOutcomes(np.array(confidences), np.array(scores), 0.0), len(scores))
    assert str(caught.value) == message


def test_risk_of_captions_is_to_be_no_better_than_the_median() -> None:
    """Or than what the calibration calls good."""
    texts = ["a dog runs", "a dog runs fast", "nothing of it"]
    predictions = [Prediction(str(k), text, confidence=0.9 - 0.1 * k) for k, text in enumerate(texts)]
    samples = [Sample(str(k), {}, {}, (text, other)) for k, (text, other) in enumerate(zip(texts, "xyz", strict=True))]
    samples[2] = Sample("2", {}, {}, ("two cats", "cats sleep"))
    result = Captioning().decisions(predictions, samples)
    assert result.correct.sum() == 1
    metrics = Captioning().score(predictions, samples)
    assert metrics["aurc"] == pytest.approx(result.aurc)
    assert "ece" not in metrics  # a mean token probability is no chance
    calibration = fit_calibration(np.linspace(0.3, 0.8, 20).tolist(), [0.0, 9.0] * 10, 1.0)
    assert Captioning(calibration=calibration).decisions(predictions, samples).correct.tolist() == [True, True, False]
    assert "ece" in Captioning(calibration=calibration).score(predictions, samples)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("yes-no", ["yes", "No", "no."]),
        ("number", ["2", "two", "Twelve", "3.5", "1,000", "twenty one", "none", "50%"]),
        ("other", ["red", "2 dogs", "yes it is", "10:30", "", "tent"]),
    ],
)
def test_the_type_of_an_answer(kind: str, given: list[str]) -> None:
    assert {answer: answer_type(answer) for answer in given} == dict.fromkeys(given, kind)


def test_accuracy_by_type_names_the_types_that_occur() -> None:
    references = [("yes", "no"), ("no",), ("red", "2")]
    predictions = [Prediction(str(k), text, confidence=0.5) for k, text in enumerate(["yes", "yes", "red"])]
    samples = answers(predictions, references).samples
    metrics = VisualQuestionAnswering().score(predictions, samples)
    assert {name: value for name, value in metrics.items() if "/" in name} == {"accuracy/yes-no": 50.0, "accuracy/other": 100.0}
    assert VisualQuestionAnswering().by_type(predictions, samples)["yes-no"]["num_samples"] == 2
    assert set(metrics) == {"accuracy", "vqa-accuracy", "accuracy/yes-no", "accuracy/other", "aurc", "num_samples"}
    assert "ece" in VisualQuestionAnswering(closed=True).score(predictions, samples)


@pytest.mark.parametrize(("name", "kind", "data"), [("labels", "classification", LABELS), ("closed", "vqa", QUESTIONS)])
def test_calibrate_writes_a_temperature_and_no_answer_changes(
    braid: Braid, copied: Callable[[str], Path], name: str, kind: str, data: str
) -> None:
    model, message = copied(name), ["--task", kind, "--data", data, "--json"]
    (before,) = lines(braid("evaluate", "-m", model, *message))
    (report,) = lines(braid("calibrate", model, *message))
    assert set(report) == {"ece-before", "ece", "num_samples", "temperature", "ece-halves", "bins"}
    assert report["num_samples"] == 60 == sum(one["count"] for one in report["bins"])  # type: ignore[attr-defined]
    assert report["ece-before"] == pytest.approx(before["ece"], abs=0.01)
    assert task_of(read_bundle(model).interface, kind).temperature == report["temperature"]  # type: ignore[union-attr]
    (after,) = lines(braid("evaluate", "-m", model, *message))
    assert after["accuracy"] == before["accuracy"]
    assert after["ece"] != before["ece"]
    (again,) = lines(braid("calibrate", model, *message))
    assert again == report  # it starts from what training left
    text = braid("calibrate", model, *message[:-1])
    assert "each by a fit on the half that it is not in" in text.out
    assert re.search(r"ECE [\d.]+ \([\d.]+ and [\d.]+ of the halves; [\d.]+ before\); temperature [\d.]+", text.err)


def test_calibrate_fits_labels_that_do_not_exclude_each_other(braid: Braid, copied: Callable[[str], Path]) -> None:
    (report,) = lines(braid("calibrate", copied("sets"), "--task", "classification", "--data", LABELS, "--json"))
    assert report["num_samples"] == 60
    assert sum(one["count"] for one in report["bins"]) == 60 * 6  # type: ignore[attr-defined]
    assert report["ece"] < report["ece-before"]  # type: ignore[operator]


def test_a_written_answer_is_told_with_its_chance_to_be_right(braid: Braid, copied: Callable[[str], Path], photos: Path) -> None:
    model = copied("written")
    asked = ["ask", photos / "0.png", photos / "1.png", "what colour is it?", "-m", model, "--json"]
    raw = lines(braid(*asked))
    (report,) = lines(braid("calibrate", model, "--task", "vqa", "--data", QUESTIONS, "--json"))
    assert {"slope", "intercept", "threshold", "ece", "ece-before"} <= set(report)
    calibration = task_of(read_bundle(model).interface, "vqa").calibration  # type: ignore[union-attr]
    assert calibration is not None and calibration.slope == report["slope"]
    message = lines(braid(*asked))
    assert [row["text"] for row in message] == [row["text"] for row in raw]
    for before, after in zip(raw, message, strict=True):
        assert after["confidence"] == pytest.approx(calibration.probability(float(str(before["confidence"]))), abs=1e-3)
    (metrics,) = lines(braid("evaluate", "--task", "vqa", "-m", model, "--data", QUESTIONS, "--json"))
    assert "ece" in metrics
    mean = model.parent / "mean"
    average([read_bundle(model)] * 2, mean)
    assert task_of(read_bundle(mean).interface, "vqa").calibration is None  # type: ignore[union-attr]


def test_a_mean_of_models_has_no_temperature(braid: Braid, copied: Callable[[str], Path], tmp_path: Path) -> None:
    model = copied("labels")
    lines(braid("calibrate", model, "--task", "classification", "--data", LABELS, "--json"))
    average([read_bundle(model)] * 2, tmp_path / "mean")
    assert task_of(read_bundle(tmp_path / "mean").interface, "classification") == Classification()


def test_calibrate_wants_rows_that_say_what_is_right(braid: Braid, copied: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,split\na dog,val\n")
    ran = braid(
        "calibrate", copied("labels"), "--task", "classification", "--data", tmp_path / "rows.csv", "--columns", "text=text"
    )
    assert ran.err == (
        f"error: {tmp_path / 'rows.csv'}: no row of split 'val' says what is right in classification; "
        "map the column of captions, answers or label with --columns\n"
    )
    with pytest.raises(UserError) as caught:
        confident(Retrieval(), "braid calibrate")
    assert str(caught.value) == "retrieval gives no confidence; braid calibrate is for captioning, classification and vqa"


def test_evaluate_counts_what_is_answered(braid: Braid, models: Path, tmp_path: Path) -> None:
    asked = ["evaluate", "--task", "classification", "-m", models / "labels", "--data", LABELS]
    (whole,) = lines(braid(*asked, "--json"))
    assert {"accuracy", "macro-f1", "micro-f1", "auroc", "ece", "aurc", "num_samples"} == set(whole)
    saved = tmp_path / "said.json"
    classified = open_dataset(LABELS).split("val")
    result = library.load(models / "labels").predict("classification", classified).predictions
    least = sorted(one.confidence for one in result)[30]  # half of them are as sure
    (metrics,) = lines(braid(*asked, "--min-confidence", least, "--save-predictions", saved, "--json"))
    assert metrics["num_samples"] == 30
    assert metrics["coverage"] == 50
    assert metrics["aurc"] == pytest.approx(whole["aurc"])
    right = [one.label == row.fields["label"] for one, row in zip(result, classified, strict=True) if one.confidence >= least]
    assert metrics["accuracy"] == pytest.approx(100 * np.mean(right))
    texts = json.loads(saved.read_text())
    assert [texts[one.id] for one in result] == [one.text if one.confidence >= least else None for one in result]
    table = braid(*asked, "--min-confidence", 0.05)
    assert "answered from a confidence of 0.05" in " ".join(table.out.split())
    ran = braid(*asked, "--min-confidence", 1)
    most = max(one.confidence for one in result)
    message = f"no row is answered with a confidence of 1; the highest confidence is {most:.3f}, so lower --min-confidence"
    assert (ran.code, ran.err) == (1, f"error: {message}\n")


def test_classify_and_predict_say_nothing_where_they_are_unsure(braid: Braid, models: Path, photos: Path, tmp_path: Path) -> None:
    asked = ["classify", photos, "-m", models / "labels"]
    sure = {row["id"]: row["confidence"] for row in lines(braid(*asked, "--json"))}
    least = sorted(sure.values())[2] - 5e-5  # type: ignore[type-var,operator]
    message = {row["id"]: row["label"] for row in lines(braid(*asked, "--min-confidence", least, "--json"))}
    assert [name for name, label in message.items() if label is None] == [name for name in sure if sure[name] < least]  # type: ignore[operator]
    assert braid(*asked, "--min-confidence", least).out.count("(not sure)") == 2
    (photos / "rows.jsonl").write_text("".join(json.dumps({"image": f"{k}.png"}) + "\n" for k in range(5)))
    ran = braid("predict", models / "labels", photos / "rows.jsonl", "-o", tmp_path / "out.jsonl", "--min-confidence", least)
    assert ran.code == 0, ran.err
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [bool(row["prediction"]) for row in rows] == [label is not None for label in message.values()]
    assert all(float(row["confidence"]) > 0 for row in rows)


def test_a_task_without_confidence_does_not_abstain(braid: Braid, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "retrieval", "captioning")
    data = "scenes:captioning,train=1,val=8,test=1,compositional=1,size=32"
    message = "error: retrieval gives no confidence; --min-confidence is for captioning, classification and vqa\n"
    asked = ["evaluate", "--task", "retrieval", "-m", run, "--data", data]
    assert braid(*asked, "--min-confidence", 0.5).err == message
    (tmp_path / "rows.jsonl").write_text('{"image": "gone.png", "caption": "a dog"}\n')
    ran = braid("predict", run, tmp_path / "rows.jsonl", "-o", tmp_path / "out.jsonl", "--min-confidence", 0.5)
    assert ran.err == message
    assert braid(*asked, "--html", tmp_path / "page.html").code == 0
    assert sections(tmp_path / "page.html") == ["Metrics"]


def sections(page: Path) -> list[str]:
    return re.findall(r"<h2>([^<]+)</h2>", page.read_text())


def test_the_page_of_an_evaluation(braid: Braid, models: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "labels.html"
    asked = ["--data", LABELS, "--html", page, "--min-confidence", 0.05, "--json"]
    (metrics,) = lines(braid("evaluate", "--task", "classification", "-m", models / "labels", *asked))
    text = page.read_text()
    assert sections(page) == ["Metrics", "Confidence", "Confusion matrix", "Labels", "Answers"]
    assert text.count("<svg viewBox") == 3  # the braid, risk and coverage, reliability
    assert "<script" not in text
    assert not re.search(r"""(src|href)=["']?https?:""", text)
    assert f'<td>accuracy</td><td class="number">{metrics["accuracy"]:.1f}</td>' in text
    assert "100.0%, from a confidence of 0.05" in text
    matrix = text.partition('class="confusion"')[2].partition("</table>")[0]
    cells = re.findall(r"<td[^>]*>([\d,]+)</td>", matrix)
    assert sum(map(int, cells)) == 60
    closed = tmp_path / "closed.html"
    lines(braid("evaluate", "--task", "vqa", "-m", models / "closed", "--data", QUESTIONS, "--html", closed, "--json"))
    assert sections(closed) == ["Metrics", "Confidence", "Answers"]
    assert [f"<td>{kind}</td>" in closed.read_text() for kind in ("yes-no", "number", "other")] == [True] * 3


def made(name: str = "runs/<mine>", labels: int = 3) -> Evaluated:
    rng = np.random.default_rng(0)
    scores = score_labels(softmax(rng.normal(size=(200, labels))), rng.integers(0, labels, 200))
    names = [f"<b>{k}" for k in range(labels)]
    known = {"metrics": scores.metrics, "decisions": scores.decisions, "labels": names, "scores": scores}
    return Evaluated(name, "classification", "a&b.csv", "val", 200, 0.0, "macro-f1", **known)  # type: ignore[arg-type]


def test_names_on_the_page_are_no_html() -> None:
    text = evaluated_page(made())
    assert "<mine>" not in text
    assert "<b>" not in text
    assert "&lt;b&gt;0" in text
    assert "a&amp;b.csv" in text


def test_rare_labels_are_taken_together() -> None:
    matrix = np.diag(np.arange(30)) + 1
    names, cells = commonest([str(k) for k in range(30)], matrix)
    assert names == [*map(str, range(29, 10, -1)), "11 others"]
    assert cells.sum() == matrix.sum()
    assert (cells[0, 0], cells[0, 1], cells[0, -1], cells[-1, -1]) == (30, 1, 11, 55 + 11 * 11)
    few = commonest(["b", "a"], np.array([[1, 2], [3, 4]]))
    assert (few[0], few[1].tolist()) == (["b", "a"], [[1, 2], [3, 4]])
    text = evaluated_page(made(labels=25))
    assert "6 others" in text
    assert "and 5 rarer labels" in text


def test_labels_one_by_one_and_taken_for_each_other_by_hand() -> None:
    scores = score_labels(np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.1, 0.5, 0.4]]), np.array([0, 0, 1, 2]))
    assert scores.confusion is not None
    assert scores.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert scores.by_label == pytest.approx(np.array([[2, 1, 1 / 2, 2 / 3], [1, 1 / 3, 1, 1 / 2], [1, 0, 0, 0]]))
    assert score_label_sets(np.array([[0.9, 0.6]]), np.array([[True, False]])).confusion is None


def test_the_curve_begins_with_the_surest() -> None:
    sure = Decisions(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, False]))
    assert sure.aurc == pytest.approx(100 * (0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert sure.ece == pytest.approx(100 * (0.1 + 0.2 + 0.7 + 0.6) / 4)
    text = evaluated_page(Evaluated("m", "vqa", "d", "val", 4, 0.0, "accuracy", {"accuracy": 50.0}, decisions=sure))
    rows = re.findall(r'<tr><td class="number">([\d.]+)</td><td class="number">([\d.]+)</td><td class="number">([\d.]+)', text)
    assert rows == [("100.0", "50.0", "0.600"), ("75.0", "66.7", "0.700"), ("50.0", "100.0", "0.800"), ("25.0", "100.0", "0.900")]
