"""Standard weight files -> an encoder: safetensors, or torch files read without running any code in them."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from braid.errors import UserError
from braid.files import user_path
from braid.files.foreign import told

WRAPPERS = ("state_dict", "model", "model_state_dict")  # under which training scripts save the parameters
HEADS = ("classifier.", "fc.", "heads.")  # of the file's own task, which an encoder has no use for


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Fill ``module`` from a file that names its parameters as torchvision does, or as the module can translate.

    Args:
        path: a .safetensors, .pt or .pth file, or a folder that holds exactly one.
    Raises:
        UserError: when the file is missing, unreadable, or of another architecture, naming the parameter.
    """
    file = _file(user_path(path))
    state = {name.removeprefix("module."): value for name, value in _read(file).items()}
    translate = getattr(module, "standard_names", None)
    if translate is not None:
        state = translate(state)
    own = module.state_dict()
    state = {name: value for name, value in state.items() if name in own or not name.startswith(HEADS)}
    _check(module, state, file)
    module.load_state_dict({name: state.get(name, value) for name, value in own.items()})


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    inside = sorted(file for file in path.glob("*") if file.suffix in (".safetensors", ".pt", ".pth")) if path.is_dir() else []
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise UserError(f"{path} holds {len(inside)} weight files; give one of them: {', '.join(file.name for file in inside)}")
    raise UserError(f"{path} is no weight file; give a .safetensors, .pt or .pth file")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's age; what is wrong with it is told next
            safe = path.suffix == ".safetensors"
            result: Any = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Weights only" in str(error):
            otherwise = "holds more than weights, and reading that could run code; save its state_dict() alone"
            raise UserError(told(path, otherwise, ("zip",))) from None
        raise UserError(told(path, f"is not a weight file ({_first_line(error)})", ("zip",))) from None
    except Exception as error:  # a damaged file fails in many ways
        otherwise = f"cannot be read ({_first_line(error)}); it may be cut short, copy it again"
        raise UserError(told(path, otherwise, ("zip",))) from None
    for wrapper in WRAPPERS:
        if isinstance(result, Mapping) and isinstance(result.get(wrapper), Mapping):
            result = result[wrapper]
    if not isinstance(result, Mapping) or not all(isinstance(value, Tensor) for value in result.values()):
        raise UserError(f"{path} does not map names to weights; save the model's state_dict()")
    return dict(result)


def _check(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    left = [name for name in state if name not in own]
    wanted, given = (any("running_mean" in name for name in names) for names in (own, state))
    if wanted != given:
        raise UserError(f"{path}: {_about_norms(module, given)}")
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of {len(own)} parameters, first {missing[0]}; it is of another architecture"
        )
    if left:
        raise UserError(f"{path} has {len(left)} parameters that the model lacks, first {left[0]}; it is of another architecture")
    for name, value in own.items():
        if name in state and state[name].shape != value.shape:
            raise UserError(
                f"{path}: {name} is {list(state[name].shape)}, the model has {list(value.shape)}; it is of another size"
            )


def _about_norms(module: nn.Module, given: bool) -> str:
    """Which setting fits a file with norms, or one without: VGG has them or not, other encoders have them apart or folded."""
    if hasattr(getattr(module, "config", None), "batch_norm"):
        has, setting = ("has", "true") if given else ("has no", "false")
        return f"it {has} batch norm; this needs an encoder with batch_norm: {setting}"
    place, setting = ("apart from", "false") if given else ("folded into", "true")
    return f"batch norm is {place} its convolutions; this needs an encoder with folded: {setting}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
