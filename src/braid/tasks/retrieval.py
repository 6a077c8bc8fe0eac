"""Retrieval: a picture -> its texts, a text -> its picture, by embeddings in one space."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from braid.errors import UserError
from braid.generation import Runtime
from braid.metrics import RetrievalScores, score_retrieval
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float


@dataclass(frozen=True)
class Retrieval:
    """Dual encoding: the model sees a picture without its text and a text without its picture, each as a vector.

    ``scale`` times a cosine is the logit of a label in zero-shot classification.
    """

    kind: Literal["retrieval"] = "retrieval"
    scale: float = 20.0

    decoder: ClassVar[str] = "embedding"
    generation: ClassVar[None] = None
    best: ClassVar[str] = "image-recall@1"
    by_row: ClassVar[str] = "image-recall@1"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    needs: ClassVar[tuple[str, ...]] = ("image", "captions")
    asked: ClassVar[tuple[str, ...]] = ()
    sides: ClassVar[tuple[str, str]] = ("image", "prompt")

    def spread(self, examples: Iterable[Example]) -> Iterator[Example]:
        """One example a caption, so that each of a picture's texts is a row; they share the picture."""
        for example in examples:
            for caption in example.fields.get("captions", ()):
                yield replace(example, fields={**example.fields, "captions": (caption,)})

    def prepare(self, example: Example) -> Sample:
        """The picture's name is the key that it shares with its texts."""
        missing = [role for role in self.needs if role not in example.fields]
        if missing:
            raise UserError(
                f"{example.source}: retrieval needs {' and '.join(missing)}; map the column with --columns {missing[0]}=NAME"
            )
        caption = example.fields["captions"][0]  # the only one, once rows are spread
        inputs = {"image": example.fields["image"], "prompt": caption}
        return Sample(example.id, inputs, {self.decoder: str(example.fields["image"])}, (caption,), example.source)

    def predict(self, runtime: Runtime, batch: Batch) -> list[Prediction]:
        """The vectors of a row's picture and text, each made without the other."""
        found = {name: embed(runtime, self.decoder, batch, name) for name in self.sides if name in batch.inputs}
        return [
            Prediction(identity, embeddings={name: vectors[row] for name, vectors in found.items()})
            for row, identity in enumerate(batch.ids)
        ]

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> Mapping[str, float]:
        """x100: ``text-recall@K`` (a text found from its picture: the best-ranked of its own), ``image-recall@K``, K of 1, 5
        and 10; and the median ranks, from 1."""
        return self._scores(predictions, samples).metrics

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """100 for a row whose picture is the first that its text finds, else 0."""
        return 100.0 * (self._scores(predictions, samples).image_ranks == 1)

    def _scores(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> RetrievalScores:
        keys = [sample.targets[self.decoder] for sample in samples]
        place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        owners = np.array([place[key] for key in keys])
        first = np.unique(owners, return_index=True)[1]
        image, text = self.sides
        pictures = np.stack([predictions[row].embeddings[image] for row in first])
        return score_retrieval(pictures, np.stack([prediction.embeddings[text] for prediction in predictions]), owners)


def embed(runtime: Runtime, output: str, batch: Batch, name: str) -> np.ndarray:
    """The vectors [batch, width] of one input alone, each distinct value encoded once; zeros for a row that lacks it."""
    given = batch.inputs[name]
    number = len(given.distinct.values)
    alone = Batch(("",) * number, {name: replace(given, index=np.arange(number))})
    vectors = runtime.vector(output, alone)
    return np.asarray(vectors[np.maximum(given.index, 0)] * (given.index >= 0)[:, None])
