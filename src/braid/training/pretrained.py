"""Pretrained parts of a run: find them, and take over their architecture, tokenizer and preprocessing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from braid.bundle import Source
from braid.huggingface import hub
from braid.modalities import Tokenizer
from braid.model import Model
from braid.records import Sample
from braid.training.config import RunConfig


@dataclass(frozen=True)
class TakenOver:
    """A run in which the settings of pretrained parts are filled in, and modalities have the preprocessing that these parts need.

    ``tokenizers`` come with the pretrained parts; ``folders`` maps a part's name in the model to the folder of its weights.
    """

    config: RunConfig
    tokenizers: dict[str, Tokenizer]
    folders: dict[str, Path]

    def fill(self, model: Model) -> None:
        for name, folder in self.folders.items():
            model.get_submodule(name).load(folder)  # type: ignore[operator]


def take_over(config: RunConfig, *samples: Iterable[Sample]) -> TakenOver:
    """Read the settings of a run's pretrained parts from their sources.

    Args:
        samples: the training samples of each task, for parts that must know the texts that they will read.
    Raises:
        UserError: naming the source that cannot be found, read, or used for this part.
    """
    tokenizers: dict[str, Tokenizer] = {}
    folders: dict[str, Path] = {}
    taken: dict[str, dict[str, Any]] = {}
    changed: dict[str, Any] = {"inputs": dict(config.inputs), "outputs": dict(config.outputs)}
    groups: tuple[tuple[str, Any, Any], ...] = (
        ("encoders", config.model.encoders, config.inputs),
        ("decoders", config.model.decoders, config.outputs),
        ("codecs", config.model.codecs, config.outputs),
    )
    for group, parts, modalities in groups:
        taken[group] = dict(parts)
        for name, part in parts.items():
            source = getattr(part, "source", "")
            if not source or name not in modalities:
                continue
            folder = folders[f"{group}.{name}"] = hub.find(source)
            result, modality, brought = part.taken_over(folder, modalities[name], f"{name}.tokenizer", _texts(samples, name))
            taken[group][name] = result
            changed["inputs" if group == "encoders" else "outputs"][name] = modality
            tokenizers |= brought
    model = replace(config.model, encoders=taken["encoders"], decoders=taken["decoders"], codecs=taken["codecs"])
    made_from = [Source(folder.name, f"first weights of {name}", "those of its authors") for name, folder in folders.items()]
    card = replace(config.card, sources=(*config.card.sources, *made_from))
    whole = replace(config, model=model, **changed, card=card)
    return TakenOver(whole, tokenizers, folders)


def _texts(samples: Iterable[Iterable[Sample]], name: str) -> Iterator[str]:
    """The texts of one input, read lazily."""
    values = (sample.inputs.get(name) for sample in chain.from_iterable(samples))
    return (value for value in values if isinstance(value, str))
