"""A bundle on PyTorch: numpy batches become tensors here, and results become numpy arrays."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from braid.bundle import Bundle
from braid.codecs import Codec
from braid.config import from_dict
from braid.decoders import MaskedDecoder
from braid.errors import UserError
from braid.generation import GenerationConfig, check_generates, check_output, write_text
from braid.layers.attention import StepwiseTransformer
from braid.modalities import OutputModality, SpecialTokens, TokenGrid, Tokenizer
from braid.model import Model, ModelConfig
from braid.records import Batch, Padded, Prediction
from braid.runtime.device import CPU, GraphedSteps
from braid.shapes import Float, Int

Once = Callable[[], AbstractContextManager[Any]]  # a context that sets the precision of what is computed once per row


def to_tensors(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its arrays as tensors on ``device``; copies to a GPU are asynchronous, from pinned memory."""

    def tensor(array: np.ndarray) -> Tensor:
        own = torch.from_numpy(array)
        return own.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else own.to(device)

    def padded(value: Padded) -> Padded:
        return Padded(tensor(value.values), tensor(value.mask))

    inputs = {
        name: replace(given, distinct=padded(given.distinct), index=tensor(given.index)) for name, given in batch.inputs.items()
    }
    return replace(batch, inputs=inputs, targets={name: padded(target) for name, target in batch.targets.items()})


def load_model(bundle: Bundle) -> Model:
    """Build a bundle's model and load its weights, with a check of every shape.

    Raises:
        UserError: naming parameters that are missing, unexpected or of another shape.
    """
    if bundle.architecture is None:
        raise UserError(f"{bundle.folder} has no model.json; this bundle runs on ONNX only")
    config: ModelConfig = from_dict(ModelConfig, bundle.architecture, str(bundle.folder / "model.json"))
    weights = bundle.weights()
    _check_sizes(bundle, weights)
    with _no_larger_than(weights, bundle.folder):
        model = config.build(bundle.inputs, bundle.outputs)
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise UserError(
                f"{bundle.folder}: the weights lack {name} {list(tensor.shape)}, which model.json has; copy the model again"
            )
        if tuple(tensor.shape) != weights[name].shape:
            sizes = f"{list(tensor.shape)} by model.json and tokenizer.json, {list(weights[name].shape)} by the weights"
            raise UserError(f"{bundle.folder}: {name} is {sizes}; the files are of different models")
        if tensor.is_floating_point() != (weights[name].dtype.kind == "f"):
            kinds = f"{weights[name].dtype} in the weights, {str(tensor.dtype).removeprefix('torch.')} by model.json"
            raise UserError(f"{bundle.folder}: {name} is {kinds}; the files are of different models")
    left = sorted(set(weights) - set(own))
    if left:
        raise UserError(
            f"{bundle.folder}: the weights hold {left[0]}, which model.json does not; the files are of different models"
        )
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model.eval()


def _check_sizes(bundle: Bundle, weights: Mapping[str, np.ndarray]) -> None:
    """Reject sizes in model.json that are larger than anything in the weights, before they fill the memory."""
    limit = max([1024, len(weights), *(size for value in weights.values() for size in value.shape)])

    def check(where: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inside in value.items():
                check(f"{where}.{name}" if where else name, inside)
        elif isinstance(value, int | float) and value > limit and not where.endswith(("_token_id", "_theta")):  # not sizes
            message = f"model.json has {where} {value}, but nothing in the weights is that large"
            raise UserError(f"{bundle.folder}: {message}; the files are of different models")

    check("", bundle.architecture)


class _TooLarge(Exception):
    """A model has more parameters than its weights can hold."""


@contextmanager
def _no_larger_than(weights: Mapping[str, np.ndarray], folder: Path) -> Iterator[None]:
    """Stop building a model that has several times the parameters that the weights hold, before it fills the memory.

    Some parts are built with more than they keep: of a pretrained model of images and text, one half.
    """
    most = 10_000_000 + 4 * sum(value.size for value in weights.values())
    total = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        total += 0 if parameter is None else parameter.numel()
        if total > most:
            raise _TooLarge

    counting = register_module_parameter_registration_hook(count)
    try:
        yield
    except _TooLarge:
        message = "model.json describes a larger model than the weights; the files are of different models"
        raise UserError(f"{folder}: {message}") from None
    except UserError:
        raise
    except (RuntimeError, MemoryError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{folder / 'model.json'} describes no model that can be built ({reason}); copy it again") from None
    finally:
        counting.remove()


class TorchRuntime:
    """Runs a model in memory, with the same methods as ``OnnxRuntime``.

    ``low_precision``: compute in bfloat16 what is computed once per row. Decoder steps stay in float32: their products are small,
    and each step would have to convert every weight to bfloat16 again.
    """

    def __init__(
        self, model: Model, tokenizer: Tokenizer | None, device: torch.device = CPU, low_precision: bool = False
    ) -> None:
        self.model = model.to(device)
        self.tokenizer = tokenizer
        self.device = device
        self._once: Once = partial(torch.autocast, device.type, torch.bfloat16) if low_precision else nullcontext
        self._graphed: dict[str, GraphedSteps] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy, here or in another process, records its CUDA graphs itself."""
        return {**self.__dict__, "_graphed": {}}

    @property
    def outputs(self) -> Mapping[str, OutputModality]:
        return self.model.outputs

    def decoder(self, name: str) -> "TorchDecoder":
        check_output(name, self.outputs, "writes texts")
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
        check_output(name, self.outputs, "generates images")
        return TorchCodec(self.model.eval().codec(name), self.device)

    def image_decoder(self, name: str) -> "TorchStepper | TorchFiller":
        check_output(name, self.outputs, "generates images")
        check_generates(name, list(self.model.decoders))
        decoder = self.model.image_decoder(name)
        if isinstance(decoder, MaskedDecoder):
            return TorchFiller(self.model, decoder, self.device, self._once)
        return TorchStepper(self.model, self._stepwise(name, decoder), self.device, self._once)

    def _stepwise(self, name: str, decoder: Any) -> Any:
        """The decode protocol of a decoder; on an NVIDIA GPU with CUDA graphs, which are kept between batches."""
        if self.device.type != "cuda" or not isinstance(decoder, StepwiseTransformer):
            return decoder
        modality: Any = self.outputs[name]
        room = modality.max_length if modality.does == "writes texts" else self.model.codec(name).grid.length
        return self._graphed.setdefault(name, GraphedSteps(decoder, room))


class TorchCodec:
    """A codec that takes and returns numpy arrays."""

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


class _Started:
    """A decoder, and the model whose fused inputs it starts from."""

    def __init__(self, model: Model, decoder: Any, device: torch.device, once: Once) -> None:
        self._model, self._decoder, self._device, self._once = model, decoder, device, once

    @torch.inference_mode()
    def start(self, batch: Batch) -> Mapping[str, Tensor]:
        """Encode and fuse the inputs, and compute the state that is constant for the whole text or image."""
        self._model.eval()
        with self._once():
            state: Mapping[str, Tensor] = self._decoder.start(self._model(to_tensors(batch, self._device)))
        return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


class TorchStepper(_Started):
    """The decode protocol of one decoder, with numpy tokens and logits; the state is opaque."""

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
    """The decode protocol for texts, with the special tokens."""

    def __init__(self, model: Model, decoder: Any, special: SpecialTokens, device: torch.device, once: Once) -> None:
        super().__init__(model, decoder, device, once)
        self.special = special


class TorchFiller(_Started):
    """The fill protocol of one decoder, with numpy tokens and logits."""

    @torch.inference_mode()
    def fill(self, tokens: Int[np.ndarray, "batch length"], state: Any) -> Float[np.ndarray, "batch length codes"]:
        with self._once():
            logits: Tensor = self._decoder.fill(torch.from_numpy(tokens).to(self._device), state)
        return logits.float().cpu().numpy()
