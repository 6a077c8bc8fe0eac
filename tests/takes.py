"""A modality of files with times, as much of one as data sets need."""

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from braid.modalities.cells import file_cell
from braid.records import View


@dataclass(frozen=True)
class TakeConfig:
    """Files that end in ``.take``, and parts of them."""

    kind: Literal["take"] = "take"
    columns: ClassVar[tuple[str, ...]] = ("take",)
    suffixes: ClassVar[frozenset[str]] = frozenset({".take"})
    input_name: ClassVar[str] = "take"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = True

    @staticmethod
    def key(value: Any) -> Hashable:
        return value

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> Any:
        ((column, value),) = cells.items()
        return file_cell(value, column)

    @staticmethod
    def from_json(value: Any) -> Any:
        return value

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        return Path(value).read_bytes(), ".take"

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        return View(os.path.basename(str(value)))
