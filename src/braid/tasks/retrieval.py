"""Retrieval: an image -> its texts, a text -> its image, with embeddings in one space."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from braid.errors import UserError
from braid.generation import Runtime
from braid.generation.images import StepWatch
from braid.metrics import RECALL_AT, RetrievalScores, score_retrieval
from braid.modalities import modality_of
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float
from braid.tasks.protocol import TaskProtocol, inputs_of


@dataclass(frozen=True)
class Retrieval(TaskProtocol):
    """Dual encoding: the model embeds images and texts separately.

    Args:
        sides: the two inputs that are embedded separately: the described value, and its text.
        scale: the factor on a cosine that gives the logit of a label in zero-shot classification.
    """

    kind: Literal["retrieval"] = "retrieval"
    sides: tuple[str, str] = ("image", "prompt")
    scale: float = 20.0

    decoder: ClassVar[str] = "embedding"
    main_metric: ClassVar[str] = "image-recall@1"
    per_sample_metric: ClassVar[str] = "image-recall@1"
    objectives: ClassVar[tuple[str, ...]] = ("contrastive",)

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        inputs = inputs_of(fields, "captions")
        return {name: inputs[name] for name in self.sides if name in inputs}

    def expand(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Yield one example per caption; the captions of an image share it."""
        for example in examples:
            for caption in example.fields.get("captions", ()):
                yield replace(example, fields={**example.fields, "captions": (caption,)})

    def prepare(self, example: Example) -> Sample:
        """The target is the key of the image, which all its texts share."""
        missing = [role for role in (self.sides[0], "captions") if role not in example.fields]
        if missing:
            raise UserError(
                f"{example.source}: retrieval needs {' and '.join(missing)}; map the column with --columns {missing[0]}=NAME"
            )
        caption, described = example.fields["captions"][0], example.fields[self.sides[0]]  # expanded rows have one caption
        modality = modality_of(self.sides[0])
        key = modality.key(described) if modality else described
        inputs = {self.sides[0]: described, self.sides[1]: caption}
        return Sample(example.id, inputs, {self.decoder: key}, (caption,), example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        """The embeddings of each row's image and text, computed separately."""
        result = {name: embed(runtime, self.decoder, batch, name) for name in self.sides if name in batch.inputs}
        return [
            Prediction(identity, embeddings={name: vectors[row] for name, vectors in result.items()})
            for row, identity in enumerate(batch.ids)
        ]

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """``text-recall@K`` (image to text, by the best-ranked of its texts) and ``image-recall@K``, x100, for K of 1, 5 and 10;
        and the median ranks, from 1."""
        return self._scores(predictions, samples).metrics

    def remarks(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> list[str]:
        images = len({sample.targets[self.decoder] for sample in samples})
        certain = [f"image-recall@{k}" for k in RECALL_AT if k >= images]
        number = "1 image" if images == 1 else f"{images} images"
        return [f"any model has 100 in {' and '.join(certain)}, because there is a choice of {number} only"] if certain else []

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """100 for a row whose text ranks its image first, else 0."""
        return 100.0 * (self._scores(predictions, samples).image_ranks == 1)

    def _scores(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> RetrievalScores:
        keys = [sample.targets[self.decoder] for sample in samples]
        place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        owners = np.array([place[key] for key in keys])
        first = np.unique(owners, return_index=True)[1]
        image, text = self.sides
        images = np.stack([predictions[row].embeddings[image] for row in first])
        return score_retrieval(images, np.stack([prediction.embeddings[text] for prediction in predictions]), owners)


def embed(runtime: Runtime, output: str, batch: Batch, name: str) -> np.ndarray:
    """The embeddings [batch, width] of one input alone. Distinct values are encoded once; a row without the input gets zeros."""
    given = batch.inputs[name]
    number = len(given.distinct.values)
    alone = Batch(("",) * number, {name: replace(given, index=np.arange(number))})
    vectors = runtime.vector(output, alone)
    return np.asarray(vectors[np.maximum(given.index, 0)] * (given.index >= 0)[:, None])
