"""The protocols that generation needs from a model, on torch or ONNX Runtime, with numpy arrays; and the settings of texts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from braid.config import did_you_mean, within
from braid.errors import UserError
from braid.modalities import Does, OutputModality, SpecialTokens, TokenGrid
from braid.records import Batch, Prediction
from braid.shapes import Float, Int

MAX_BEAM = 1000


@runtime_checkable
class Stepper(Protocol):
    """The decode protocol: the methods that generation needs from a model, on torch or ONNX. The state is opaque.

    ``start`` encodes a batch and returns a state with group 1. ``step`` reads one token per beam (first the begin token) and
    returns the logits of the next. ``reorder`` gives each row's beams the states of their parents, and may change the group.
    """

    def start(self, batch: Batch) -> Any: ...

    def step(self, tokens: Int[np.ndarray, "batch group"], state: Any) -> tuple[Float[np.ndarray, "batch group vocab"], Any]: ...

    def reorder(self, state: Any, parents: Int[np.ndarray, "batch group"]) -> Any: ...


@runtime_checkable
class Decoder(Stepper, Protocol):
    """The decode protocol for texts."""

    @property
    def special(self) -> SpecialTokens: ...


@runtime_checkable
class Filler(Protocol):
    """The fill protocol: ``fill`` returns the logits of all tokens of an image, given the known tokens."""

    def start(self, batch: Batch) -> Any: ...

    def fill(self, tokens: Int[np.ndarray, "batch length"], state: Any) -> Float[np.ndarray, "batch length codes"]: ...


@runtime_checkable
class ImageCodec(Protocol):
    """Converts images to discrete tokens and back. Pixels are scaled as in the output's modality."""

    @property
    def grid(self) -> TokenGrid: ...

    def tokens(self, pixels: Float[np.ndarray, "n 3 height width"]) -> Int[np.ndarray, "n length"]: ...

    def pixels(self, tokens: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n 3 height width"]: ...


@runtime_checkable
class Runtime(Protocol):
    """One saved model on any runtime: the decode protocol of each text output, complete texts from it, codec and generator of
    each image output, and one vector per row for any other output (logits of labels, a number, an embedding).
    """

    @property
    def outputs(self) -> Mapping[str, OutputModality]: ...

    def decoder(self, name: str) -> Decoder: ...

    def write(self, name: str, batch: Batch, config: "GenerationConfig") -> list[Prediction]: ...

    def vector(self, name: str, batch: Batch) -> Float[np.ndarray, "batch size"]: ...

    def codec(self, name: str) -> ImageCodec: ...

    def image_decoder(self, name: str) -> Stepper | Filler: ...


def check_output(name: str, outputs: Mapping[str, OutputModality], wanted: Does) -> None:
    """Check that a model has an output of this name that does what is ``wanted``.

    Raises:
        UserError: when it has not, naming the outputs that it has.
    """
    there = [output for output, modality in outputs.items() if modality.does == wanted]
    if name not in there:
        other = did_you_mean(name, there) if there else f"its outputs are {', '.join(outputs) or 'none'}"
        raise UserError(f"this model has no output {name!r} that {wanted}; {other}")


def check_generates(name: str, decoders: Sequence[str]) -> None:
    """
    Raises:
        UserError: when an output has a codec and no decoder.
    """
    if name not in decoders:
        message = "this model turns images into tokens and back, and generates none"
        raise UserError(f"{message}; train a model that does with it as codecs.{name}")


@dataclass(frozen=True)
class GenerationConfig:
    """How a text is searched for.

    Args:
        method: ``greedy`` takes the most probable token, ``beam`` keeps several texts, ``sample`` draws at random.
        beam: texts that beam search keeps.
        length_penalty: texts are ranked by log-probability / length ** this: 0 favours short texts, 1 takes the mean.
        max_length: most tokens of a text, <eos> included.
        min_length: fewest tokens before <eos>.
        no_repeat: a text has no so many tokens twice in the same order: 3 forbids "a tall tower with a tall tower"; 0 allows all.
        temperature: divides the logits in sampling; higher is more varied.
        top_k: sampling keeps the most probable tokens, so many; 0 keeps all.
        top_p: sampling keeps the most probable tokens that make up this probability (arXiv:1904.09751).
        seed: of the random streams of sampling, one a row, together with the row's id.
    """

    method: Literal["greedy", "beam", "sample"] = "beam"
    beam: int = 3
    length_penalty: float = 0.7
    max_length: int = 24
    min_length: int = 1
    no_repeat: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        within(self, 1, MAX_BEAM, "beam")
        within(self, 1, math.inf, "max_length")
        within(self, 0, math.inf, "min_length", "no_repeat", "top_k", "seed")
        if not self.temperature > 0:
            raise UserError(
                f"temperature is {self.temperature}; it must be above 0 (method greedy takes the most probable token)"
            )
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
