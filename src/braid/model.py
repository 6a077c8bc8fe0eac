"""The model: encode -> fuse -> decode, and nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from braid.codecs import Codec, CodecConfig
from braid.config import did_you_mean, named, plain_names, within
from braid.decoders import DecoderConfig, ImageDecoder, TextDecoder, VectorDecoder
from braid.encoders import EncoderConfig, TwoPartEncoder
from braid.errors import UserError
from braid.fusions import ConcatFusionConfig, FusionConfig
from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.modalities import InputModality, OutputModality
from braid.records import Batch, Features, Fused, Padded
from braid.shapes import Float, Int


@dataclass(frozen=True)
class ModelConfig:
    """An architecture.

    Args:
        width: the shared width that the features of every input are projected to before the fusion.
        encoders: by input name.
        fusion: of all encoded inputs.
        decoders: by output name.
        codecs: of the outputs that are images, by output name; a codec may stand alone.
    """

    width: int = 256
    encoders: dict[str, EncoderConfig] = field(default_factory=dict)
    fusion: FusionConfig = field(default_factory=ConcatFusionConfig)
    decoders: dict[str, DecoderConfig] = field(default_factory=dict)
    codecs: dict[str, CodecConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width")
        plain_names("an encoder", self.encoders)
        plain_names("a decoder", self.decoders)
        plain_names("a codec", self.codecs)
        if not self.codecs or self.encoders or self.decoders:
            for group, needed in (("encoders", self.encoders), ("decoders", self.decoders)):
                if not needed:
                    raise UserError(f"there are no {group}; a model needs at least one")
        for group, parts in (("encoders", self.encoders), ("decoders", self.decoders), ("codecs", self.codecs)):
            kept = [name for name in parts if hasattr(nn.ModuleDict, name)]
            if kept:
                raise UserError(f"{group} has a part named {kept[0]!r}, a word that torch keeps for itself; choose another name")

    def build(self, inputs: Mapping[str, InputModality], outputs: Mapping[str, OutputModality]) -> "Model":
        for name, encoder in self.encoders.items():
            _check(name, encoder.modality, inputs, "input")
        for name, part in {**self.decoders, **self.codecs}.items():
            _check(name, part.modality, outputs, "output")
        return Model(self, inputs, outputs)


class Projection(nn.Module):
    """An encoder's features in the shared width."""

    def __init__(self, native_width: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(native_width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Features) -> Features:
        native = masked_mean(features.values, features.mask)
        return Features(self.norm(self.linear(features.values)), features.mask, features.extent, native)


class Model(nn.Module):
    """e = Encoder(text), f = Encoder(image), h = Fusion(e, f), y_t = softmax(Decoder(h, y_<t))."""

    def __init__(self, config: ModelConfig, inputs: Mapping[str, InputModality], outputs: Mapping[str, OutputModality]) -> None:
        super().__init__()
        self.config = config
        self.outputs = {name: outputs[name] for name in {**config.decoders, **config.codecs}}
        context = BuildContext("", inputs, outputs, tuple(config.encoders), config.width)
        codecs = _parts("codecs", config.codecs, context)
        context = replace(context, codecs=codecs)
        encoders = _parts("encoders", config.encoders, context)
        self.codecs, self.encoders = nn.ModuleDict(codecs), nn.ModuleDict(encoders)
        self.projections = nn.ModuleDict({name: Projection(part.width, config.width) for name, part in encoders.items()})
        with named("fusion"):
            self.fusion = config.fusion.build(context)
        widths = {name: part.width for name, part in encoders.items()}
        decoders = _parts("decoders", config.decoders, replace(context, memory_width=self.fusion.width, native_widths=widths))
        self.decoders = nn.ModuleDict(decoders)
        context.hooks.finish(decoders)
        self._augment = context.hooks.augment

    def forward(self, batch: Batch) -> Fused:
        """h of every row."""
        batch = self._augmented(batch) if self.training else batch
        return replace(self.fuse(self.encode(batch)), given=batch.inputs)

    def encode(self, batch: Batch) -> dict[str, Features]:
        """Every input of the model in the shared width; distinct values are encoded once, then dealt to the rows."""
        features = {}
        for name, encoder in self.encoders.items():
            given = batch.inputs.get(name)
            if given is None:
                features[name] = self._missing(batch.size)
            else:
                encoded = _read(encoder, given.distinct) if given.encoded else encoder(given.distinct)
                features[name] = deal(self.projections[name](encoded), given.index)
        return features

    def fuse(self, features: Mapping[str, Features]) -> Fused:
        native = {name: one.native for name, one in features.items() if one.native is not None}
        return replace(self.fusion(features), native=native)

    def decoder(self, name: str) -> TextDecoder:
        """A decoder that writes."""
        return self.decoders[name]  # type: ignore[return-value]

    def image_decoder(self, name: str) -> ImageDecoder:
        """A decoder that generates images."""
        return self.decoders[name]  # type: ignore[return-value]

    def codec(self, name: str) -> Codec:
        """What turns an output's images into tokens and back."""
        return self.codecs[name]  # type: ignore[return-value]

    def vector(self, batch: Batch, output: str) -> Float[Tensor, "batch size"]:
        """The vector that a decoder gives each row: logits of labels, a number, or an embedding."""
        decoder: VectorDecoder = self.decoders[output]  # type: ignore[assignment]
        return decoder(self(batch))

    def losses(
        self,
        batch: Batch,
        outputs: Sequence[str],
        label_smoothing: float = 0.0,
        weights: Float[Tensor, "..."] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Each output's loss on the batch's targets: of its decoder, all from one h, or of a codec that stands alone."""
        return self.losses_of_inputs(batch, outputs, (), label_smoothing, weights)[0]

    def losses_of_inputs(
        self,
        batch: Batch,
        outputs: Sequence[str],
        alone: Sequence[str],
        label_smoothing: float = 0.0,
        weights: Float[Tensor, "..."] | None = None,
    ) -> tuple[dict[str, Float[Tensor, ""]], dict[str, dict[str, Float[Tensor, ""]]]]:
        """``losses``; and for each input in ``alone``, those of the same fusion and decoders when a row has nothing else. Every
        input is encoded once for all of them. A row without the input counts as 0 in its mean."""
        if not any(name in self.decoders for name in outputs):
            return {name: self.codec(name).loss(batch.targets[name]) for name in outputs}, {}
        batch = self._augmented(batch) if self.training else batch
        features = self.encode(batch)
        losses = self._losses(features, batch, outputs, label_smoothing, weights)
        return losses, {name: self._alone(name, features, batch, outputs, label_smoothing, weights) for name in alone}

    def _losses(
        self,
        features: Mapping[str, Features],
        batch: Batch,
        outputs: Sequence[str],
        label_smoothing: float,
        weights: Float[Tensor, "..."] | None,
    ) -> dict[str, Float[Tensor, ""]]:
        fused = replace(self.fuse(features), given=batch.inputs)
        losses = {}
        for name in outputs:
            part: Any = self.decoders[name] if name in self.decoders else self.codecs[name]
            target = batch.targets[name]
            losses[name] = part.loss(fused, target, label_smoothing, weights) if name in self.decoders else part.loss(target)
        return losses

    def _alone(
        self,
        name: str,
        features: Mapping[str, Features],
        batch: Batch,
        outputs: Sequence[str],
        label_smoothing: float,
        weights: Float[Tensor, "..."] | None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The losses of the rows that have an input, from that input alone."""
        given = batch.inputs.get(name)
        present = given.index >= 0 if given is not None else torch.zeros(batch.size, dtype=torch.bool)
        rows = present.nonzero().flatten()
        if not len(rows):  # processes that share a model take the same steps, so that a row is computed for nothing
            rows = torch.zeros(1, dtype=torch.long, device=rows.device)
        own = {other: self._missing(len(rows)) for other in features}
        own[name] = features[name].rows(rows)
        inputs = {name: replace(given, index=given.index[rows])} if given is not None else {}
        targets = {key: Padded(target.values[rows], target.mask[rows]) for key, target in batch.targets.items()}
        part = Batch(batch.ids[: len(rows)], inputs, targets)
        losses = self._losses(own, part, outputs, label_smoothing, None if weights is None else weights[rows])
        share = present.float().mean()
        return {key: loss * share for key, loss in losses.items()}

    def _augmented(self, batch: Batch) -> Batch:
        """A training batch as its parts asked for it."""
        changed = {name: change(batch.inputs[name]) for name, change in self._augment.items() if name in batch.inputs}
        return replace(batch, inputs={**batch.inputs, **changed})

    def _missing(self, rows: int) -> Features:
        weight = next(self.projections.parameters())
        values = weight.new_zeros(rows, 1, self.config.width)
        return Features(values, torch.zeros(rows, 1, dtype=torch.bool, device=weight.device))


def _read(encoder: nn.Module, cached: Padded) -> Features:
    """The features of an encoder from what was cached of it: all of its work, or that of its first part."""
    features = Features(cached.values, cached.mask)
    return encoder.read(features) if isinstance(encoder, TwoPartEncoder) else features


def deal(features: Features, index: Int[Tensor, " batch"]) -> Features:
    """Distinct features to the rows that use them; a row with index -1 is masked and zero."""
    present = index >= 0
    rows = index.clamp(min=0)
    own, real = features.rows(rows), present.unsqueeze(1)
    values: Float[Tensor, "batch length width"] = own.values * real.unsqueeze(2).to(own.values.dtype)
    native = None if own.native is None else own.native * real.to(own.native.dtype)
    return Features(values, own.mask & real, own.extent, native)


def _parts(group: str, configs: Mapping[str, Any], context: BuildContext) -> dict[str, Any]:
    """The parts of a group, each built from a context of its own."""
    parts = {}
    for name, config in configs.items():
        with named(f"{group}.{name}"):
            parts[name] = config.build(replace(context, name=name))
    return parts


def _check(name: str, needed: str, modalities: Mapping[str, Any], role: str) -> None:
    if name not in modalities:
        raise UserError(f"the model's {role} {name!r} has no modality; {did_you_mean(name, list(modalities))}")
    if modalities[name].config.kind != needed:
        raise UserError(f"the model's {role} {name!r} is {modalities[name].config.kind}, but its part takes {needed}")
