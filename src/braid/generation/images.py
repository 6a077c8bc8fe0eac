"""Pictures from tokens over one of two protocols, token after token or all at once; knows logits, and no runtime."""

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

Chances = Sequence[np.random.Generator]
StepWatch = Callable[[Iterable[int], int], Iterable[int]]  # wraps the steps of a drawing in a progress bar


@dataclass(frozen=True)
class DrawingConfig:
    """How a picture's tokens are chosen.

    ``guidance``: how far logits go beyond those without the prompt, towards it (classifier-free guidance, arXiv:2207.12598); 1
    is the model's own, 0 ignores the prompt. Logits are divided by ``temperature``; only the ``top_k`` likeliest (0: all) are
    kept, then the likeliest that make up ``top_p``. Each row has a random stream of its own, from ``seed`` and its id. A decoder
    that fills all tokens in together does so in ``steps``; ``spread`` is how much chance decides which of them stay.
    """

    guidance: float = 2.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    steps: int = 10
    spread: float = 2.0

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "guidance", "top_k", "seed", "spread")
        within(self, 1, 1000, "steps")
        if not self.temperature > 0:
            raise UserError(f"temperature is {self.temperature}; it must be above 0 (top_k 1 takes the likeliest token)")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}; it must be above 0 and at most 1")


def draw(
    image_decoder: Stepper | Filler, grid: TokenGrid, batch: Batch, config: DrawingConfig, watch: StepWatch | None = None
) -> Int[np.ndarray, "batch length"]:
    """The tokens of one picture a row; no row's picture depends on the other rows of its batch."""
    probabilities = [np.random.default_rng((config.seed, crc32(identity.encode()))) for identity in batch.ids]
    watched = watch or (lambda steps, total: steps)
    if isinstance(image_decoder, Filler):
        return _filled(image_decoder, grid, batch, config, probabilities, watched)
    return _one_by_one(image_decoder, grid, batch, config, probabilities, watched)


def _one_by_one(
    image_decoder: Stepper,
    grid: TokenGrid,
    batch: Batch,
    config: DrawingConfig,
    probabilities: Sequence[np.random.Generator],
    watch: StepWatch,
) -> Int[np.ndarray, "batch length"]:
    """One token a step, row by row; the code after the last begins."""
    states = [image_decoder.start(one) for one in _guides(batch, config)]
    tokens = np.full((batch.size, grid.length), grid.codes, dtype=np.int64)
    read = tokens[:, :1].copy()
    for place in watch(range(grid.length), grid.length):
        result = [image_decoder.step(read, state) for state in states]
        states = [state for _, state in result]
        logs = _guided([logits[:, 0] for logits, _ in result], config)
        for row, chance in enumerate(probabilities):
            (tokens[row, place],) = _drawn(logs[row : row + 1], config, chance)
        read = tokens[:, place : place + 1].copy()
    return tokens


def _filled(
    image_decoder: Filler, grid: TokenGrid, batch: Batch, config: DrawingConfig, probabilities: Chances, watch: StepWatch
) -> Int[np.ndarray, "batch length"]:
    """All hidden tokens are drawn at every step, and the surest stay: of ``length`` cos(pi/2 share of steps) are hidden again."""
    states = [image_decoder.start(one) for one in _guides(batch, config)]
    tokens = np.full((batch.size, grid.length), grid.codes, dtype=np.int64)
    steps = min(config.steps, grid.length)
    for step in watch(range(steps), steps):
        logs = _guided([image_decoder.fill(tokens, state) for state in states], config)
        left = 1 - (step + 1) / steps
        hidden_next = math.floor(grid.length * math.cos(math.pi / 2 * (1 - left)) + 1e-9)
        for row, chance in enumerate(probabilities):
            _keep_the_surest(tokens[row], logs[row], min(hidden_next, grid.length - step - 1), left, grid, config, chance)
    return tokens


def _keep_the_surest(
    tokens: Int[np.ndarray, " length"],
    logs: Float[np.ndarray, "length codes"],
    hidden_next: int,
    left: float,
    grid: TokenGrid,
    config: DrawingConfig,
    chance: np.random.Generator,
) -> None:
    """Draw one row's hidden tokens, and hide the least sure of them again."""
    hidden: Bool[np.ndarray, " length"] = tokens == grid.codes
    places = np.flatnonzero(hidden)
    generated = _drawn(logs[places], config, chance)
    sure = logs[places, generated] + config.spread * left * chance.gumbel(size=len(places))
    kept = np.argsort(-sure, kind="stable")[: len(places) - hidden_next]
    tokens[places[kept]] = generated[kept]


def _guides(batch: Batch, config: DrawingConfig) -> list[Batch]:
    """The batch, and the same without its prompt where that is to be held against it."""
    without = replace(batch, inputs={name: given for name, given in batch.inputs.items() if name != "prompt"})
    return [batch] if config.guidance == 1 or "prompt" not in batch.inputs else [batch, without]


def _guided(logits: Sequence[Any], config: DrawingConfig) -> Float[np.ndarray, "batch *places codes"]:
    """Log-probabilities after guidance and temperature."""
    own = np.asarray(logits[0], np.float64)
    if len(logits) > 1:
        without = np.asarray(logits[1], np.float64)
        own = without + config.guidance * (own - without)
    return log_softmax(own / config.temperature)


def _drawn(
    logs: Float[np.ndarray, "places codes"], config: DrawingConfig, chance: np.random.Generator
) -> Int[np.ndarray, " places"]:
    """One token a place, by top-k and top-p."""
    if not config.top_k and config.top_p == 1:
        return _chosen(np.exp(logs), chance)
    order = np.argsort(-logs, axis=1, kind="stable")[:, : config.top_k or None]
    shares = np.exp(log_softmax(np.take_along_axis(logs, order, 1)))
    kept = shares * (shares.cumsum(1) - shares < config.top_p)
    return np.take_along_axis(order, _chosen(kept, chance)[:, None], 1)[:, 0]


def _chosen(shares: Float[np.ndarray, "places codes"], chance: np.random.Generator) -> Int[np.ndarray, " places"]:
    """Where one chance number a place falls among the shares laid end to end: far fewer numbers than one a code."""
    sums = shares.cumsum(1)
    fallen = (sums <= chance.random((len(sums), 1)) * sums[:, -1:]).sum(1)
    return np.minimum(fallen, shares.shape[1] - 1)
