"""A cache on disk for the features of frozen image encoders: computed once, and shared by all runs with the same encoder."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from os.path import realpath
from pathlib import Path
from typing import Any

import torch
from torch import nn

from braid.collate import Collator
from braid.config import from_dict, parse_json, to_dict
from braid.errors import UserError
from braid.files import whole, write_whole
from braid.modalities import EncodedModality, InputModality
from braid.model import Model
from braid.records import Features, Padded, Sample

BATCH = 32  # images that are encoded at once


@dataclass(frozen=True)
class _Index:
    """The rows of the cached arrays by path (``places``), and why an image was skipped. ``made`` is the fingerprint of the
    encoder and the files."""

    made: str
    shape: tuple[int, int, int]
    places: dict[str, int]
    skipped: dict[str, str]


def with_features(
    model: Model, collator: Collator, samples: Iterable[Sample], folder: Path, on_note: Callable[[str], None]
) -> Collator:
    """A collator that gives features instead of pixels to every frozen image encoder.

    Each image is encoded once, without dropout and augmentation. Features are stored in float16 in ``folder``; they are computed
    again only if the encoder or a file has changed.

    Raises:
        UserError: when no image encoder is frozen, or an image is not a file.
    """
    frozen = {
        name: modality
        for name, modality in collator.inputs.items()
        if not isinstance(modality, EncodedModality)
        and modality.config.suffixes
        and not any(p.requires_grad for p in model.encoders[name].parameters())
    }
    if not frozen:
        raise UserError("cache_features is set, but no image encoder is frozen; set optimizer.scales: {encoders.image: 0}")
    sources: dict[str, dict[str, str]] = {name: {} for name in frozen}
    for sample in samples:
        for name in frozen:
            if name in sample.inputs:
                sources[name].setdefault(_path(sample.inputs[name], sample.source), sample.source)
    cached = {
        name: _cached(model.encoders[name], modality, sources[name], folder / name, on_note) for name, modality in frozen.items()
    }
    return replace(collator, inputs={**collator.inputs, **cached})


def _path(value: Any, source: str) -> str:
    if isinstance(value, str | Path):
        return realpath(value)
    raise UserError(f"{source}: cache_features needs images in files, and this one is in memory; remove cache_features")


def _cached(
    encoder: nn.Module, modality: InputModality, sources: Mapping[str, str], path: Path, on_note: Callable[[str], None]
) -> EncodedModality:
    made = _fingerprint(encoder, modality, sources)
    values, masks, result = (path.with_name(f"{path.name}-{made[:12]}.{kind}") for kind in ("values", "masks", "json"))
    if (index := _read(result)) is None or index.made != made:
        on_note(
            f"{len(sources):,} images are encoded now, once for all runs with this encoder; features are stored in {path.parent}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        with whole(values) as fresh_values, whole(masks) as fresh_masks:
            index = _encode(made, encoder.eval(), modality, sources, fresh_values, fresh_masks)
        write_whole(result, json.dumps(to_dict(index)))
    return EncodedModality(modality.config, values, masks, index.shape, index.places, index.skipped, made)


def _fingerprint(encoder: nn.Module, modality: InputModality, sources: Mapping[str, str]) -> str:
    """A hash of everything that the features depend on: weights, preprocessing, files, and the rows that error messages name."""
    result = sha256(repr(modality.config).encode())
    for part in (encoder, *getattr(encoder, "borrowed", ())):
        for name, value in part.state_dict().items():
            result.update(name.encode() + value.cpu().numpy().tobytes())
    for path, source in sources.items():
        result.update(f"{path} {source} ".encode())
        with suppress(OSError, ValueError):
            status = Path(path).stat()
            result.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return result.hexdigest()


def _read(path: Path) -> _Index | None:
    if not path.is_file():
        return None
    result: _Index = from_dict(_Index, parse_json(path.read_text(encoding="utf-8")), str(path))
    return result


def _encode(
    made: str, encoder: nn.Module, modality: InputModality, sources: Mapping[str, str], values: Path, masks: Path
) -> _Index:
    places: dict[str, int] = {}
    skipped: dict[str, str] = {}
    sizes = (0, 0)
    names = list(sources)
    with open(values, "wb") as values_file, open(masks, "wb") as masks_file, torch.no_grad():
        for first in range(0, len(names), BATCH):
            images = []
            for name in names[first : first + BATCH]:
                try:
                    images.append(modality.prepare(name, sources[name]))
                    places[name] = len(places)
                except UserError as error:
                    skipped[name] = str(error)
            if images:
                features = _features(encoder, modality.pad(images))
                values_file.write(features.values.half().cpu().numpy().tobytes())
                masks_file.write(features.mask.cpu().numpy().tobytes())
                sizes = (features.values.shape[1], features.values.shape[2])
    return _Index(made, (len(places), *sizes), places, skipped)


def _features(encoder: nn.Module, images: Padded) -> Features:
    device = next(encoder.parameters()).device
    result: Features = encoder(Padded(torch.from_numpy(images.values).to(device), torch.from_numpy(images.mask).to(device)))
    return result
