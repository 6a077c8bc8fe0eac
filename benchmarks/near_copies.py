"""How many planted copies does `braid data check --images` find among catalogue photos, and in what time?

    python benchmarks/near_copies.py ../shared/data/products/products.csv                  about 2 minutes of two cores
    python benchmarks/near_copies.py ../shared/data/products/products.csv --made 100000    about 20 minutes of two cores

Copies of --planted photos are written beside the others: encoded again, resized, brightened, or cropped by up to 4%, 8% or 12% of
each side at random. The photos are mostly on white, so that most of them resemble each other. With --made, so many others are
made of the photos: a part of one, with its colours turned, perhaps mirrored.
"""

import argparse
import csv
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from braid.datasets import open_dataset
from braid.datasets.checks import Defect, check
from runs import report, say

KINDS = (
    "encoded again",
    "resized to 60%",
    "brightness and contrast",
    "cropped up to 4%",
    "cropped up to 8%",
    "cropped up to 12%",
)
FOUND = ("duplicate file", "near-duplicate image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--planted", type=int, default=300)
    parser.add_argument("--made", type=int, default=0, help="photos to make of the given ones and to check in their place")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    images = sorted({example.fields["image"] for example in open_dataset(chosen.data).examples})
    rng = np.random.default_rng(chosen.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if chosen.made:
            images = made(images, chosen.made, folder, rng)
        planted = {}
        for number, source in enumerate(rng.choice(images, chosen.planted, replace=False)):
            kind = KINDS[number % len(KINDS)]
            path = folder / f"copy-{number}.jpg"
            changed(Image.open(source).convert("RGB"), kind, rng).save(path, quality=int(rng.integers(50, 90)))
            planted[path.name] = kind
        write_table(folder / "data.csv", [*images, *(folder / name for name in planted)])
        started = time.perf_counter()
        defects = check(open_dataset(folder / "data.csv"), files=True)
        seconds = time.perf_counter() - started
    found = Counter(kind for name, kind in planted.items() if any(names(one, name) for one in defects))
    rows = [
        [kind, sum(one == kind for one in planted.values()), 100 * found[kind] / Counter(planted.values())[kind]]
        for kind in KINDS
    ]
    others = sum(one.kind in FOUND for one in defects) - found.total()
    how = (
        f"{len(images):,} photos and {len(planted)} planted copies, checked in {seconds:.0f} s; seed {chosen.seed}. "
        f"{others} other copies were reported among the photos themselves."
    )
    report(
        f"near_copies{f'_{chosen.made}' if chosen.made else ''}",
        "Planted copies that the data check finds",
        ["copies", "planted", "found, x100"],
        rows,
        how,
    )


def made(images: list[str], number: int, folder: Path, rng: np.random.Generator) -> list[str]:
    """Photos of which each shows half to two thirds of a side of a given one, in other colours."""
    say(f"making {number:,} photos")
    paths = []
    for place, source in enumerate(rng.choice(images, number)):
        photo = Image.open(source).convert("RGB")
        side = int(rng.uniform(0.5, 0.67) * min(photo.size))
        left, top = (int(rng.integers(whole - side + 1)) for whole in photo.size)
        part = photo.crop((left, top, left + side, top + side)).resize((160, 160))
        if rng.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        paths.append(str(folder / f"made-{place:06}.jpg"))
        turned(part, rng).save(paths[-1], quality=85)
    return paths


def turned(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The channels in another order, some of them inverted."""
    channels = [np.asarray(image)[..., place] for place in rng.permutation(3)]
    return Image.fromarray(np.stack([255 - one if rng.random() < 0.3 else one for one in channels], -1))


def changed(image: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    width, height = image.size
    if kind.startswith("resized"):
        return image.resize((round(0.6 * width), round(0.6 * height)))
    if kind.startswith("brightness"):
        brighter = ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.15))
        return ImageEnhance.Contrast(brighter).enhance(rng.uniform(0.8, 1.2))
    if kind.startswith("cropped"):
        left, top, right, bottom = rng.uniform(0, int(kind.split()[-1].rstrip("%")) / 100, 4)
        return image.crop((int(left * width), int(top * height), int(width - right * width), int(height - bottom * height)))
    return image


def names(defect: Defect, name: str) -> bool:
    return defect.kind in FOUND and f"{name} is " in defect.what


def write_table(path: Path, images: list[str | Path]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "split"])
        writer.writerows([str(Path(image).resolve()), "train"] for image in images)


if __name__ == "__main__":
    main()
