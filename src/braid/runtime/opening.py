"""The choice between the torch and the ONNX runtime; only the chosen one is imported."""

from importlib.util import find_spec

from braid.bundle import WEIGHTS, Bundle
from braid.errors import UserError
from braid.generation import Runtime


def open_runtime(bundle: Bundle, name: str = "", device: str = "auto", precision: str = "float32") -> Runtime:
    """Open a bundle for predictions.

    Args:
        name: ``torch`` or ``onnx``. "" chooses torch for a GPU or bfloat16, else onnx if the folder has graphs, else torch.
        device: the device of torch: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` is a GPU if there is one.
        precision: ``float32``, or ``bfloat16`` for what torch computes once per row.
    Raises:
        UserError: for another name or precision, or a device that does not exist.
    """
    if name not in ("", "torch", "onnx"):
        raise UserError(f"there is no runtime {name!r}; choose torch or onnx")
    on_gpu = device not in ("auto", "cpu")
    if name == "onnx" and on_gpu:
        raise UserError(f"the onnx runtime computes on the processor, not on {device!r}; remove one of the two")
    if precision not in ("float32", "bfloat16"):
        raise UserError(f"there is no precision {precision!r}; choose float32 or bfloat16")
    low_precision = precision == "bfloat16"
    if name == "onnx" and low_precision:
        raise UserError("the onnx runtime computes in float32, or in 8 bit (braid export --int8); remove the precision")
    has_graphs = next(bundle.folder.glob("*.onnx"), None) is not None
    if name == "torch" or on_gpu or low_precision or (not name and not has_graphs and has_torch(bundle)):
        from braid.runtime.device import find_device
        from braid.runtime.torch import TorchRuntime, load_model

        return TorchRuntime(load_model(bundle), bundle.tokenizer, find_device(device), low_precision)
    from braid.runtime.onnx import OnnxRuntime

    return OnnxRuntime(bundle)


def has_torch(bundle: Bundle) -> bool:
    """Whether torch is installed, and the bundle has an architecture and weights."""
    return find_spec("torch") is not None and bundle.architecture is not None and (bundle.folder / WEIGHTS).is_file()
