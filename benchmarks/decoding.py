"""Speed of image preparation: from a photo to the square input of a model, with Braid and with plain Pillow, on one core.

    python benchmarks/decoding.py --data flickr8k/captions.jsonl

Photos of 500 x 375 and of 12 megapixels are upscaled from the data set, so they have less detail than photos of a camera, and
both sides decode them faster. Plain Pillow opens, converts to RGB, resizes the shorter side and crops the middle.
Every ratio is the median of seven runs in CPU time, both sides in turn.
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
    """The way of most scripts."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    scale = SIZE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


def in_turn(ways: Sequence[Callable[[bytes], np.ndarray]], files: Sequence[bytes]) -> np.ndarray:
    """Seconds per file, ``[ways, times]``; the first round is a warm-up."""
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
    errors = np.stack([np.abs(one.astype(int) - other) for one, other in pairs])
    return int(errors.max()), float(errors.mean())


if __name__ == "__main__":
    main()
