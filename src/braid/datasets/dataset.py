"""What every data format becomes: examples by split, and the rows that could not be read, with reasons."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import crc32

from braid.errors import UserError
from braid.records import Example

VAL_SHARE = 0.1  # of a data set that names no splits


@dataclass(frozen=True)
class BrokenRow:
    """A row that is left out, and why: ``reason`` says what to do about it."""

    source: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Examples as they are on disk; pictures stay paths until a batch needs them."""

    path: str
    format: str
    examples: tuple[Example, ...]
    broken: tuple[BrokenRow, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> column, where the format has columns

    @property
    def splits(self) -> dict[str, int]:
        """Rows by split; "" holds those that the data set assigns to none."""
        return dict(Counter(example.split for example in self.examples))

    def split(self, name: str) -> tuple[Example, ...]:
        """The rows of one split.

        Raises:
            UserError: when there are none, with the splits there are.
        """
        found = tuple(example for example in self.examples if example.split == name)
        if not found:
            there = ", ".join(f"{split or 'unassigned'} ({count})" for split, count in sorted(self.splits.items()))
            raise UserError(f"{self.path} has no rows in split {name!r}; it has {there or 'no rows at all'}")
        return found


def with_splits(examples: Iterable[Example], val_share: float = VAL_SHARE) -> tuple[Example, ...]:
    """Examples as they are if any names a split; else train and val, by a hash of the picture (or text, or id).

    The same picture always lands in the same split, whatever else the data set holds.
    """
    examples = tuple(examples)
    if any(example.split for example in examples):
        return examples
    return tuple(replace(example, split=_split_of(example, val_share)) for example in examples)


def _split_of(example: Example, val_share: float) -> str:
    image = example.fields.get("image")
    identity = Path(image).name if isinstance(image, str | Path) else str(example.fields.get("text", example.id))
    return "val" if crc32(f"braid {identity}".encode()) % 10_000 < 10_000 * val_share else "train"
