"""What every index is: vectors under ids, each with metadata, found again by their cosine with a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from braid.errors import UserError
from braid.shapes import Float


@dataclass(frozen=True)
class Origin:
    """The model that made the vectors: its name, and a hash of all that they depend on (weights, tokenizer)."""

    name: str
    hash: str

    def __str__(self) -> str:
        return f"{self.name} ({self.hash[:12]})"


@dataclass(frozen=True)
class Hit:
    """One row found: ``score`` is the cosine, -1 to 1; ``metadata`` is what was given with it, as JSON gives it back."""

    id: str
    score: float
    metadata: Any


@runtime_checkable
class Index(Protocol):
    """One opened index. One process may change it while others read what it saved last; they see more when they open it anew."""

    folder: Path

    @property
    def width(self) -> int: ...

    @property
    def origin(self) -> Origin: ...

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[str], vectors: Float[np.ndarray, "n width"], metadata: Sequence[Any] | None = None) -> None:
        """Add rows, all or none; vectors are brought to length 1.

        Raises:
            UserError: naming the row, for a vector of another width, of zeros or NaN, an id that is there already, metadata
                that is not JSON.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Delete rows, all or none.

        Raises:
            UserError: naming an id that is not there.
        """

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that are in the index."""
        ...

    def search(self, vectors: Float[np.ndarray, "n width"], top: int = 10) -> list[list[Hit]]:
        """The ``top`` nearest rows of each query, best first; fewer where the index holds fewer.

        Raises:
            UserError: as ``add`` does for vectors.
        """

    def save(self) -> None:
        """Keep all changes since the last ``save``: whole, or not at all when the process is killed.

        A database keeps each change when it is made; there this only tidies up.
        """

    def close(self) -> None:
        """Let go of the files; what was not saved is lost."""


def needed(package: str, extra: str) -> Any:
    """Import a package that an extra brings.

    Raises:
        UserError: with the command that installs it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError:
        name = package.partition(".")[0]
        raise UserError(f'this index needs {name}, which is not installed; run: pip install "braidlm[{extra}]"') from None
