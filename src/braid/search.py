"""Any input of a model as a vector in one space, and what is near to it."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braid.bundle import Bundle
from braid.collate import Collator, Watch, collated
from braid.errors import UserError
from braid.generation import Runtime
from braid.index import Index, IndexConfig, Origin, create_index, open_index
from braid.index.header import FILE
from braid.modalities import EmbeddingModality
from braid.records import Prediction, Sample
from braid.shapes import Float

PHRASE = "a photo of a {}"  # a label as a caption would say it
AT_ONCE = 1024  # vectors handed to an index together

IndexWatch = Callable[[Sequence[Sequence[str]]], Iterable[Sequence[str]]]  # wraps portions of files in a progress bar


@dataclass(frozen=True)
class Embedded:
    """Unit vectors in the order of ``samples``, and the rows that could not be read, each with the reason."""

    vectors: Float[np.ndarray, "rows width"]
    samples: tuple[Sample, ...]
    skipped: tuple[tuple[Sample, str], ...]


def embedding_output(runtime: Runtime) -> str:
    """The output that gives embeddings.

    Raises:
        UserError: for a model that has none.
    """
    for name, modality in runtime.outputs.items():
        if isinstance(modality, EmbeddingModality):
            return name
    raise UserError("this model gives no embeddings; train one with --task retrieval, or choose a model that has them")


def embed(
    runtime: Runtime,
    collator: Collator,
    values: Sequence[Any],
    name: str,
    batch_size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
) -> Embedded:
    """Embed values of the input ``name``: pictures for ``image``, texts for ``prompt``.

    Raises:
        UserError: with ``strict``, for the first value that cannot be read; always, for a model without such an input.
    """
    output = embedding_output(runtime)
    if name not in collator.inputs:
        raise UserError(f"this model does not read {name!r}; it reads {', '.join(collator.inputs)}")
    samples = [Sample(str(row), {name: value}, source=_told(value)) for row, value in enumerate(values)]
    vectors: list[np.ndarray] = []
    kept: list[Sample] = []
    skipped: list[tuple[Sample, str]] = []
    parts = collated(Collator(collator.inputs), samples, batch_size, strict)
    for part in watch(parts, -(-len(samples) // batch_size)) if watch else parts:
        skipped.extend(part.skipped)
        if part.samples:
            vectors.append(runtime.vector(output, part.batch))
            kept.extend(part.samples)
    joined = np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)
    return Embedded(joined, tuple(kept), tuple(skipped))


@dataclass(frozen=True)
class Indexed:
    """An index, and the pictures that could not be read, each with the reason."""

    index: Index
    skipped: tuple[tuple[Sample, str], ...]


def index_images(
    runtime: Runtime,
    collator: Collator,
    files: Sequence[str],
    folder: Path,
    config: IndexConfig,
    model: Origin,
    batch_size: int = 32,
    strict: bool = False,
    watch: IndexWatch | None = None,
) -> Indexed:
    """Embed pictures into the index at ``folder``, which is made where there is none, and save it; those that it has already
    are passed over.

    Raises:
        UserError: when the index there is another model's, or no picture can be read; with ``strict``, for the first.
    """
    embedding_output(runtime)
    files = list(dict.fromkeys(files))
    opened = open_index(folder, model) if (folder / FILE).exists() else None
    skipped: list[tuple[Sample, str]] = []
    parts = [files[first : first + AT_ONCE] for first in range(0, len(files), AT_ONCE)]
    for part in watch(parts) if watch else parts:
        there = opened.known(part) if opened else set()
        result = embed(runtime, collator, [file for file in part if file not in there], "image", batch_size, strict)
        skipped.extend(result.skipped)
        if result.samples:
            opened = opened or create_index(folder, config, result.vectors.shape[1], model)
            opened.add([str(sample.inputs["image"]) for sample in result.samples], result.vectors)
    if opened is None:
        raise UserError(f"none of {len(files)} pictures could be read; braid data check names what is wrong with them")
    opened.save()
    return Indexed(opened, tuple(skipped))


def origin(bundle: Bundle) -> Origin:
    """Who makes a model's vectors: its name, and a hash of its architecture, weights and tokenizers."""
    digest = hashlib.sha256()
    for file in sorted(bundle.folder.iterdir()):
        if file.suffix in (".safetensors", ".onnx") or (file.suffix == ".json" and file.name != "interface.json"):
            with open(file, "rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return Origin(bundle.interface.card.name or bundle.folder.name, digest.hexdigest())


def choose_by_embedding(
    images: Float[np.ndarray, "rows width"], labels: Sequence[str], phrases: Float[np.ndarray, "labels width"], scale: float
) -> list[Prediction]:
    """The label whose phrase is nearest to each picture (zero-shot, arXiv:2103.00020): softmax of ``scale`` x cosine."""
    logits = scale * images @ phrases.T
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    return [
        Prediction(
            str(row),
            text=labels[best],
            label=labels[best],
            scores=dict(zip(labels, each.tolist(), strict=True)),
            confidence=float(each[best]),
        )
        for row, (each, best) in enumerate(zip(probabilities, probabilities.argmax(1), strict=True))
    ]


def _told(value: Any) -> str:
    return str(value) if isinstance(value, str) or hasattr(value, "__fspath__") else ""
