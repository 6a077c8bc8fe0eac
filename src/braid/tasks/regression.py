"""Regression: any inputs (an image, a text, a table row) -> a number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from braid.errors import UserError
from braid.generation import Runtime
from braid.generation.images import StepWatch
from braid.metrics import score_values
from braid.modalities import NumberModality
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float
from braid.tasks.protocol import TaskProtocol, inputs_of, need_inputs, same_truth


@dataclass(frozen=True)
class Regression(TaskProtocol):
    """The text of a row is the prompt; the number is in the column of the label."""

    kind: Literal["regression"] = "regression"

    decoder: ClassVar[str] = "number"
    main_metric: ClassVar[str] = "mae"
    per_sample_metric: ClassVar[str] = "mae"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    unit: ClassVar[str] = "value"
    target_fields: ClassVar[tuple[str, ...]] = ("label", "labels")

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return inputs_of(fields, "text")

    def prepare(self, example: Example) -> Sample:
        """The label of a row becomes the target number.

        Raises:
            UserError: for a row without inputs, or a label that is not a number.
        """
        inputs = self.inputs_of(example.fields)
        need_inputs(inputs, example, self.kind, "image", "text")
        if "label" not in example.fields:
            return Sample(example.id, inputs, source=example.source)
        value = _number(example.fields["label"], example.source)
        return Sample(example.id, inputs, {self.decoder: value}, (repr(value),), example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        """Numbers in the unit of the data."""
        modality = runtime.outputs[self.decoder]
        assert isinstance(modality, NumberModality)
        values = [modality.value(float(output)) for output in runtime.vector(self.decoder, batch)[:, 0]]
        return [Prediction(identity, text=f"{value:g}", value=value) for identity, value in zip(batch.ids, values, strict=True)]

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """``mae`` and ``rmse`` in the unit of the data; ``r2`` and ``pearson`` x100."""
        return score_values(*_values(predictions, samples))

    def remarks(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> list[str]:
        return same_truth(samples, "number", "r2 and pearson are not defined")

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """The absolute error of each row, in the unit of the data."""
        result, truth = _values(predictions, samples)
        return np.abs(result - truth)


def _values(
    predictions: Sequence[Prediction], samples: Sequence[Sample]
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    result = np.array([prediction.value for prediction in predictions], np.float64)
    return result, np.array([float(sample.references[0]) for sample in samples])


def _number(label: object, source: str) -> float:
    try:
        value = float(str(label))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{source}: the label {label!r} is not a number; correct it, or choose --task classification")
    return value
