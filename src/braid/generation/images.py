"""Generates image tokens through one of two protocols: one after another, or all in parallel. Independent of the runtime."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from braid.config import within
from braid.errors import UserError
from braid.generation.protocol import Filler, Stepper
from braid.generation.text import log_softmax
from braid.modalities import TokenGrid
from braid.records import Batch
from braid.shapes import Bool, Float, Int

Rngs = Sequence[np.random.Generator]
StepWatch = Callable[[Iterable[int], int], Iterable[int]]  # wraps the steps of image generation in a progress bar


@dataclass(frozen=True)
class ImageSamplingConfig:
    """How the tokens of an image are sampled. Every row has a random stream of its own.

    Args:
        guidance: classifier-free guidance (arXiv:2207.12598): 1 samples from the model as it is, more follows the prompt more
            closely, 0 ignores it.
        temperature: divides the logits; higher is more varied.
        top_k: keeps the most probable tokens, so many; 0 keeps all.
        top_p: keeps the most probable tokens that make up this probability (nucleus sampling, arXiv:1904.09751).
        seed: of the random streams, together with the row's id.
        steps: in which a decoder that predicts all tokens together keeps them, the most confident first.
        choice_temperature: how much noise there is in what it keeps.
    """

    guidance: float = 2.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    steps: int = 10
    choice_temperature: float = 2.0

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "guidance", "top_k", "seed", "choice_temperature")
        within(self, 1, 1000, "steps")
        if not self.temperature > 0:
            raise UserError(f"temperature is {self.temperature}; it must be above 0 (top_k 1 takes the most probable token)")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}; it must be above 0 and at most 1")


def sample_tokens(
    image_decoder: Stepper | Filler, grid: TokenGrid, batch: Batch, config: ImageSamplingConfig, watch: StepWatch | None = None
) -> Int[np.ndarray, "batch length"]:
    """Generate the tokens of one image per row; a row's image does not depend on the other rows of its batch."""
    rngs = [np.random.default_rng((config.seed, crc32(identity.encode(errors="surrogatepass")))) for identity in batch.ids]
    watched = watch or (lambda steps, total: steps)
    if isinstance(image_decoder, Filler):
        return _filled(image_decoder, grid, batch, config, rngs, watched)
    return _one_by_one(image_decoder, grid, batch, config, rngs, watched)


def _one_by_one(
    image_decoder: Stepper,
    grid: TokenGrid,
    batch: Batch,
    config: ImageSamplingConfig,
    rngs: Rngs,
    watch: StepWatch,
) -> Int[np.ndarray, "batch length"]:
    """One token per step, in raster order; the first input is the code after the last."""
    states = [image_decoder.start(one) for one in _guides(batch, config)]
    tokens = np.full((batch.size, grid.length), grid.codes, dtype=np.int64)
    read = tokens[:, :1].copy()
    for place in watch(range(grid.length), grid.length):
        result = [image_decoder.step(read, state) for state in states]
        states = [state for _, state in result]
        logs = _guided([logits[:, 0] for logits, _ in result], config)
        for row, rng in enumerate(rngs):
            (tokens[row, place],) = _sampled(logs[row : row + 1], config, rng)
        read = tokens[:, place : place + 1].copy()
    return tokens


def _filled(
    image_decoder: Filler, grid: TokenGrid, batch: Batch, config: ImageSamplingConfig, rngs: Rngs, watch: StepWatch
) -> Int[np.ndarray, "batch length"]:
    """Each step samples all masked tokens and keeps the most confident; the share cos(pi/2 * share of steps) is masked again."""
    states = [image_decoder.start(one) for one in _guides(batch, config)]
    tokens = np.full((batch.size, grid.length), grid.codes, dtype=np.int64)
    steps = min(config.steps, grid.length)
    for step in watch(range(steps), steps):
        logs = _guided([image_decoder.fill(tokens, state) for state in states], config)
        left = 1 - (step + 1) / steps
        masked_next = math.floor(grid.length * math.cos(math.pi / 2 * (1 - left)) + 1e-9)
        for row, rng in enumerate(rngs):
            _keep_most_confident(tokens[row], logs[row], min(masked_next, grid.length - step - 1), left, grid, config, rng)
    return tokens


def _keep_most_confident(
    tokens: Int[np.ndarray, " length"],
    logs: Float[np.ndarray, "length codes"],
    masked_next: int,
    left: float,
    grid: TokenGrid,
    config: ImageSamplingConfig,
    rng: np.random.Generator,
) -> None:
    """Sample one row's masked tokens, and mask the least confident of them again."""
    masked: Bool[np.ndarray, " length"] = tokens == grid.codes
    places = np.flatnonzero(masked)
    generated = _sampled(logs[places], config, rng)
    confidence = logs[places, generated] + config.choice_temperature * left * rng.gumbel(size=len(places))
    kept = np.argsort(-confidence, kind="stable")[: len(places) - masked_next]
    tokens[places[kept]] = generated[kept]


def _guides(batch: Batch, config: ImageSamplingConfig) -> list[Batch]:
    """The batch, and with guidance also the batch without its prompt."""
    without = replace(batch, inputs={name: given for name, given in batch.inputs.items() if name != "prompt"})
    return [batch] if config.guidance == 1 or "prompt" not in batch.inputs else [batch, without]


def _guided(logits: Sequence[Any], config: ImageSamplingConfig) -> Float[np.ndarray, "batch *places codes"]:
    """Log-probabilities after guidance and temperature."""
    own = np.asarray(logits[0], np.float64)
    if len(logits) > 1:
        without = np.asarray(logits[1], np.float64)
        own = without + config.guidance * (own - without)
    return log_softmax(own / config.temperature)


def _sampled(
    logs: Float[np.ndarray, "places codes"], config: ImageSamplingConfig, rng: np.random.Generator
) -> Int[np.ndarray, " places"]:
    """Sample one token per position, with top-k and top-p."""
    if not config.top_k and config.top_p == 1:
        return _chosen(np.exp(logs), rng)
    order = np.argsort(-logs, axis=1, kind="stable")[:, : config.top_k or None]
    shares = np.exp(log_softmax(np.take_along_axis(logs, order, 1)))
    kept = shares * (shares.cumsum(1) - shares < config.top_p)
    return np.take_along_axis(order, _chosen(kept, rng)[:, None], 1)[:, 0]


def _chosen(shares: Float[np.ndarray, "places codes"], rng: np.random.Generator) -> Int[np.ndarray, " places"]:
    """Sample by inverse transform, with one random number per position instead of one per code."""
    sums = shares.cumsum(1)
    fallen = (sums <= rng.random((len(sums), 1)) * sums[:, -1:]).sum(1)
    return np.minimum(fallen, shares.shape[1] - 1)
