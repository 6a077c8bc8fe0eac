"""How fast does a photo become the square that a model sees? Braid's one path beside plain Pillow, on one core.

    python benchmarks/decoding.py --data flickr8k/captions.jsonl

Photos of 500 x 375 and of 12 megapixels are made by enlarging those of the data set, so they hold less detail than a camera's and
their bytes are read faster on both sides. Plain Pillow opens, converts to RGB, resizes the shorter side and cuts the middle out.
Every ratio is the median of seven, both sides in turn, in CPU time.
"""

import argparse
import io
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from braid.datasets import open_dataset
from braid.modalities import ImageModalityConfig
from runs import report

SIZE, TIMES, QUALITY = 224, 7, 90
SHAPES = (("500 x 375", (500, 375), 24), ("4000 x 3000", (4000, 3000), 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    chosen = parser.parse_args()
    photos = [example.fields["image"] for example in open_dataset(chosen.data).split("all")[:24]]
    modality = ImageModalityConfig(size=SIZE, resize="crop").build()
    rows = []
    for name, shape, number in SHAPES:
        files = [enlarged(photo, shape) for photo in photos[:number]]
        plain, braid = in_turn([pillow, lambda file: modality.prepare(file).pixels], files)
        greatest, mean = differences([(pillow(file), modality.prepare(file).pixels) for file in files])
        ratio = float(np.median(plain / braid))
        rows.append([name, f"{1 / np.median(plain):.0f}", f"{1 / np.median(braid):.0f}", f"{ratio:.2f}", greatest, f"{mean:.2f}"])
    how = (
        f"JPEG of quality {QUALITY} from memory to {SIZE} x {SIZE} x 3 pixels, middle square, bilinear. The difference is to "
        "plain Pillow's pixels (0 to 255), which round once more: it resizes first and cuts then."
    )
    columns = ["photo", "plain Pillow, photos a second", "Braid", "ratio", "largest difference", "mean difference"]
    report("decoding", "Decoding photos", columns, rows, how)


def enlarged(photo: str, shape: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    with Image.open(photo) as image:
        image.convert("RGB").resize(shape, Image.Resampling.BICUBIC).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def pillow(file: bytes) -> np.ndarray:
    """What most scripts do."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    scale = SIZE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


def in_turn(ways: Sequence[Callable[[bytes], np.ndarray]], files: Sequence[bytes]) -> np.ndarray:
    """Seconds a file, ``[ways, times]``; the first round warms up."""
    result = []
    for _ in range(TIMES + 1):
        turn = []
        for way in ways:
            started = time.process_time()
            for file in files:
                way(file)
            turn.append((time.process_time() - started) / len(files))
        result.append(turn)
    return np.array(result[1:]).T


def differences(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[int, float]:
    apart = np.stack([np.abs(one.astype(int) - other) for one, other in pairs])
    return int(apart.max()), float(apart.mean())


if __name__ == "__main__":
    main()
