"""Estimators for scikit-learn: any mixture of images, texts, numbers and categories in, labels or numbers out.

from braid.sklearn import MultimodalClassifier
"""

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from braid.api import LoadedModel
from braid.datasets.table.roles import usual_names
from braid.records import Prediction
from braid.tables import frame_of, predict_frame
from braid.trained import train

TARGET = "braid_target"  # a column that rows do not have
RECOGNISED = ("image", "audio", "video", "text")  # roles of inputs that columns of usual names have


class _Multimodal(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: rows to a run, and a run's model to predictions.

    Args:
        columns: roles to column names; without it, Braid recognises the usual names, and every other column is a number or a
            category. An array has numbers alone.
        time: what training may take, such as "10m"; "" takes the quick stages.
        model: a preset, trained from scratch, such as ``tiny``; ``start``: a saved model to fine-tune.
        folder: of the run; "" keeps it in a temporary folder for as long as the estimator lives.
        settings: of the run: ``{"epochs": 3}``.
        random_state: the seed.
    """

    _task = ""

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        time: str = "",
        model: str = "",
        start: str = "",
        folder: str | Path = "",
        settings: Mapping[str, Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.columns = columns
        self.time = time
        self.model = model
        self.start = start
        self.folder = folder
        self.settings = settings
        self.random_state = random_state

    def _fit(self, rows: Any, targets: Sequence[Any]) -> None:
        frame = self._frame(rows, fitting=True)
        if not len(frame):
            raise ValueError("Found array with 0 sample(s) while a minimum of 2 is required.")
        if len(frame) != len(targets):
            raise ValueError(f"X has {len(frame)} rows and y has {len(targets)}")
        self.columns_ = self._columns(frame)
        folder = Path(self.folder) if self.folder else Path(tempfile.mkdtemp(prefix="braid-"))
        if not self.folder:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        settings = {"seed": self.random_state, **(self.settings or {})}
        run = train(
            frame.assign(**{TARGET: list(targets)}),
            self._task,
            folder / "run" if not self.folder else folder,
            time=self.time,
            columns={**self.columns_, "label": TARGET},
            model=self.model,
            start=self.start,
            progress=False,
            **settings,
        )
        self.metrics_ = dict(run.metrics)
        self.model_: LoadedModel = run.model

    def _predicted(self, rows: Any) -> list[Prediction]:
        check_is_fitted(self, "model_")
        return predict_frame(self._frame(rows, fitting=False), self.model_, self._task, self.columns_)

    def _frame(self, rows: Any, fitting: bool) -> Any:
        """Rows as a DataFrame; an array has columns x0, x1, ..."""
        if not hasattr(rows, "columns") and not _are_dicts(rows):
            rows = np.asarray(rows)
            if rows.ndim != 2:
                raise ValueError(
                    f"Expected 2D array, got {rows.ndim}D array instead. Reshape your data with array.reshape(-1, 1)"
                )
            if not rows.shape[1]:
                raise ValueError(f"Found array with 0 feature(s) (shape={rows.shape}) while a minimum of 1 is required.")
            rows = {f"x{place}": rows[:, place] for place in range(rows.shape[1])}
        frame = frame_of(rows)
        names = [str(name) for name in frame.columns]
        if fitting:
            self.n_features_in_ = len(names)
            self.feature_names_in_ = np.array(names, object)
        elif names != list(self.feature_names_in_):
            raise ValueError(f"X has the columns {names}, but fit had {list(self.feature_names_in_)}")
        return frame.set_axis(names, axis=1)

    def _columns(self, frame: Any) -> dict[str, str]:
        """Roles to columns; a column without a usual name is one of a table."""
        given = dict(self.columns or {})
        taken = {part for value in given.values() for part in value.split("+")}
        usual = {name: role for role, names in usual_names().items() for name in names if role in RECOGNISED}
        roles = {usual[name.lower()]: name for name in frame.columns if name.lower() in usual and name not in taken}
        rest = [name for name in frame.columns if name not in taken and name not in roles.values()]
        table = {"tabular": "+".join(rest)} if rest and "tabular" not in given else {}
        return {**roles, **table, **given}


class MultimodalClassifier(ClassifierMixin, _Multimodal):  # type: ignore[misc]
    """A classifier of rows with images, texts, numbers and categories.

    ``classes_`` are the labels; ``metrics_`` those of the best model on the rows that training kept for validation.
    """

    _task = "classification"

    def fit(self, X: Any, y: Any) -> "MultimodalClassifier":
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y has one class; a classifier needs two or more")
        self._fit(X, [self._names[number] for number in numbers])
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each of ``classes_``: [rows, classes]."""
        return np.array([[one.scores.get(name, 0.0) for name in self._names] for one in self._predicted(X)])

    @property
    def _names(self) -> list[str]:
        """The labels of the classes, which may be of any type, in the run."""
        check_is_fitted(self, "classes_")
        return [str(value) for value in self.classes_]

    def predict(self, X: Any) -> np.ndarray:
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(1)]


class MultimodalRegressor(RegressorMixin, _Multimodal):  # type: ignore[misc]
    """A regressor of rows with images, texts, numbers and categories."""

    _task = "regression"

    def fit(self, X: Any, y: Any) -> "MultimodalRegressor":
        self._fit(X, [float(value) for value in column_or_1d(y, warn=True)])
        return self

    def predict(self, X: Any) -> np.ndarray:
        return np.array([one.value for one in self._predicted(X)], np.float64)


def _are_dicts(rows: Any) -> bool:
    return isinstance(rows, Mapping) or (isinstance(rows, Sequence) and bool(rows) and isinstance(rows[0], Mapping))
