"""The model: encode -> fuse -> decode, and nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from braid.codecs import Codec, CodecConfig
from braid.config import did_you_mean, named, plain_names, within
from braid.decoders import DecoderConfig, ImageDecoder, ImageDecoderConfig, TextDecoder, VectorDecoder
from braid.encoders import EncoderConfig, ImageTokenEncoderConfig, TransformerTextEncoderConfig
from braid.errors import UserError
from braid.fusions import ConcatFusionConfig, FusionConfig
from braid.layers.image_tokens import read_tokens, redraw
from braid.modalities import InputModality, OutputModality, TokenGrid
from braid.records import Batch, Features, Fused, Padded
from braid.shapes import Float, Int


@dataclass(frozen=True)
class ModelConfig:
    """An architecture: encoders by input name, one fusion, decoders by output name, codecs of the outputs that are pictures.

    ``width`` is the shared width that every input is projected to before the fusion. A codec may stand alone.
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
        return Model(self, inputs, outputs)


class Projection(nn.Module):
    """An encoder's native features in the shared width."""

    def __init__(self, native_width: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(native_width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Features) -> Features:
        return Features(self.norm(self.linear(features.values)), features.mask, features.extent)


class Model(nn.Module):
    """e = Encoder(text), f = Encoder(image), h = Fusion(e, f), y_t = softmax(Decoder(h, y_<t))."""

    def __init__(self, config: ModelConfig, inputs: Mapping[str, InputModality], outputs: Mapping[str, OutputModality]) -> None:
        super().__init__()
        self.config = config
        written = {**config.decoders, **config.codecs}
        self.outputs: Mapping[str, OutputModality] = {name: outputs[name] for name in written if name in outputs}
        for name, encoder in config.encoders.items():
            _check(name, encoder.modality, inputs, "input")
        for name, part in written.items():
            _check(name, part.modality, outputs, "output")
        # _check saw to it that each part gets the modality it takes.
        codecs = {}
        for name, codec in config.codecs.items():
            with named(f"codecs.{name}"):
                codecs[name] = codec.build(outputs[name])  # type: ignore[arg-type]
        self.codecs = nn.ModuleDict(codecs)
        encoders: dict[str, Any] = {}
        for name, encoder in config.encoders.items():
            with named(f"encoders.{name}"):
                if isinstance(encoder, ImageTokenEncoderConfig):
                    encoders[name] = encoder.build(self._codec_read(name, encoder.of, inputs, outputs))
                else:
                    encoders[name] = encoder.build(inputs[name])  # type: ignore[arg-type]
        self.encoders = nn.ModuleDict(encoders)
        self.projections = nn.ModuleDict({name: Projection(part.width, config.width) for name, part in encoders.items()})
        with named("fusion"):
            self.fusion = config.fusion.build(list(config.encoders), config.width)
        memory = self.fusion.width
        read = {encoder.of for encoder in config.encoders.values() if isinstance(encoder, ImageTokenEncoderConfig)}
        for name in config.codecs.keys() & (config.decoders.keys() | read):  # tokens must go on meaning the same
            self.codecs[name].requires_grad_(False)
        decoders = {}
        for name, decoder in config.decoders.items():
            with named(f"decoders.{name}"):
                # a picture's decoder writes its codec's tokens
                reads = self._grid(name) if isinstance(decoder, ImageDecoderConfig) else outputs[name]
                decoders[name] = decoder.build(memory, reads)  # type: ignore[arg-type]
        self.decoders = nn.ModuleDict(decoders)
        self._over = {name: over for name, decoder in config.decoders.items() if (over := getattr(decoder, "over", ""))}
        for name, over in self._over.items():
            if over not in inputs:
                raise UserError(f"decoders.{name} draws over {over!r}, which is no input; {did_you_mean(over, list(inputs))}")
            _check_alike(f"decoders.{name} draws over {over!r}", over, name, inputs, outputs)
        for name, encoder in config.encoders.items():
            if isinstance(encoder, TransformerTextEncoderConfig) and encoder.words_of:
                with named(f"encoders.{name}"):
                    self._lend_words(name, encoder.words_of, inputs, outputs)

    def forward(self, batch: Batch) -> Fused:
        batch = self._redrawn(batch) if self.training else batch
        fused = self.fuse(self.encode(batch))
        return replace(fused, tokens=self._given_tokens(batch)) if self._over else fused

    def encode(self, batch: Batch) -> dict[str, Features]:
        """Every input of the model in the shared width; distinct values are encoded once, then dealt to the rows."""
        features = {}
        for name, encoder in self.encoders.items():
            given = batch.inputs.get(name)
            if given is None:
                features[name] = self._missing(batch.size)
            else:
                distinct = given.distinct
                encoded = Features(distinct.values, distinct.mask) if given.encoded else encoder(distinct)
                features[name] = deal(self.projections[name](encoded), given.index)
        return features

    def fuse(self, features: Mapping[str, Features]) -> Fused:
        return self.fusion(features)

    def decoder(self, name: str) -> TextDecoder:
        """A decoder that writes."""
        return self.decoders[name]  # type: ignore[return-value]

    def image_decoder(self, name: str) -> ImageDecoder:
        """A decoder that draws."""
        return self.decoders[name]  # type: ignore[return-value]

    def codec(self, name: str) -> Codec:
        """What turns an output's pictures into tokens and back."""
        return self.codecs[name]  # type: ignore[return-value]

    def vector(self, batch: Batch, output: str) -> Float[Tensor, "batch size"]:
        """What a decoder that does not write gives each row: logits of labels, a number, or an embedding."""
        decoder: VectorDecoder = self.decoders[output]  # type: ignore[assignment]
        return decoder(self(batch))

    def losses(
        self,
        batch: Batch,
        outputs: Sequence[str],
        label_smoothing: float = 0.0,
        weights: Float[Tensor, "..."] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Those of decoders on the batch's targets, all from one h; of a codec that stands alone, its own."""
        alone = [name for name in outputs if name not in self.decoders]
        losses = {name: self.codec(name).loss(batch.targets[name]) for name in alone}
        if len(alone) < len(outputs):
            fused = self(batch)
            for name in outputs:
                decoder: Any = self.decoders[name]
                losses[name] = decoder.loss(fused, self._target(name, batch.targets[name]), label_smoothing, weights)
        return losses

    def _target(self, output: str, target: Padded) -> Padded:
        """A picture as the tokens that its decoder is to write, anything else as it is."""
        if output not in self.codecs:
            return target
        tokens = self._tokens(output, target.values)
        return Padded(tokens, torch.ones_like(tokens, dtype=torch.bool))

    def _given_tokens(self, batch: Batch) -> dict[str, Padded]:
        """Those of input pictures that are drawn over, with the rows that have one."""
        result = {}
        for output, name in self._over.items():
            if (given := batch.inputs.get(name)) is None:
                continue
            if given.encoded:
                raise UserError(f"decoders.{output} draws over {name!r} and needs its pixels; leave cache_features out")
            tokens = self._tokens(output, given.distinct.values)
            result[name] = Padded(tokens[given.index.clamp(min=0)], given.index >= 0)
        return result

    def _redrawn(self, batch: Batch) -> Batch:
        """Some pictures as a codec draws them, by the chance that the encoder of its tokens names."""
        inputs = dict(batch.inputs)
        for name, encoder in self.config.encoders.items():
            given = inputs.get(name)
            if isinstance(encoder, ImageTokenEncoderConfig) and encoder.redrawn and given and not given.encoded:
                pixels, mask = given.distinct.values, given.distinct.mask
                modality: Any = self.outputs[encoder.of]
                generated = redraw(self.codec(encoder.of), pixels, modality.config) * mask.unsqueeze(1)
                some = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < encoder.redrawn
                inputs[name] = replace(given, distinct=Padded(torch.where(some, generated, pixels), mask))
        return replace(batch, inputs=inputs)

    def _tokens(self, output: str, pixels: Float[Tensor, "n 3 height width"]) -> Int[Tensor, "n length"]:
        return read_tokens(self.codec(output), pixels)

    def _grid(self, name: str) -> TokenGrid:
        if name not in self.codecs:
            message = "a decoder of pictures writes the tokens of a codec, and the model has none"
            raise UserError(f"{message}; name a run of the task reconstruction in initialize: {{codecs.{name}: RUN}}")
        return self.codec(name).grid

    def _codec_read(
        self, name: str, output: str, inputs: Mapping[str, InputModality], outputs: Mapping[str, OutputModality]
    ) -> Codec:
        if output not in self.codecs:
            message = f"it reads the tokens of the codec {output!r}, which the model does not have"
            raise UserError(f"{message}; name a run of the task reconstruction in initialize: {{codecs.{output}: RUN}}")
        _check_alike(f"encoders.{name} reads the tokens of {output!r}", name, output, inputs, outputs)
        return self.codec(output)

    def _lend_words(
        self, name: str, decoder: str, inputs: Mapping[str, InputModality], outputs: Mapping[str, OutputModality]
    ) -> None:
        if decoder not in self.decoders:
            raise UserError(f"words_of is {decoder!r}; {did_you_mean(decoder, list(self.decoders))}")
        self.encoders[name].read_words_of(self.decoders[decoder])  # type: ignore[operator]
        reading, writing = (getattr(modality.config, "tokenizer", None) for modality in (inputs[name], outputs[decoder]))
        if reading != writing:
            message = f"words_of is {decoder!r}, which writes with {writing!r} and not {reading!r}"
            raise UserError(f"{message}; give both one tokenizer")

    def _missing(self, rows: int) -> Features:
        weight = next(self.projections.parameters())
        values = weight.new_zeros(rows, 1, self.config.width)
        return Features(values, torch.zeros(rows, 1, dtype=torch.bool, device=weight.device))


def deal(features: Features, index: Int[Tensor, " batch"]) -> Features:
    """Distinct features to the rows that use them; a row with index -1 is masked and zero."""
    present = index >= 0
    rows = index.clamp(min=0)
    values: Float[Tensor, "batch length width"] = features.values[rows] * present.view(-1, 1, 1).to(features.values.dtype)
    return Features(values, features.mask[rows] & present.unsqueeze(1), features.extent)


def _check_alike(
    message: str, read: str, output: str, inputs: Mapping[str, InputModality], outputs: Mapping[str, OutputModality]
) -> None:
    """An input picture becomes tokens by the codec of those of an output."""
    if inputs[read].config != outputs[output].config:
        raise UserError(
            f"{message}, and the two are not prepared alike; "
            f"give inputs.{read} what outputs.{output} has: {outputs[output].config}"
        )


def _check(name: str, needed: str, modalities: Mapping[str, InputModality] | Mapping[str, OutputModality], role: str) -> None:
    if name not in modalities:
        raise UserError(f"the model's {role} {name!r} has no modality; {did_you_mean(name, list(modalities))}")
    if modalities[name].config.kind != needed:
        raise UserError(f"the model's {role} {name!r} is {modalities[name].config.kind}, but its part takes {needed}")
