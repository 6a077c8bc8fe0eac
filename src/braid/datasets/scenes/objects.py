"""What a scene is made of: its words, objects and background. Lengths are shares of the picture's side, y grows downwards."""

from dataclasses import dataclass
from typing import Literal

SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
# Of a richer world, that training may show beside these: with few pairs, what is learned is the pairs, not colour and shape.
MORE_SHAPES = ("diamond", "pentagon", "oval", "flower", "sun", "arrow")
MORE_COLOURS = ("gold", "teal", "slate", "crimson", "maroon", "indigo", "lime", "magenta", "olive", "plum", "rust", "mint")
TEXTURES = ("plain", "striped", "dotted")
SIZES = ("small", "large")
TONES = ("white", "grey", "black", "beige")
BACKGROUNDS = ("plain", "gradient", "noise", "checks")
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")

Pair = tuple[str, str]  # (colour, shape)
Direction = Literal["left", "right", "above", "below"]

# A quarter of all pairs, two colours of every shape: they occur in the split `compositional` and nowhere else.
HELD_OUT: tuple[Pair, ...] = tuple((c, s) for i, c in enumerate(COLOURS) for j, s in enumerate(SHAPES) if (i + j) % 4 == 0)
SEEN: tuple[Pair, ...] = tuple((c, s) for c in COLOURS for s in SHAPES if (c, s) not in HELD_OUT)
ALL_SHAPES, ALL_COLOURS = (*SHAPES, *MORE_SHAPES), (*COLOURS, *MORE_COLOURS)
RICHER: tuple[Pair, ...] = tuple((c, s) for c in ALL_COLOURS for s in ALL_SHAPES if (c, s) not in HELD_OUT)

LOW, MIDDLE, HIGH = (0.0, 0.37), (0.42, 0.58), (0.63, 1.0)  # thirds with gaps: what lies in a gap has no place with a name


@dataclass(frozen=True)
class SceneObject:
    """One shape. ``radius`` is that of the disc of the same area; ``angle`` (radians) turns it clockwise."""

    shape: str
    colour: str
    texture: str
    size: str
    x: float
    y: float
    radius: float
    angle: float = 0.0

    @property
    def place(self) -> str | None:
        """Where in the picture it clearly is, one of ``PLACES``; None when that could be disputed."""
        column, row = _third(self.x), _third(self.y)
        return None if column is None or row is None else PLACES[3 * row + column]

    def direction_of(self, other: "SceneObject") -> Direction | None:
        """On which side of ``other`` it clearly lies; None on a diagonal."""
        across, down = self.x - other.x, self.y - other.y
        if max(abs(across), abs(down)) < 1.3 * min(abs(across), abs(down)):
            return None
        if abs(across) > abs(down):
            return "left" if across < 0 else "right"
        return "above" if down < 0 else "below"


@dataclass(frozen=True)
class Background:
    """``angle`` (radians) turns a gradient or the checks, ``cells`` checks stand in a row, ``seed`` fixes the noise."""

    kind: str = "plain"
    tone: str = "white"
    angle: float = 0.0
    cells: int = 6
    seed: int = 0


def _third(value: float) -> int | None:
    return next((i for i, (low, high) in enumerate((LOW, MIDDLE, HIGH)) if low <= value <= high), None)
