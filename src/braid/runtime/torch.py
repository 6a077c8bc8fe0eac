"""A bundle on PyTorch: the border between numpy batches and tensors."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a spinning barrier is up to 50 times slower on a busy core

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braid.bundle import Bundle
from braid.codecs import Codec
from braid.config import from_dict
from braid.decoders import MaskedDecoder
from braid.errors import UserError
from braid.generation import GenerationConfig, check_draws, check_output, write_text
from braid.layers.attention import StepwiseTransformer
from braid.modalities import OutputModality, SpecialTokens, TokenGrid, Tokenizer
from braid.model import Model, ModelConfig
from braid.records import Batch, Padded, Prediction
from braid.runtime.cuda_graphs import GraphedSteps
from braid.runtime.device import CPU
from braid.shapes import Float, Int

Once = Callable[[], AbstractContextManager[Any]]  # the precision of what is computed once a row


def to_tensors(batch: Batch, device: torch.device) -> Batch:
    """The same batch, its arrays as tensors on ``device``; a GPU fetches them from pinned memory while the processor goes on."""

    def tensor(array: np.ndarray) -> Tensor:
        own = torch.from_numpy(array)
        return own.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else own.to(device)

    def padded(value: Padded) -> Padded:
        return Padded(tensor(value.values), tensor(value.mask))

    inputs = {
        name: replace(given, distinct=padded(given.distinct), index=tensor(given.index)) for name, given in batch.inputs.items()
    }
    return Batch(batch.ids, inputs, {name: padded(target) for name, target in batch.targets.items()})


def load_model(bundle: Bundle) -> Model:
    """Build the architecture and fill in the weights, checking every size against the file.

    Raises:
        UserError: naming parameters that are missing, left over or of another shape.
    """
    if bundle.architecture is None:
        raise UserError(f"{bundle.folder} has no model.json; this bundle runs on ONNX only")
    config: ModelConfig = from_dict(ModelConfig, bundle.architecture, str(bundle.folder / "model.json"))
    weights = bundle.weights()
    _check_sizes(bundle, weights)
    model = config.build(bundle.inputs, bundle.outputs)
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise UserError(
                f"{bundle.folder}: model.json asks for {name} {list(tensor.shape)}, the weights do not have it; copy them again"
            )
        if tuple(tensor.shape) != weights[name].shape:
            sizes = f"{list(tensor.shape)} by model.json and tokenizer.json, {list(weights[name].shape)} by the weights"
            raise UserError(f"{bundle.folder}: {name} is {sizes}; the files are of different models")
    left = sorted(set(weights) - set(own))
    if left:
        raise UserError(
            f"{bundle.folder}: the weights hold {left[0]}, which model.json does not; the files are of different models"
        )
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model.eval()


def _check_sizes(bundle: Bundle, weights: Mapping[str, np.ndarray]) -> None:
    """A number in model.json that is larger than all there is in the weights would only fill the memory."""
    limit = max([1024, len(weights), *(size for value in weights.values() for size in value.shape)])

    def check(where: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inside in value.items():
                check(f"{where}.{name}" if where else name, inside)
        elif isinstance(value, int | float) and value > limit and not where.endswith(("_token_id", "_theta")):  # sizes of nothing
            message = f"model.json has {where} {value}, and nothing in the weights is that large"
            raise UserError(f"{bundle.folder}: {message}; the files are of different models")

    check("", bundle.architecture)


class TorchRuntime:
    """A model in memory, behind the same small protocol as ``OnnxRuntime``.

    ``rough``: in bfloat16 is what is computed once a row. A step stays in float32: its products are small, and it would have to
    turn every weight into bfloat16 anew.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer | None, device: torch.device = CPU, rough: bool = False) -> None:
        self.model = model.to(device)
        self.tokenizer = tokenizer
        self.device = device
        self._once: Once = partial(torch.autocast, device.type, torch.bfloat16) if rough else nullcontext
        self._graphed: dict[str, GraphedSteps] = {}

    @property
    def outputs(self) -> Mapping[str, OutputModality]:
        return self.model.outputs

    def decoder(self, name: str) -> "TorchDecoder":
        check_output(name, self.outputs, "writes")
        assert self.tokenizer is not None  # an output that writes has one
        decoder = self._stepwise(name, self.model.decoder(name))
        return TorchDecoder(self.model, decoder, self.tokenizer.special, self.device, self._once)

    def write(self, name: str, batch: Batch, config: GenerationConfig) -> list[Prediction]:
        decoder = self.decoder(name)
        assert self.tokenizer is not None
        return write_text(decoder, batch, self.tokenizer, config)

    @torch.inference_mode()
    def vector(self, name: str, batch: Batch) -> Float[np.ndarray, "batch size"]:
        check_output(name, self.outputs, "gives labels, a number or an embedding")
        self.model.eval()
        with self._once():
            return self.model.vector(to_tensors(batch, self.device), name).float().cpu().numpy()

    def codec(self, name: str) -> "TorchCodec":
        check_output(name, self.outputs, "draws")
        return TorchCodec(self.model.eval().codec(name), self.device)

    def image_decoder(self, name: str) -> "TorchStepper | TorchFiller":
        check_output(name, self.outputs, "draws")
        check_draws(name, list(self.model.decoders))
        decoder = self.model.image_decoder(name)
        if isinstance(decoder, MaskedDecoder):
            return TorchFiller(self.model, decoder, self.device, self._once)
        return TorchStepper(self.model, self._stepwise(name, decoder), self.device, self._once)

    def _stepwise(self, name: str, decoder: Any) -> Any:
        """The decode protocol over tensors; on an NVIDIA GPU by graphs, which outlive a batch."""
        if self.device.type != "cuda" or not isinstance(decoder, StepwiseTransformer):
            return decoder
        modality: Any = self.outputs[name]
        room = modality.max_length if modality.does == "writes" else self.model.codec(name).grid.length
        return self._graphed.setdefault(name, GraphedSteps(decoder, room))


class TorchCodec:
    """Numpy pixels and tokens over one codec."""

    def __init__(self, codec: Codec, device: torch.device) -> None:
        self._codec, self._device = codec, device

    @property
    def grid(self) -> TokenGrid:
        return self._codec.grid

    @torch.inference_mode()
    def tokens(self, pixels: Float[np.ndarray, "n 3 height width"]) -> Int[np.ndarray, "n length"]:
        return self._codec.encode(torch.from_numpy(pixels).to(self._device)).cpu().numpy()

    @torch.inference_mode()
    def pixels(self, tokens: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n 3 height width"]:
        return self._codec.decode(torch.from_numpy(tokens).to(self._device)).float().cpu().numpy()


class _Begun:
    """A decoder, and the model whose h it begins from."""

    def __init__(self, model: Model, decoder: Any, device: torch.device, once: Once) -> None:
        self._model, self._decoder, self._device, self._once = model, decoder, device, once

    @torch.inference_mode()
    def start(self, batch: Batch) -> Mapping[str, Tensor]:
        """Encode, fuse, and compute what stays the same for the whole text or picture."""
        self._model.eval()
        with self._once():
            state: Mapping[str, Tensor] = self._decoder.start(self._model(to_tensors(batch, self._device)))
        return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


class TorchStepper(_Begun):
    """The decode protocol over one decoder: numpy tokens in, numpy logits out, the state opaque between."""

    @torch.inference_mode()
    def step(
        self, tokens: Int[np.ndarray, "batch group"], state: Any
    ) -> tuple[Float[np.ndarray, "batch group vocab"], Mapping[str, Tensor]]:
        logits, state = self._decoder.step(torch.from_numpy(tokens).to(self._device), state)
        return logits.float().cpu().numpy(), state

    @torch.inference_mode()
    def reorder(self, state: Any, parents: Int[np.ndarray, "batch group"]) -> Mapping[str, Tensor]:
        reordered: Mapping[str, Tensor] = self._decoder.reorder(state, torch.from_numpy(parents).to(self._device))
        return reordered


class TorchDecoder(TorchStepper):
    """The decode protocol of a text, with the tokens that begin and end one."""

    def __init__(self, model: Model, decoder: Any, special: SpecialTokens, device: torch.device, once: Once) -> None:
        super().__init__(model, decoder, device, once)
        self.special = special


class TorchFiller(_Begun):
    """The fill protocol over one decoder."""

    @torch.inference_mode()
    def fill(self, tokens: Int[np.ndarray, "batch length"], state: Any) -> Float[np.ndarray, "batch length codes"]:
        with self._once():
            logits: Tensor = self._decoder.fill(torch.from_numpy(tokens).to(self._device), state)
        return logits.float().cpu().numpy()
