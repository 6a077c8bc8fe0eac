"""The estimators for scikit-learn: in cross validation and pipelines, on arrays, frames and dicts."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from braid.sklearn import MultimodalClassifier, MultimodalRegressor

QUICK: dict[str, Any] = {
    "model": "quick",
    "settings": {"epochs": 6, "batch_size": 4, "optimizer": {"learning_rate": 3e-3, "warmup_steps": 10}},
}
ESTIMATORS = [MultimodalClassifier(**QUICK), MultimodalRegressor(**QUICK)]
WITHOUT_TRAINING = [  # checks of scikit-learn that are about parameters, not about what is learned from numbers
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_mixin_order",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimators_unfitted",
    "check_fit1d",
    "check_estimators_empty_data_messages",
]
TRAINED = ["check_n_features_in", "check_dict_unchanged", "check_estimators_overwrite_params"]


def flowers() -> tuple[np.ndarray, np.ndarray]:
    data = load_iris()
    return data.data[::2], data.target[::2]


@pytest.mark.parametrize("check", WITHOUT_TRAINING + TRAINED)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=["classifier", "regressor"])
def test_scikit_learns_own_checks(estimator: Any, check: str) -> None:
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


def test_arrays_are_classified() -> None:
    numbers, labels = flowers()
    fitted = MultimodalClassifier(**QUICK).fit(numbers, labels)
    assert fitted.score(numbers, labels) > 0.7
    shares = fitted.predict_proba(numbers[:5])
    assert shares.shape == (5, 3) and np.allclose(shares.sum(1), 1, atol=1e-5)
    assert fitted.classes_.tolist() == [0, 1, 2] and fitted.n_features_in_ == 4
    assert "accuracy" in fitted.metrics_
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict(numbers) == fitted.predict(numbers)).all()


def test_a_mixture_of_texts_and_numbers_is_classified_in_a_cross_validation() -> None:
    titles = [f"a {word} day, number {number}" for number in range(20) for word in ("fine", "bad")]
    frame = pd.DataFrame({"title": titles, "price": [1.0, None] * 20, "brand": ["Acme", "Bolt"] * 20})
    scores = cross_val_score(MultimodalClassifier(**QUICK), frame, ["good", "bad"] * 20, cv=2)
    assert scores.min() > 0.9


def test_dicts_give_numbers(tmp_path: Path) -> None:
    rows = [{"x": float(number), "y": float(number % 3)} for number in range(60)]
    targets = [row["x"] * 2 + 1 for row in rows]
    fitted = MultimodalRegressor(**QUICK, folder=tmp_path / "run").fit(rows, targets)
    assert fitted.score(rows, targets) > 0.8
    assert fitted.columns_ == {"tabular": "x+y"} and (tmp_path / "run" / "best").is_dir()


def test_columns_have_their_usual_roles() -> None:
    frame = pd.DataFrame({"photo": ["a.jpg"], "title": ["a"], "label": ["x"], "price": [1]})
    assert MultimodalClassifier()._columns(frame) == {"image": "photo", "text": "title", "tabular": "label+price"}
    own = MultimodalClassifier(columns={"text": "label", "tabular": "price"})
    assert own._columns(frame) == {"image": "photo", "text": "label", "tabular": "price"}


def test_a_pipeline_takes_it() -> None:
    numbers, labels = flowers()
    pipeline = make_pipeline(StandardScaler(), MultimodalClassifier(**QUICK))
    assert pipeline.fit(numbers, labels).score(numbers, labels) > 0.7


def test_other_columns_than_those_of_fit_are_an_error() -> None:
    frame = pd.DataFrame({"text": [f"day {number}" for number in range(20)], "price": [1, 2] * 10})
    fitted = MultimodalClassifier(model="quick", settings={"epochs": 1}).fit(frame, ["good", "bad"] * 10)
    with pytest.raises(ValueError, match=r"X has the columns \['text'\], but fit had \['text', 'price'\]"):
        fitted.predict(frame[["text"]])
    with pytest.raises(NotFittedError):
        MultimodalClassifier().predict(frame)
