"""Braid: a multimodal language model that people train, compare, explain and serve on their own data.

import braid

model = braid.load()
model.caption("dog.jpg")
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: spinning barriers are up to 50 times slower on a busy core

if TYPE_CHECKING:
    from braid.api import load
    from braid.tables import evaluate, predict
    from braid.trained import train

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load", "predict", "train"]

_FOUND = {"evaluate": "braid.tables", "load": "braid.api", "predict": "braid.tables", "train": "braid.trained"}


def __getattr__(name: str) -> Any:
    """Find a function when it is first asked for, so that ``import braid`` is instant and imports no torch."""
    if name in _FOUND:
        return getattr(import_module(_FOUND[name]), name)  # an import statement would put the roof under every floor
    raise AttributeError(f"module 'braid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
