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
    from braid.trained import train

__version__ = "0.1.0"
__all__ = ["__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    """Find ``load`` and ``train`` when they are first asked for, so that ``import braid`` is instant and imports no torch."""
    # by name: an import statement here would put the roof under every floor
    if name == "load":
        return import_module("braid.api").load
    if name == "train":
        return import_module("braid.trained").train
    raise AttributeError(f"module 'braid' has no attribute {name!r}")
