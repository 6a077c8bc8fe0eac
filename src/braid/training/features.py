"""Features of frozen encoders, kept on disk by the content of what was encoded, so that every value is encoded once.

Each encoder has a folder, named after a hash of its weights and preprocessing: ``values`` [n, positions, width] float16,
``masks`` [n, positions] bool, and ``index``, whose n-th line is the hash of the n-th value. Values are only ever appended, so all
runs, subsets, tasks and cells of a comparison share them.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from braid.collate import Collator
from braid.encoders import TwoPartEncoder
from braid.errors import UserError
from braid.files import alone, user_path
from braid.files.reading import read_part
from braid.media import Clip
from braid.modalities import EncodedModality, InputModality
from braid.model import Model
from braid.records import Padded, Sample
from braid.training.encoding import Encode, fastest, on_torch
from braid.training.sections import AUTO

FOLDER = "BRAID_CACHE"  # environment variable with another folder for AUTO
MOST = 10 << 30  # bytes that the folder keeps; the encoders that were used least recently go first
BATCH = 32  # images, or frames of clips, that are encoded at once
PIECES = 8  # recordings that are: each is many images, or as long as many
TELL = 10.0  # seconds between two notes
LARGEST = 65504.0  # in float16
KINDS = {"audio": "recordings", "video": "clips"}  # what is encoded, in messages; images else
LINE = 41  # bytes of a line of the index: a SHA-1 in hexadecimal and a line break

OnNote = Callable[[str], None]


def cache_folder(setting: str) -> Path | None:
    """The folder that ``cache_features`` names; None for ``auto`` in a process without a home, or if it cannot be written."""
    if setting != AUTO:
        return user_path(setting)
    home = user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = user_path(os.environ.get(FOLDER) or home / "braid" / "features")
    return folder if not str(folder).startswith("~") and _writable(folder) else None


def frozen_inputs(model: Model, collator: Collator) -> dict[str, InputModality]:
    """The inputs made of files whose encoder, or the first part of it, is frozen."""
    return {
        name: modality
        for name, modality in collator.inputs.items()
        if not isinstance(modality, EncodedModality)
        and modality.config.suffixes
        and not any(p.requires_grad for module in _described_by(model.encoders[name]) for p in module.parameters())
    }


@dataclass(frozen=True)
class Views:
    """Augmented versions of what ``samples`` hold, ``number`` of each, made by the ``inputs`` of the model."""

    number: int
    inputs: Mapping[str, InputModality]
    samples: Iterable[Sample]


def with_features(
    model: Model,
    collator: Collator,
    samples: Iterable[Sample],
    setting: str,
    on_note: OnNote,
    precision: str = "float32",
    views: Views | None = None,
) -> Collator:
    """A collator that gives features instead of pixels to every frozen image encoder.

    Values are encoded without dropout, and without augmentation unless they are ``views``.

    Args:
        samples: what is encoded as it is.
        setting: a folder; or "auto": the user's own folder, and nothing is cached where that is not possible.
    Raises:
        UserError: when no image encoder is frozen, or an image is neither a file nor bytes.
    """
    frozen = frozen_inputs(model, collator)
    if not frozen:
        if setting == AUTO:
            return collator
        raise UserError("cache_features is set, but no image encoder is frozen; set freeze: [encoders.image]")
    try:
        given = _given(frozen, samples)
        trained = _given(frozen, views.samples) if views else {}
    except UserError:
        if setting == AUTO:
            return collator
        raise
    folder = cache_folder(setting)
    if folder is None:
        on_note(f"your cache folder cannot be written, so images are encoded in every epoch; {FOLDER}=FOLDER names another one")
        return collator
    cached = {}
    for name, modality in frozen.items():
        store = _Store(model.encoders[name], modality, folder, precision)
        if views and views.inputs[name].augments:
            cached[name] = store.encoded(given[name], on_note, _Seen(views.inputs[name], views.number, trained[name]))
        else:
            cached[name] = store.encoded({**given[name], **trained.get(name, {})}, on_note)
    _bound(folder, MOST)
    return replace(collator, inputs={**collator.inputs, **cached})


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _given(names: Iterable[str], samples: Iterable[Sample]) -> dict[str, dict[str, "_Given"]]:
    """The different values of each input, by their keys."""
    given: dict[str, dict[str, _Given]] = {name: {} for name in names}
    for sample in samples:
        for name in given:
            if name in sample.inputs:
                value = sample.inputs[name]
                given[name].setdefault(EncodedModality.key_of(value, sample.source), _Given(value, sample.source))
    return given


@dataclass(frozen=True)
class _Given:
    """A value to encode, and the row that it came from first."""

    value: Any
    source: str

    def prepare(self, modality: InputModality) -> Any:
        return modality.prepare(self.value, self.source)

    def content(self) -> str:
        """A hash of the value's bytes; "" if its file cannot be read."""
        with suppress(OSError, ValueError):
            return self._hash()
        return ""

    def _hash(self) -> str:
        value = self.value
        if isinstance(value, Clip):
            part = f"{_Given(value.file, '')._hash()} {value.start} {value.end}"
            return hashlib.sha1(part.encode(), usedforsecurity=False).hexdigest()
        if isinstance(value, str | os.PathLike):
            name = os.fspath(value)
            inside = read_part(name)
            if inside is None:
                with open(name, "rb") as file:
                    return hashlib.file_digest(file, "sha1").hexdigest()
            value = inside
        return hashlib.sha1(value, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class _View(_Given):
    """A value to encode as ``modality`` augments it, with the random numbers of ``number`` and its content."""

    modality: InputModality
    number: int

    def _hash(self) -> str:
        made = f"{super()._hash()} {self.number} {self.modality.config!r}"
        return hashlib.sha1(made.encode(), usedforsecurity=False).hexdigest()

    def prepare(self, modality: InputModality) -> Any:
        seed = int(super()._hash()[:8], 16)
        return self.modality.prepare(self.value, self.source, np.random.default_rng((self.number, seed)))


@dataclass(frozen=True)
class _Seen:
    """What training sees ``number`` augmented versions of."""

    modality: InputModality
    number: int
    given: Mapping[str, _Given]

    def views(self) -> dict[str, _View]:
        """By key and number, the first versions of all before the second ones."""
        return {
            f"{key}#{number}": _View(one.value, one.source, self.modality, number)
            for number in range(self.number)
            for key, one in self.given.items()
        }


class _Store:
    """What is kept of one encoder."""

    def __init__(self, encoder: nn.Module, modality: InputModality, folder: Path, precision: str) -> None:
        self.encoder, self.modality, self.precision = encoder.eval(), modality, precision
        _, *shape = on_torch(encoder, precision)(_longest(modality)).values.shape
        self.shape = (int(shape[0]), int(shape[1]))
        self.kinds = KINDS.get(modality.config.kind, "images")
        self.batch = PIECES if self.kinds == "recordings" else max(1, BATCH // getattr(modality.config, "frames", 1))
        self.made = _fingerprint(encoder, modality, f"{self.shape} {precision}")
        self.folder = folder / self.made[:16]

    def encoded(self, given: Mapping[str, _Given], on_note: OnNote, seen: _Seen | None = None) -> EncodedModality:
        """Encode what is not kept yet.

        Args:
            given: by the key of ``EncodedModality``.
            seen: what is encoded in augmented versions alone, unless it is among ``given``, too.
        """
        result = self._encoded({**given, **(seen.views() if seen else {})}, on_note)
        if seen is None:
            return result
        places, skipped = dict(result.places), dict(result.skipped)
        views = {}
        for key in seen.given:
            own = [f"{key}#{number}" for number in range(seen.number)]
            if kept := tuple(places[one] for one in own if one in places):
                views[key] = kept
                places.setdefault(key, kept[0])
            else:
                skipped.setdefault(key, skipped[own[0]])
        return replace(result, places=places, skipped=skipped, views=views)

    def _encoded(self, given: Mapping[str, _Given], on_note: OnNote) -> EncodedModality:
        self.folder.mkdir(parents=True, exist_ok=True)
        hashes = {key: one.content() for key, one in given.items()}
        with alone(self.folder):
            known, unreadable = self._known(), self._unreadable()
            new = {content: given[key] for key, content in hashes.items() if content and content not in known}
            new = {content: one for content, one in new.items() if content not in unreadable or not self._reason(one)}
            if new:
                on_note(
                    f"{len(new):,} {self.kinds} are encoded now, once for all runs with this encoder; {self.folder} keeps them"
                )
                # By the number of all values, so that a run that was killed while it encoded goes on in the same way.
                encode = fastest(self.encoder, self.precision, self.modality, len(given))
                self._append(list(new.items()), known, encode, on_note)
        places = {key: known[content] for key, content in hashes.items() if content in known}
        changed = "the image changed while the run started; start the run again"
        skipped = {key: self._reason(one) or f"{one.source}: {changed}" for key, one in given.items() if key not in places}
        os.utime(self.folder / "index")
        values, masks = self.folder / "values", self.folder / "masks"
        return EncodedModality(self.modality.config, values, masks, (self._rows(), *self.shape), places, skipped, self.made)

    def _rows(self) -> int:
        return (self.folder / "index").stat().st_size // LINE

    def _unreadable(self) -> set[str]:
        """The hashes of what could not be decoded before."""
        path = self.folder / "unreadable"
        return set(path.read_text(encoding="ascii", errors="replace").split()) if path.exists() else set()

    def _known(self) -> dict[str, int]:
        """The place of every hash in the index; what a killed process left after the last whole line is cut off."""
        index = self.folder / "index"
        lines = index.read_bytes() if index.exists() else b""
        sizes = {"values": 2 * self.shape[0] * self.shape[1], "masks": self.shape[0]}
        number = len(lines) // LINE
        for name, size in sizes.items():
            path = self.folder / name
            number = min(number, path.stat().st_size // size if path.exists() else 0)
        for name, size in {**sizes, "index": LINE}.items():
            with open(self.folder / name, "ab") as file:
                file.truncate(number * size)
        return {lines[LINE * k : LINE * k + LINE - 1].decode("ascii", errors="replace"): k for k in range(number)}

    def _append(self, new: list[tuple[str, _Given]], known: dict[str, int], encode: Encode, on_note: OnNote) -> None:
        """Encode values, and add their places to ``known``."""
        started = told = time.perf_counter()
        place = self._rows()
        with ExitStack() as stack:
            names = ("values", "masks", "index", "unreadable")
            values, masks, index, unreadable = (stack.enter_context(open(self.folder / name, "ab")) for name in names)
            for first in range(0, len(new), self.batch):
                prepared, kept = [], []
                for content, one in new[first : first + self.batch]:
                    try:
                        prepared.append(one.prepare(self.modality))
                        kept.append(content)
                    except UserError:
                        unreadable.write(f"{content}\n".encode("ascii"))
                if prepared:
                    features = encode(self.modality.pad(prepared))
                    values.write(self._filled(features.values.clip(-LARGEST, LARGEST).astype(np.float16)).tobytes())
                    masks.write(self._filled(features.mask).tobytes())
                    values.flush()
                    masks.flush()
                    index.write("".join(f"{content}\n" for content in kept).encode("ascii"))
                    known |= {content: place + k for k, content in enumerate(kept)}
                    place += len(kept)
                done, now = min(first + self.batch, len(new)), time.perf_counter()
                if now - told > TELL and done < len(new):
                    told = now
                    left = (now - started) / done * (len(new) - done)
                    on_note(f"  {done:,} of {len(new):,} {self.kinds}, {left:.0f} s left")

    def _filled(self, values: np.ndarray) -> np.ndarray:
        """With positions that are not real, up to those of the longest value."""
        filled = np.zeros((len(values), self.shape[0], *values.shape[2:]), values.dtype)
        filled[:, : values.shape[1]] = values
        return filled

    def _reason(self, one: _Given) -> str:
        """Why a value cannot be read; "" if it can be."""
        try:
            one.prepare(self.modality)
        except UserError as error:
            return str(error)
        return ""


def _longest(modality: InputModality) -> Padded:
    """Example values; where they have different lengths, one that is as long as any."""
    example, _ = modality.example()
    length = getattr(modality, "length", None)
    if length is None:
        return example
    return Padded(np.zeros((1, length, *example.values.shape[2:]), np.float32), np.ones((1, length), bool))


def _described_by(encoder: nn.Module) -> Iterator[nn.Module]:
    yield from encoder.described_by if isinstance(encoder, TwoPartEncoder) else (encoder,)


def _fingerprint(encoder: nn.Module, modality: InputModality, more: str) -> str:
    """A hash of all that features depend on besides the values: weights, preprocessing, and what the encoder gives."""
    result = hashlib.sha256(f"{modality.config!r} {type(encoder).__name__} {more}".encode())
    for part in (*_described_by(encoder), *getattr(encoder, "borrowed", ())):
        for name, value in part.state_dict().items():
            result.update(name.encode() + value.cpu().numpy().tobytes())
    return result.hexdigest()


def _bound(folder: Path, most: int) -> None:
    """Remove the features of the encoders that were used least recently, until at most ``most`` bytes are left; the last one
    used stays."""
    kept = sorted(folder.glob("*/index"), key=lambda index: index.stat().st_mtime, reverse=True)
    total = 0
    for place, index in enumerate(kept):
        with suppress(OSError):
            total += sum(file.stat().st_size for file in index.parent.iterdir())
        if place and total > most:
            shutil.rmtree(index.parent, ignore_errors=True)
