"""Braid: a multimodal language model that people train, compare, explain and serve on their own data.

import braid

model = braid.load()
model.caption("dog.jpg")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braid.api import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Find ``load`` when it is first asked for, so that ``import braid`` is instant and imports no torch."""
    if name == "load":
        return import_module("braid.api").load  # by name: an import statement here would put the roof under every floor
    raise AttributeError(f"module 'braid' has no attribute {name!r}")
