"""Any input of a model as a vector in one space, and what is near to it."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braid.bundle import BUILT_IN, Bundle, part_of, read_bundle
from braid.collate import Collator, Watch, over_batches
from braid.errors import UserError
from braid.evaluation import Answers
from braid.files import regular, writable
from braid.files.gallery import Card, gallery
from braid.files.reading import find_files, has_suffix, identities
from braid.generation import Runtime
from braid.given import between_commas, is_one, several
from braid.index import Hit, Index, IndexConfig, Origin, create_index, needed, open_index
from braid.index.files import HASH, Compared, compare, entry, file_of, is_gone, stamp
from braid.index.local import FILE
from braid.media import has_sound
from braid.metrics import frechet_distance, kernel_distance, precision_recall
from braid.modalities import NOT_READ, EmbeddingModalityConfig, modality_of, thumbnail_uri
from braid.modalities.cells import check_text
from braid.records import Prediction, Sample
from braid.shapes import Float
from braid.tasks import Task

PHRASE = "a photo of a {}"  # a label as a caption would say it
EMBEDDING = EmbeddingModalityConfig.kind
THUMBNAIL = 480  # pixels, the longer side
TABLES = frozenset({".csv", ".tsv", ".jsonl", ".json", ".parquet"})
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
        if modality.config.kind == EMBEDDING:
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
    """Embed values of the input ``name``.

    Raises:
        UserError: with ``strict``, for the first value that cannot be read; always, for a model without such an input.
    """
    output = embedding_output(runtime)
    if name not in collator.inputs:
        raise UserError(f"this model does not read {name!r}; it reads {', '.join(collator.inputs)}")
    samples = [Sample(str(row), {name: value}, source=source_of(value)) for row, value in enumerate(values)]
    vectors, kept, skipped = over_batches(
        Collator(collator.inputs), samples, lambda part: runtime.vector(output, part.batch), batch_size, strict, watch
    )
    joined = np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)
    return Embedded(joined, tuple(kept), tuple(skipped))


@dataclass(frozen=True)
class Indexed:
    """An index, and the files that could not be read, each with the reason.

    Args:
        new: files that were not in the index; ``unchanged``: files that were, and are skipped.
        changed: files that were embedded anew, because they have changed.
        moved: rows of a file that was renamed or moved.
        gone: rows whose file is not there any more; ``pruned`` if they were removed.
    """

    index: Index
    skipped: tuple[tuple[Sample, str], ...]
    new: int = 0
    unchanged: int = 0
    changed: int = 0
    moved: int = 0
    gone: int = 0
    pruned: bool = False


def index_files(
    runtime: Runtime,
    collator: Collator,
    files: Mapping[str, str],
    folder: Path,
    config: IndexConfig,
    model: Origin,
    batch_size: int = 32,
    strict: bool = False,
    watch: IndexWatch | None = None,
    prune: bool = False,
) -> Indexed:
    """Embed files, each with the input that reads it, into the index at ``folder``; without one there, make it. Files that are in
    the index already, also by another spelling of their path, are skipped, unless they have changed; ids are paths as they are
    given the first time. A row whose file is gone is replaced by a new file of the same content.

    Args:
        prune: remove the rows whose file is gone.
    Raises:
        UserError: when another model made the index there, or no file can be read; with ``strict``, for the first that cannot.
    """
    embedding_output(runtime)
    named = dict(zip(reversed([*identities(files)]), reversed([*files]), strict=True))  # the first spelling of each file
    names = [*reversed(named)]
    opened = open_index(folder, model) if (folder / FILE).exists() else None
    if opened is None:
        needed(*config.needs)  # before the files are embedded, which may take hours
    rows = compare(opened, named) if opened else Compared()
    skipped: list[tuple[Sample, str]] = []
    new_files = moved = 0
    parts = [names[first : first + AT_ONCE] for first in range(0, len(names), AT_ONCE)]
    for part in watch(parts) if watch else parts:
        new = [(identity, named[identity]) for identity in part if identity not in rows.same]
        for name in dict.fromkeys(files[file] for _, file in new):
            own = {file: identity for identity, file in new if files[file] == name}
            stamps = {file: stamp(file) for file in own.values()}
            result = embed(runtime, collator, list(own), name, batch_size, strict)
            skipped.extend(result.skipped)
            if opened and (old := [rows.changed[path] for path in own.values() if path in rows.changed]):
                opened.delete(old)  # also where the file cannot be read any more
            if result.samples:
                opened = opened or create_index(folder, config, result.vectors.shape[1], model)
                found = {file: own[file] for file in (str(sample.inputs[name]) for sample in result.samples)}
                new_files += sum(path not in rows.changed for path in found.values())
                moved += _put(opened, rows, found, result.vectors, stamps)
    if opened is None:
        raise UserError(f"none of {len(names)} files could be read; the first: {skipped[0][1]}")
    gone = [name for same in rows.gone.values() for name in same]
    if prune and gone:
        opened.delete(gone)
    opened.save()
    unchanged = sum(name in rows.same for name in names)
    return Indexed(opened, tuple(skipped), max(0, new_files - moved), unchanged, len(rows.changed), moved, len(gone), prune)


def _put(
    index: Index,
    rows: Compared,
    files: Mapping[str, str],
    vectors: Float[np.ndarray, "rows width"],
    stamps: Mapping[str, Mapping[str, int]],
) -> int:
    """Add files, each with its full path, in place of their old rows and of those of the same content whose file is gone;
    count the latter."""
    taken = index.known([writable(file) for file in files]).union(rows.changed.values())  # by files of other folders
    ids = [rows.changed.get(path) or writable(path if writable(file) in taken else file) for file, path in files.items()]
    entries = [entry(path, index.folder, stamps[path]) for path in files.values()]
    kept = [known for one in entries if one[HASH] and (known := rows.gone.get(one[HASH]))]
    moved = [same.pop() for same in kept if same]
    if moved:
        index.delete(moved)
    index.add(ids, vectors, entries)
    return len(moved)


def fidelity(runtime: Runtime, collator: Collator, task: Task, answers: Answers, watch: Watch | None = None) -> dict[str, float]:
    """How similar the images that another model generated are to the real ones, by this model's embeddings.

    ``fid`` and ``kid`` are distances, x1000 (embeddings have length 1); ``precision`` and ``recall`` shares, x100; ``match``
    is the mean cosine of each image and its prompt, x100, if there are prompts.
    """
    generated = [one.image.pixels for one in answers.predictions if one.image]
    if not generated:
        raise UserError("no image was generated, so there is nothing to compare; leave the extractor out")
    name = input_named(collator.inputs, task.decoder)
    real = [sample.targets[task.decoder] for sample in answers.samples]
    made, truth = (embed(runtime, collator, images, name, strict=True, watch=watch).vectors for images in (generated, real))
    precision, recall = precision_recall(made, truth)
    metrics = {
        "fid": 1000 * frechet_distance(made, truth),
        "kid": 1000 * kernel_distance(made, truth),
        "precision": 100 * precision,
        "recall": 100 * recall,
    }
    for prompt in (other for other in collator.inputs if other != name):
        values = [sample.inputs[prompt] for sample in answers.samples if prompt in sample.inputs]
        if len(values) == len(generated):
            read = embed(runtime, collator, values, prompt, strict=True).vectors
            metrics["match"] = 100 * float((made * read).sum(1).mean())
    return metrics


def input_named(inputs: Mapping[str, Any], role: str) -> str:
    """The input that reads a role: one of that name, else the usual one of the role's modality."""
    modality = modality_of(role)
    return role if role in inputs or modality is None else str(modality.input_name)


def file_input(inputs: Mapping[str, Any], value: Any) -> str:
    """The input that a value without a name is for: the one that reads files of its suffix, else the image, or in a model without
    one the first that reads files."""
    readers = [name for name, config in inputs.items() if config.suffixes]
    named = isinstance(value, str | os.PathLike)
    fitting = [name for name in readers if named and has_suffix(value, inputs[name].suffixes)]
    return next(iter(fitting), "image" if "image" in readers else next(iter(readers), "image"))


def files_by_input(inputs: Mapping[str, Any], given: Sequence[Any], on_note: Callable[[str], None]) -> dict[str, str]:
    """The files that paths, patterns and folders mean, each with the input that reads it; ``on_note`` is told of the rest.

    Raises:
        UserError: when no input reads files, or a folder or a pattern has none.
    """
    readers = {name: config for name, config in inputs.items() if config.suffixes}
    if given and not readers:
        raise UserError(f"this model reads no files; it reads {', '.join(inputs)}")
    suffixes = frozenset().union(*(config.suffixes for config in readers.values()))
    for one in given:
        if has_suffix(one, TABLES - suffixes):
            raise UserError(f"{one} is a table; give the files that it names, or their folder")
    kind = next(iter(readers.values())).kind if len(readers) == 1 else "file"
    found = find_files(given, suffixes, kind, NOT_READ, on_note)
    return {
        file: next((name for name, config in readers.items() if has_suffix(file, config.suffixes)), next(iter(readers)))
        for file in found
    }


def values_by_role(inputs: Mapping[str, Any], files: Any, others: Mapping[str, Any]) -> dict[str, list[Any]]:
    """One value or several of each role; ``files`` are for the input that reads the first of them."""
    first = files if is_one(files) else next(iter(files := several(files)), None)
    named = {file_input(inputs, first): files, **others}
    return {role: several(values, role == "video") for role, values in named.items()}


def with_sounds(inputs: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the sound of its clip, where an input hears clips and the row has no recording of its own."""
    clips = {name: config.sound_of for name, config in inputs.items() if getattr(config, "sound_of", "") in row}
    return {**row, **{name: row[clip] for name, clip in clips.items() if name not in row and has_sound(row[clip])}}


def check_reads(inputs: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """
    Raises:
        UserError: for a value of a row that no input of a model reads.
    """
    for name in row:
        if name not in inputs and modality_of(name) is not None and input_named(inputs, name) not in inputs:
            raise UserError(f"this model reads no {name}; it reads {', '.join(inputs)}, so leave the {name} out")


def origin(bundle: Bundle) -> Origin:
    """Who makes a model's vectors: its name, and a hash of its architecture, weights and tokenizers. A model that only adds parts
    to its base gives the vectors of the base."""
    if bundle.base is not None and _same_space(bundle, bundle.base):
        return origin(bundle.base)
    digest = hashlib.sha256()
    for file in sorted(bundle.folder.iterdir()):
        if file.suffix in (".safetensors", ".onnx") or (file.suffix == ".json" and file.name != "interface.json"):
            with open(regular(file, math.inf), "rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return Origin(bundle.interface.card.name or bundle.folder.name, digest.hexdigest())


def _same_space(bundle: Bundle, base: Bundle) -> bool:
    """Whether what both models read has the same vector in both: everything that embeds it is the base's."""
    assert bundle.interface.base is not None
    output = next(name for name, config in bundle.interface.outputs.items() if config.kind == EMBEDDING)
    inputs = [name for name in bundle.interface.inputs if name in base.interface.inputs]
    embed_it = {"fusion", f"decoders.{output}", *(f"{group}.{name}" for group in ("encoders", "projections") for name in inputs)}
    needed = {name for name in base.shapes() if part_of(name) in embed_it}
    return bool(inputs) and needed <= bundle.taken


def extension(bundle: Bundle, roles: Iterable[str]) -> str:
    """The built-in model that adds inputs to this built-in one and reads all ``roles``; "" if this one does, or none."""
    inputs = bundle.interface.inputs
    if bundle.folder.parent != BUILT_IN or all(input_named(inputs, role) in inputs for role in roles):
        return ""
    for file in sorted(BUILT_IN.glob("*/interface.json")):
        other = read_bundle(file.parent).interface
        adds = other.base is not None and other.base.model == bundle.folder.name
        if adds and all(input_named(other.inputs, role) in other.inputs for role in roles):
            return file.parent.name
    return ""


def choose_by_embedding(
    vectors: Float[np.ndarray, "rows width"], labels: Sequence[str], phrases: Float[np.ndarray, "labels width"], scale: float
) -> list[Prediction]:
    """The label whose phrase is nearest to each row (zero-shot, arXiv:2103.00020): softmax of ``scale`` x cosine."""
    logits = scale * vectors @ phrases.T
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


def labels_of(labels: Any) -> list[str]:
    """A caller's own labels, each once: from any container, or from one text (see ``between_commas``).

    Raises:
        UserError: when one of them is no text, or a text has no label in it.
    """
    labels = list(labels) if isinstance(labels, Mapping) else labels
    parts = between_commas(labels) if isinstance(labels, str) else several(labels)
    for part in parts:
        if not isinstance(part, str):
            raise UserError(f"labels has {part!r}, which is not text; write every label as text")
    result = list(dict.fromkeys(label for part in parts if (label := part.strip())))
    given = bool(labels) if isinstance(labels, str) else parts not in ([], [""])
    if given and not result:
        raise UserError(f"there is no label in {labels!r}; write two or more, such as 'dog,cat'")
    for label in result:
        check_text(label, "the label")
    return result


def source_of(value: Any) -> str:
    """Where a value stands, for messages: its file, or the text itself."""
    return str(value) if isinstance(value, str) or hasattr(value, "__fspath__") else ""


def source_of_row(row: Mapping[str, Any], number: int = 0) -> str:
    """Where a row stands, for messages: its first value if that is a file or a text, else its number."""
    return source_of(next(iter(row.values()), None)) or f"row {number + 1}"


def results_page(index: Path, hits: Sequence[Hit], text: str = "", file: str | Path | None = None) -> str:
    """The hits of a search in an index of files, as HTML that needs no other file. Images, clips and recordings have a thumbnail.

    Args:
        index: the folder of the index that was searched.
        hits: best first; an id is the path of a file.
        text, file: the query, one or both.
    """
    query = text or (Path(file).name if file is not None else "")
    cards = [
        Card(
            image=thumbnail_uri(file_of(hit, index), THUMBNAIL),
            share=min(max(hit.score, 0.0), 1.0),
            measure=f"{hit.score:.3f}",
            credit=hit.id,
            error="the file is not there any more" if is_gone(hit, index) else "",
        )
        for hit in hits
    ]
    result = "nothing was found" if not cards else "the nearest one" if len(cards) == 1 else f"the {len(cards)} nearest"
    footer = ["The figure is the cosine of the query with the row, in the space of the model that made the index; 1 is the same."]
    beside = "" if file is None else thumbnail_uri(file, THUMBNAIL)
    return gallery(query, query, f"{index.name}: {result}.", cards, footer, beside)
