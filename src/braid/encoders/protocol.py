"""An encoder in two parts: ``describe`` may be frozen and its results cached, while ``read`` is trained."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import nn

from braid.records import Features, Padded


@runtime_checkable
class TwoPartEncoder(Protocol):
    """``encoder(inputs)`` is ``read(describe(inputs))``."""

    @property
    def described_by(self) -> Iterable[nn.Module]:
        """The modules whose weights ``describe`` uses."""
        ...

    def describe(self, inputs: Padded) -> Features: ...

    def read(self, described: Features) -> Features: ...
