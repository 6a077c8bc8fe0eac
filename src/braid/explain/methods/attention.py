"""Attention maps and rollout: where a model looks, which is not always what influences its answer (arXiv:1902.10186)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from braid.decoders import PretrainedTextDecoder
from braid.errors import UserError
from braid.explain.attention_maps import (
    NamedMap,
    before_fusion,
    half,
    keeps_positions,
    record_attention,
    split,
    through_decoder,
    through_fusion,
)
from braid.explain.subject import Attributed, Subject
from braid.records import Fused
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class AttentionMaps:
    """The decoder's attention to each fused position, averaged over heads and layers; a mean has equal weights."""

    kind: Literal["attention"] = "attention"

    def attribute(self, subject: Subject) -> Attributed:
        return Attributed(subject.gathered(_looks(subject, *_recorded(subject))))


@dataclass(frozen=True)
class Rollout:
    """Attention rollout (arXiv:2005.00928) through encoders, fusion and decoder: the product of all layers' weights, each
    averaged with the identity. A fusion or decoder without attention counts as a mean."""

    kind: Literal["rollout"] = "rollout"

    def attribute(self, subject: Subject) -> Attributed:
        maps, fused = _recorded(subject)
        before = before_fusion(subject, maps, half)
        decoder = [(path, weights) for path, weights in maps if path.startswith("decoders.")]
        if not decoder or not keeps_positions(subject.features, fused):
            looks = _looks(subject, maps, fused)
            return Attributed(subject.gathered({name: looks[name] @ before[name] for name in looks}))
        fusion = [(path, weights) for path, weights in maps if path.startswith("fusion.")]
        memory = through_fusion(before, fused, fusion, half)
        return Attributed(subject.gathered(split(fused, through_decoder(subject, memory, decoder, half))))


@torch.no_grad()
def _recorded(subject: Subject) -> tuple[list[NamedMap], Fused]:
    """The attention maps for one row, averaged over heads, and the fused features."""
    if isinstance(subject.model.decoders[subject.output], PretrainedTextDecoder):
        raise UserError("a pretrained decoder keeps its attention to itself; choose --method gradients, occlusion or shapley")
    with record_attention(subject.model) as maps:
        fused = subject.model(subject.batch)
        subject.answer.scores(fused)
    return [(one.name, one.weights.mean(1)) for one in maps], fused


def _looks(subject: Subject, maps: Sequence[NamedMap], fused: Fused) -> dict[str, Float[Tensor, "outputs _length"]]:
    """The decoder's weights of the inputs' positions; positions that a fusion or a decoder averages get equal weights."""
    decoder = [weights for path, weights in maps if path.startswith("decoders.") and "self_attention" not in path]
    if decoder:
        # a recurrent decoder has one map per word, a transformer one per layer
        steps = torch.cat(decoder, 1) if decoder[0].shape[1] == 1 else torch.stack(decoder).mean(0)
        looks = subject.answer.reading(steps)
    else:
        looks = _even(fused.mask[0]).expand(subject.num_outputs, -1)
    if keeps_positions(subject.features, fused):
        return split(fused, looks)
    names = list(subject.features)
    shares = _shares(subject, fused, looks, names)
    return {name: shares[:, k, None] * _even(subject.features[name].mask[0]) for k, name in enumerate(names)}


def _even(mask: Bool[Tensor, " length"]) -> Float[Tensor, " length"]:
    return mask.float() / mask.sum().clamp(min=1)


def _shares(
    subject: Subject, fused: Fused, looks: Float[Tensor, "outputs fused"], names: Sequence[str]
) -> Float[Tensor, "outputs inputs"]:
    """The share of each input in a vector fusion's positions: from one position per input, the fusion's weights, or equal."""
    if fused.spans:
        return torch.stack([looks[:, slice(*fused.spans[name])].sum(1) for name in names], 1)
    if fused.weights:
        return torch.stack([fused.weights[name].expand(len(looks)) for name in names], 1)
    present = torch.stack([subject.features[name].mask.any() for name in names]).float()
    return (present / present.sum().clamp(min=1)).expand(len(looks), -1)
