"""The elements of a scene (words, objects, background), and its pixels.

Lengths are fractions of the image's side; y grows downwards.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from braid.shapes import Bool, Float, UInt8

SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
# Additional shapes and colours for the training of a richer world: with few pairs, a model learns pairs, not colour and shape.
MORE_SHAPES = ("diamond", "pentagon", "oval", "flower", "sun", "arrow")
MORE_COLOURS = ("gold", "teal", "slate", "crimson", "maroon", "indigo", "lime", "magenta", "olive", "plum", "rust", "mint")
TEXTURES = ("plain", "striped", "dotted")
SIZES = ("small", "large")
TONES = ("white", "grey", "black", "beige")
BACKGROUNDS = ("plain", "gradient", "noise", "checks")
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")

Pair = tuple[str, str]  # (colour, shape)
Direction = Literal["left", "right", "above", "below"]
INK = {
    "red": (217, 48, 48),
    "orange": (246, 138, 24),
    "yellow": (250, 214, 44),
    "green": (52, 160, 78),
    "blue": (44, 104, 222),
    "purple": (136, 62, 186),
    "pink": (247, 134, 184),
    "brown": (132, 84, 50),
    "gold": (222, 160, 45),
    "teal": (45, 138, 140),
    "slate": (88, 92, 100),
    "crimson": (195, 42, 96),
    "maroon": (148, 42, 58),
    "indigo": (70, 78, 160),
    "lime": (173, 214, 65),
    "magenta": (202, 89, 170),
    "olive": (149, 147, 45),
    "plum": (148, 38, 123),
    "rust": (203, 88, 24),
    "mint": (105, 177, 136),
}
PAPER = {"white": (245, 243, 238), "grey": (176, 180, 187), "black": (36, 38, 46), "beige": (228, 211, 182)}
CONTRAST = {"gradient": 0.42, "noise": 0.30, "checks": 0.13}  # deviation of a background from its tone, as a share of the range
SAMPLES = 3  # samples per side of a pixel
DIRECTIONS = 1024  # length of an outline's table
RIM = 0.88  # share of the radius; the ink is darker outside of it
PERIOD = 0.066  # distance of stripes and dots

# A quarter of all pairs, two colours per shape. They occur only in the split `compositional`.
HELD_OUT: tuple[Pair, ...] = tuple((c, s) for i, c in enumerate(COLOURS) for j, s in enumerate(SHAPES) if (i + j) % 4 == 0)
SEEN: tuple[Pair, ...] = tuple((c, s) for c in COLOURS for s in SHAPES if (c, s) not in HELD_OUT)
ALL_SHAPES, ALL_COLOURS = (*SHAPES, *MORE_SHAPES), (*COLOURS, *MORE_COLOURS)
RICHER: tuple[Pair, ...] = tuple((c, s) for c in ALL_COLOURS for s in ALL_SHAPES if (c, s) not in HELD_OUT)

LOW, MIDDLE, HIGH = (0.0, 0.37), (0.42, 0.58), (0.63, 1.0)  # thirds with gaps; a position in a gap has no name


@dataclass(frozen=True)
class SceneObject:
    """One shape. ``radius`` is the radius of a disc with the same area; ``angle`` (radians) rotates it clockwise."""

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
        """Its place in the image, one of ``PLACES``; None if ambiguous."""
        column, row = _third(self.x), _third(self.y)
        return None if column is None or row is None else PLACES[3 * row + column]

    def direction_of(self, other: "SceneObject") -> Direction | None:
        """The side of ``other`` on which it clearly lies; None on a diagonal."""
        across, down = self.x - other.x, self.y - other.y
        if max(abs(across), abs(down)) < 1.3 * min(abs(across), abs(down)):
            return None
        if abs(across) > abs(down):
            return "left" if across < 0 else "right"
        return "above" if down < 0 else "below"


@dataclass(frozen=True)
class Background:
    """``angle`` (radians) rotates a gradient or the checks, ``cells`` is the number of checks per row, ``seed`` is for noise."""

    kind: str = "plain"
    tone: str = "white"
    angle: float = 0.0
    cells: int = 6
    seed: int = 0


def _third(value: float) -> int | None:
    return next((i for i, (low, high) in enumerate((LOW, MIDDLE, HIGH)) if low <= value <= high), None)


_THETA = (np.arange(DIRECTIONS) + 0.5) * (2 * np.pi / DIRECTIONS) - np.pi


def _outline(points: Sequence[tuple[float, float]]) -> Float[np.ndarray, " directions"]:
    """Radius by direction of a polygon, scaled to the area of the unit disc; every corner must be visible from the origin."""
    corners = np.array(sorted(points, key=lambda point: np.arctan2(point[1], point[0])))
    edge = np.searchsorted(np.arctan2(corners[:, 1], corners[:, 0]), _THETA, side="right") - 1
    (px, py), (qx, qy) = corners[edge].T, corners[(edge + 1) % len(corners)].T
    radius = (px * qy - py * qx) / (np.cos(_THETA) * (qy - py) - np.sin(_THETA) * (qx - px))
    return np.asarray(radius / np.sqrt(np.mean(radius**2)))


def _regular(corners: int, inner: float = 0.0) -> list[tuple[float, float]]:
    """A polygon with one corner at the top; with ``inner``, a star with this inner radius."""
    radii = [1.0, inner] if inner else [1.0]
    turns = [2 * np.pi * i / (corners * len(radii)) - np.pi / 2 for i in range(corners * len(radii))]
    return [(radii[i % len(radii)] * np.cos(turn), radii[i % len(radii)] * np.sin(turn)) for i, turn in enumerate(turns)]


def _cross(arm: float) -> list[tuple[float, float]]:
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm), (1.0, arm), (arm, arm), (arm, 1.0)]
    return quarter + [(-x, y) for x, y in quarter]


def _heart() -> list[tuple[float, float]]:
    """The curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, upside down."""
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return list(zip((16 * np.sin(t) ** 3).tolist(), (y - 1.0).tolist(), strict=True))


def _round(radius: Callable[[float], tuple[float, float]]) -> list[tuple[float, float]]:
    """Half-axes by direction."""
    return [(x * np.cos(t), y * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 192, endpoint=False) for x, y in [radius(t)]]


def _petals(t: float) -> tuple[float, float]:
    return (1 + 0.25 * np.cos(6 * t),) * 2


_ARROW = [(1.2, 0.0), (-0.1, 0.95), (-0.1, 0.35), (-1.1, 0.35), (-1.1, -0.35), (-0.1, -0.35), (-0.1, -0.95)]

OUTLINES = {
    "circle": np.ones(DIRECTIONS),
    "square": _outline([(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)]),
    "triangle": _outline(_regular(3)),
    "star": _outline(_regular(5, inner=0.5)),
    "cross": _outline(_cross(0.38)),
    "heart": _outline(_heart()),
    "diamond": _outline([(0.0, 1.3), (-0.8, 0.0), (0.0, -1.3), (0.8, 0.0)]),
    "pentagon": _outline(_regular(5)),
    "oval": _outline(_round(lambda t: (1.35, 0.75))),
    "flower": _outline(_round(_petals)),
    "sun": _outline(_regular(9, inner=0.68)),
    "arrow": _outline(_ARROW),
}


def reach(shape: str) -> float:
    """How far a shape of radius 1 extends from its centre."""
    return float(OUTLINES[shape].max())


def render(objects: Sequence[SceneObject], background: Background, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Render the image as uint8."""
    return paint_objects(paint_background(background, size), objects, size)


def paint_objects(
    background: Float[np.ndarray, "size size 3"], objects: Sequence[SceneObject], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Objects on a painted background, which stays as it is; later objects cover earlier ones."""
    image = background.copy()
    for item in objects:
        rows, columns, ink, accent, rim = _shares(item, size)
        window = image[rows, columns]
        base = np.array(INK[item.colour], dtype=np.float64)
        bright = base @ (0.299, 0.587, 0.114) > 150  # a light colour is patterned with a darker one
        other = 0.62 * base if bright else 0.4 * base + 0.6 * 255
        window *= (1 - ink - accent - rim)[..., None]
        window += ink[..., None] * base + accent[..., None] * other + rim[..., None] * (0.72 * base)
    return np.rint(image).astype(np.uint8)


def object_masks(objects: Sequence[SceneObject], size: int) -> Bool[np.ndarray, "objects size size"]:
    """The pixels that each object covers by at least half."""
    masks = np.zeros((len(objects), size, size), dtype=bool)
    for mask, item in zip(masks, objects, strict=True):
        rows, columns, ink, accent, rim = _shares(item, size)
        mask[rows, columns] = ink + accent + rim >= 0.5
    return masks


Share = Float[np.ndarray, "rows columns"]


@lru_cache(16)  # in a clip, most objects stand still from frame to frame
def _shares(item: SceneObject, size: int) -> tuple[slice, slice, Share, Share, Share]:
    """The window of pixels around an object, and the share of each pixel that is ink, accent (stripes, dots) and rim."""
    extent = item.radius * reach(item.shape)
    rows, columns = _window(item.y, extent, size), _window(item.x, extent, size)
    step = 1 / (SAMPLES * size)
    y = (np.arange(SAMPLES * rows.start, SAMPLES * rows.stop) + 0.5)[:, None] * step - item.y
    x = (np.arange(SAMPLES * columns.start, SAMPLES * columns.stop) + 0.5) * step - item.x
    direction = ((np.arctan2(y, x) - item.angle) * (DIRECTIONS / (2 * np.pi)) + DIRECTIONS / 2).astype(np.int64) % DIRECTIONS
    outline = OUTLINES[item.shape][direction] * item.radius
    distance = np.hypot(x, y)
    inside, inner = distance < outline, distance < RIM * outline
    marked = inner & _texture(item, x, y) if item.texture != "plain" else np.zeros_like(inner)
    return rows, columns, _pooled(inner & ~marked), _pooled(marked), _pooled(inside & ~inner)


def _window(centre: float, extent: float, size: int) -> slice:
    return slice(max(0, int((centre - extent) * size)), min(size, int((centre + extent) * size) + 2))


def _pooled(samples: Bool[np.ndarray, "fine_rows fine_columns"]) -> Share:
    height, width = samples.shape
    return samples.reshape(height // SAMPLES, SAMPLES, width // SAMPLES, SAMPLES).mean((1, 3))


def _texture(item: SceneObject, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mask of the accent: slanted stripes, or dots in a hexagonal lattice; both rotate with the object."""
    turn = item.angle + np.pi / 4
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    if item.texture == "striped":
        return np.asarray((along / PERIOD + 0.25) % 1 < 0.5)
    row = np.floor(across / PERIOD + 0.5)
    shifted = along / PERIOD + 0.5 * (row % 2) + 0.5
    return np.asarray(np.hypot(shifted % 1 - 0.5, across / PERIOD - row) < 0.33)


def paint_background(background: Background, size: int) -> Float[np.ndarray, "size size 3"]:
    """The tone, made lighter or darker by a pattern in -1..1."""
    tone = np.array(PAPER[background.tone], dtype=np.float64)
    if background.kind == "plain":
        return np.broadcast_to(tone, (size, size, 3)).copy()
    away = -1 if tone.mean() > 127 else 1  # a light background gets darker, a dark one lighter
    pattern = _pattern(background, (np.arange(size) + 0.5) / size - 0.5)
    shade = away * CONTRAST[background.kind] * 255 * (pattern + 1) / 2
    return np.asarray(tone + (shade * (0.5 if away > 0 else 0.75))[..., None])


def _pattern(background: Background, at: Float[np.ndarray, " size"]) -> Float[np.ndarray, "size size"]:
    x, y = at[None, :], at[:, None]
    cos, sin = np.cos(background.angle), np.sin(background.angle)
    if background.kind == "gradient":
        return np.asarray((x * cos + y * sin) * 2 / (abs(cos) + abs(sin)))
    if background.kind == "checks":
        columns, rows = np.floor(x * background.cells + 0.25), np.floor(y * background.cells + 0.25)
        return np.asarray((columns + rows) % 2 * 2 - 1)
    rng = random.Random(background.seed)
    return _clouds(rng, 5, at) * 0.65 + _clouds(rng, 11, at) * 0.35


def _clouds(rng: random.Random, knots: int, at: Float[np.ndarray, " size"]) -> Float[np.ndarray, "size size"]:
    """Smooth noise: random values on a grid of knots, interpolated."""
    values = np.array([rng.uniform(-1, 1) for _ in range(knots * knots)]).reshape(knots, knots)
    position = (at + 0.5) * (knots - 1)
    nearness = np.clip(1 - abs(position[:, None] - np.arange(knots)), 0, 1)
    weights = nearness * nearness * (3 - 2 * nearness)
    return np.asarray(weights @ values @ weights.T)
