"""The run of a task on your own data when no settings file says how: what is trained, and what it starts from."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from braid.bundle import FITTED, find_bundle, read_bundle
from braid.config import to_dict, with_overrides
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.modalities import default_inputs
from braid.runtime.device import find_device
from braid.training.config import outputs_and_inputs, parts_of, preset
from braid.training.sections import AUTO
from braid.training.watcher import PRODUCT, matrix_peak

OF_DATA = ("sides", "languages", "language")  # settings of tasks that a run has from its own data
BUILT_IN = "small"
FINE_TUNED = ("captioning", "retrieval")  # tasks that the built-in model does itself
WRITES_VALUES = {"label", "answer", "number"}
CONVOLUTIONS = "encoders.image.features"
# the convolutions of the built-in image encoder, in each input that they read
FROZEN = {"image": CONVOLUTIONS, "video": "encoders.video.frame.features", "audio": "encoders.audio.frame"}
AUDIO_MELS = 128  # bands of frequency for an image encoder, one a row of its images
TEXT_EPOCHS = 30  # n-grams start from nothing, and without images an epoch takes a second (docs/log.md)
FEW_IMAGES = 1000  # with fewer, a hidden layer over image and question was worse on held-out rooms (docs/log.md)
MOST_ROWS, LEAST_ROWS = 64, 16  # of a step
CAPTIONS = 320  # of a step, at most
STEPS, EPOCHS = 300, 10  # that captioning needs at least to learn the words of the data (docs/log.md), and has
FASTER = 1.3  # bfloat16 is used where a matrix product is so many times as fast
SMALL_PRODUCT = 256  # rows and columns of its matrices, at first
HOPELESS = 0.25  # as fast as float32, at most, where bfloat16 is emulated


def default_run(
    task: str, data: Mapping[str, Any], model: str = "", start: str = "", settings: Sequence[str] = ()
) -> dict[str, Any]:
    """The settings of a run, as nested dicts.

    With neither ``model`` nor ``start``, the quick way is taken: the convolutions of the built-in model's image encoder are
    frozen and their features cached. Captioning and retrieval fine-tune the built-in model; labels, answers and numbers
    train the preset ``quick``.

    Args:
        data: the section ``data`` of the run.
        model: a preset to train from scratch.
        start: a saved model to fine-tune.
        settings: overrides, which may change what the task needs.
    """
    whole: dict[str, Any] = {"task": task, "data": dict(data)}
    if model:
        return {**whole, "model": model}
    outputs, inputs = outputs_and_inputs(whole, settings)
    if start:
        return {**whole, **starting_from(start, task, outputs)}
    machine = {"threads": threads(), "workers": 0, "precision": precision()}
    if task in FINE_TUNED and {"image", "video"}.intersection(inputs):
        tuned = starting_from(BUILT_IN, task, outputs)
        if "image" in inputs:
            tuned = with_overrides(tuned, ["model.encoders.image.levels={cells: true}"])
        tuned = tuned if "image" in inputs else _reading_clips(tuned)
        quick = {"freeze": [FROZEN["image" if "image" in inputs else "video"]], "cache_features": AUTO, "batch_size": MOST_ROWS}
        if task == "captioning":  # in the words, the script and the case of the data
            quick |= {"tokenizer": {}, "batch_size": _batch_size(data)}
        return {**whole, **tuned, **machine, **quick, "optimizer": {"learning_rate": 3e-4, "warmup_steps": 50}}
    if not WRITES_VALUES.issuperset(outputs):
        return {**whole, **_with_image_encoder("compact", outputs, inputs), **(machine if FROZEN.keys() & set(inputs) else {})}
    rest = {"objective": {"kind": "likelihood", "label_smoothing": 0.1}} if "number" not in outputs else {}
    optimizer = {"learning_rate": 5e-4, "warmup_steps": 50}
    quick = _with_image_encoder("quick", outputs, inputs)
    if "answer" in outputs and "image" in inputs and _few_images(data):
        flat = with_overrides(quick, ["model.decoders.answer.hidden_width=0"])
        steps = {"epochs": 8, "optimizer": {**optimizer, "learning_rate": 1e-3}, "input_dropout": {"image": 0.5}}
        return {**whole, **flat, **machine, **rest, **steps, "batch_size": 64}
    longer = {"epochs": TEXT_EPOCHS} if not {"image", "video"}.intersection(inputs) or "answer" in outputs else {}
    return {**whole, **quick, **machine, **rest, **longer, "optimizer": optimizer, "batch_size": 64}


def _reading_clips(tuned: Mapping[str, Any]) -> dict[str, Any]:
    """The built-in model that reads a clip as it reads images: each place of its frames, averaged over time."""
    model, inputs = dict(tuned["model"]), dict(tuned["inputs"])
    encoders, image = dict(model["encoders"]), inputs.pop("image")
    clip = {"kind": "video_mean", "frame": encoders.pop("image"), "cells": True}
    read = to_dict(default_inputs())["video"] | {setting: image[setting] for setting in ("size", "mean", "std")}
    begin = {part.replace(".image", ".video"): start for part, start in tuned["initialize"].items()}
    model["encoders"] = {"video": clip, **encoders}
    return {**tuned, "model": model, "inputs": {"video": read, **inputs}, "initialize": begin}


def _batch_size(data: Mapping[str, Any]) -> int:
    """Rows of a step, so that few rows make steps enough, and rows of many captions do not make a step long."""
    rows = captions = 0
    with suppress(UserError):
        for example in open_dataset(data["path"], data.get("columns")).split(data.get("train", "train")):
            rows, captions = rows + 1, captions + len(example.fields.get("captions", ()))
    if not captions:
        return MOST_ROWS
    return max(LEAST_ROWS, min(MOST_ROWS, CAPTIONS * rows // captions, EPOCHS * rows // STEPS))


def _few_images(data: Mapping[str, Any]) -> bool:
    """Whether the training rows of a data set share fewer than ``FEW_IMAGES`` images; False if it cannot be read."""
    images: set[Any] = set()
    with suppress(UserError):
        key = default_inputs()["image"].key
        for example in open_dataset(data["path"], data.get("columns")).split(data.get("train", "train")):
            if "image" in example.fields:
                images.add(key(example.fields["image"]))
            if len(images) >= FEW_IMAGES:
                return False
    return bool(images)


def _with_image_encoder(name: str, outputs: Sequence[str], inputs: Sequence[str]) -> dict[str, Any]:
    """A preset; the image encoders of images, recordings and the frames of clips, if it has any, are the frozen one of the
    built-in model."""
    architecture = preset(name, outputs, inputs)
    encoders: dict[str, Any] = architecture.get("encoders", {})
    built_in = [one for one in FROZEN if one in encoders]
    if not built_in:
        return {"model": architecture}
    bundle = read_bundle(find_bundle(BUILT_IN))
    assert bundle.architecture is not None  # the built-in model has an architecture
    own, prepared = bundle.architecture["encoders"]["image"], to_dict(bundle.interface.inputs["image"])
    read = to_dict(default_inputs())
    if "image" in encoders:
        levels = encoders["image"].get("levels") if name == "quick" else None
        encoders["image"] = {**own, "levels": levels}
        read["image"] = prepared
    if "audio" in encoders:
        encoders["audio"]["frame"] = {**own, "levels": None}
        read["audio"]["spectrogram"]["mels"] = AUDIO_MELS
    if "video" in encoders:
        encoders["video"]["frame"] = {**own, "levels": encoders["video"]["frame"]["levels"]}
        read["video"] |= {setting: prepared[setting] for setting in ("size", "mean", "std")}
    return {
        "model": architecture,
        "inputs": read,
        "initialize": {f"encoders.{one}": BUILT_IN for one in built_in},
        "freeze": [FROZEN[one] for one in built_in],
        "cache_features": AUTO,
    }


def starting_from(model: str, task: str, outputs: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that fine-tune a saved model: its architecture, interface, tokenizer, weights and task settings (without
    calibration, hints and temperature, which were fitted on the old weights), with a lower learning rate.

    Args:
        outputs: the outputs of the task; others are left out. Without any, all are kept.
    """
    parts = parts_of(model)
    bundle = read_bundle(find_bundle(model))
    assert bundle.architecture is not None  # parts_of raises where there is none
    architecture: dict[str, Any] = {**bundle.architecture}
    kept = [name for name in architecture.get("decoders") or {} if not outputs or name in outputs]
    architecture["decoders"] = {name: architecture["decoders"][name] for name in kept}
    architecture["encoders"] = {
        name: {**encoder, "share_embedding_with": ""} if encoder.get("share_embedding_with", "") not in ("", *kept) else encoder
        for name, encoder in architecture["encoders"].items()
    }
    written = (*kept, *(architecture.get("codecs") or {}))
    task_settings = bundle.interface.tasks.get(task, {})
    return {
        "task": {name: value for name, value in task_settings.items() if name not in (*FITTED, *OF_DATA)} or task,
        "model": architecture,
        "inputs": {name: to_dict(modality) for name, modality in bundle.interface.inputs.items()},
        "outputs": {name: to_dict(one) for name, one in bundle.interface.outputs.items() if name in written},
        "tokenizer": {"bundle": model},
        "initialize": {part: model for part in parts if not part.startswith("decoders.") or part.partition(".")[2] in kept},
        "optimizer": {"learning_rate": 1e-4},
    }


def threads() -> int:
    """The processor's cores that this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def precision() -> str:
    """bfloat16 where this machine computes it much faster than float32. Where it is emulated, a hundred times slower, a small
    matrix product shows it at once."""
    device = find_device()
    for size, least in ((SMALL_PRODUCT, HOPELESS), (PRODUCT, FASTER)):
        rough, full = (matrix_peak(dtype, device, size) for dtype in (torch.bfloat16, torch.float32))
        if rough < least * full:
            return "float32"
    return "bfloat16"
