"""Settings that had another name in an earlier version: an old file then gets one error that lists its new names."""

from collections.abc import Iterator, Mapping
from typing import Any

# by the kind of the section that they stand in, or by the section's own name
NAMES: Mapping[str, Mapping[str, str]] = {
    "": {"augmentation": "inputs.image.augmentation"},  # of a run
    "classes": {"hidden": "hidden_width"},
    "concat": {"over": "mode"},
    "drawing": {"spread": "choice_temperature"},
    "film": {"by": "condition"},
    "fsq": {
        "edges": "edge_weight",
        "encoder_kernel": "encoder_kernel_size",
        "structure": "ssim_weight",
        "tones": "tone_levels",
        "widest": "max_width",
    },
    "image_generation": {"drawing": "sampling"},
    "likelihood": {"balance": "class_balance", "weights": "output_weights"},
    "masked": {"patch": "patch_size"},
    "raster": {"over": "edits", "unaided": "source_forcing_probability"},
    "scores": {"cider": "cider-2015", "cider-d": "cider"},
    "self_critical": {"bleu_4": "bleu_4_weight", "samples": "num_samples"},
    "tokens": {"around": "conv_depth", "of": "codec", "patch": "patch_size", "redrawn": "reconstruction_probability"},
    "transformer": {"words_of": "share_embedding_with"},
}
ONLY_WITH = {"scores": "cider-d"}  # names of a section that are old only beside this one
VALUES: Mapping[tuple[str, str, Any], str] = {("classes", "reads", "highest"): "max"}


def renamed(data: Any, where: str = "", section: str = "") -> Iterator[str]:
    """What to change in nested settings: ``encoders.image.patch to patch_size``."""
    if isinstance(data, list | tuple):
        for number, item in enumerate(data):
            yield from renamed(item, f"{where}{number}.")
    if not isinstance(data, Mapping):
        return
    kind = data.get("kind")
    place = kind if isinstance(kind, str) else section
    names = NAMES.get(place, {}) if ONLY_WITH.get(place) in (None, *data) else {}
    for key, value in data.items():
        if key in names:
            yield f"{where}{key} to {names[key]}"
        elif isinstance(value, str) and isinstance(kind, str) and (kind, key, value) in VALUES:
            yield f"{where}{key}: {value} to {VALUES[kind, key, value]}"
        yield from renamed(value, f"{where}{key}.", str(key))
