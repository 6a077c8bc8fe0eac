"""Gradient x attention relevance: attention counts if it supports the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from braid.explain.attention_maps import (
    AttentionMap,
    NamedMap,
    added,
    before_fusion,
    half,
    keeps_positions,
    record_attention,
    split,
    through_decoder,
    through_fusion,
)
from braid.explain.subject import Attributed, Subject
from braid.records import Features
from braid.shapes import Float


@dataclass(frozen=True)
class Relevance:
    """Chefer et al. (arXiv:2103.15679): for every attention map after ``Features``, the mean over heads of the positive part of
    (gradient x weight). Layer by layer, the relevance that a position reads is added to its own. In contrast to the paper,
    encoders are not differentiated; rollout accounts for what their attention moved between positions.

    A mean is attention with equal weights. So if the decoder or the fusion has no attention to positions, the same product is
    computed at the features: the positive part of (gradient x feature).
    """

    kind: Literal["gradients"] = "gradients"

    def attribute(self, subject: Subject) -> Attributed:
        leaves, before = subject.leaves(subject.num_outputs), _encoders(subject)
        with torch.enable_grad(), record_attention(subject.model) as maps:
            fused = subject.model.fuse(leaves)
            score = subject.answer.scores(fused).diagonal().sum()  # one row per output
            decoder = [one for one in maps if one.name.startswith("decoders.")]
            if not decoder or not keeps_positions(leaves, fused):
                result = _at_features(score, leaves)
                return Attributed(subject.gathered({name: result[name] @ before[name] for name in result}))
            weighed = _positive(score, maps)
        fusion = [one for one in weighed if one[0].startswith("fusion.")]
        memory = through_fusion(before, fused, fusion, added)
        after = [one for one in weighed if one[0].startswith("decoders.")]
        return Attributed(subject.gathered(split(fused, through_decoder(subject, memory, after, added))))


@torch.no_grad()
def _encoders(subject: Subject) -> dict[str, Float[Tensor, "_length _sources"]]:
    """How the encoders' attention moved information between patches or words, by rollout."""
    with record_attention(subject.model) as maps:
        subject.model.encode(subject.batch)
    return before_fusion(subject, [(one.name, one.weights.mean(1)) for one in maps], half)


def _positive(score: Float[Tensor, ""], maps: Sequence[AttentionMap]) -> list[NamedMap]:
    gradients = torch.autograd.grad(score, [one.weights for one in maps], allow_unused=True)
    return [
        (one.name, (gradient * one.weights).clamp(min=0).mean(1).detach())
        for one, gradient in zip(maps, gradients, strict=True)
        if gradient is not None
    ]


def _at_features(score: Float[Tensor, ""], leaves: Mapping[str, Features]) -> dict[str, Float[Tensor, "outputs _length"]]:
    values = [one.values for one in leaves.values()]
    gradients = torch.autograd.grad(score, values, allow_unused=True)
    return {
        name: torch.zeros_like(value[..., 0]) if gradient is None else (gradient * value).sum(-1).clamp(min=0)
        for name, value, gradient in zip(leaves, values, gradients, strict=True)
    }
