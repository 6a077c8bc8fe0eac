"""More photos for the built-in model, from public repositories: everyday photos with a caption each, and photos of single things.

    git clone https://github.com/Sarthak-Thareja/semantic-image-search   # 1,999 photos of COCO, data/captions.csv
    git clone https://github.com/MachineLearning2020/Homework2-Caltech101
    git clone https://github.com/marcusklasson/GroceryStoreDataset
    git clone https://github.com/JoelOscarsson/dl-assignment             # data/flowers
    python -m braid.recipes.small.more_photos FOLDER ../shared/data runs/more.jsonl

FOLDER holds the four clones. Photos of single things get captions from the name of their class. A photo that looks like one of
COCO's in ../shared/data is left out, because that may be a photo of validation.
"""

import argparse
import csv
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from braid.cli.console import progress
from braid.files import write_whole
from braid.recipes.small.in_chinese import captions_in_chinese
from braid.shapes import Bool

WORDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "more-photos.yaml").read_text(encoding="utf-8"))
KNOWN = ("coco-val2017", "coco2014-captioned", "coco2014-cocoqa")
INVENTED = ("sample_0.jpg", "sample_1.jpg", "sample_2.jpg")  # not of COCO, and their captions say something else
SIDE = 12  # of the thumbnails that are compared
ALIKE = 16  # differing signs of 132, at most, of two versions of a photo

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path)
    parser.add_argument("data", type=Path, help="the folder with the data sets")
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    everyday = list(_captioned(chosen.clones / "semantic-image-search/data"))
    known = np.stack([_signs(path) for path in progress(_known(chosen.data), "looking at known photos")])
    new = [row for row in progress(everyday, "looking at new photos") if not _is_known(row["image"], known)]
    things = [*_caltech(chosen.clones), *_flowers(chosen.clones), *_groceries(chosen.clones)]
    rows = [*new, *things]
    write_whole(chosen.output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for row in rows for line in _lines(row)))
    print(f"{chosen.output}: {len(new):,} of {len(everyday):,} captioned photos are new; {len(things):,} photos of things")


def _captioned(folder: Path) -> Iterator[Row]:
    with open(folder / "captions.csv", encoding="utf-8", newline="") as file:
        for name, caption in csv.reader(file):
            if name not in INVENTED:
                yield _row(folder / "images" / name, [caption])


def _caltech(clones: Path) -> Iterator[Row]:
    folder = clones / "Homework2-Caltech101/101_ObjectCategories"
    for name, thing in WORDS["caltech"].items():
        yield from _of_class(sorted((folder / name).glob("*.jpg")), "caltech", thing, WORDS["said"])


def _flowers(clones: Path) -> Iterator[Row]:
    for name, thing in WORDS["flowers"].items():
        photos = [path for path in sorted((clones / "dl-assignment/data/flowers" / name).glob("*.jpg")) if "aug" not in path.name]
        yield from _of_class(photos, "flowers", thing, WORDS["said"])


def _groceries(clones: Path) -> Iterator[Row]:
    for name, thing in WORDS["groceries"].items():
        photos = sorted((clones / "GroceryStoreDataset/dataset/train").glob(f"*/{name}/**/*.jpg"))
        yield from _of_class(photos, "groceries", thing, WORDS["sold"])


def _of_class(photos: Sequence[Path], source: str, thing: str, said: Sequence[str]) -> Iterator[Row]:
    chance = random.Random(thing)
    for path in chance.sample(photos, min(len(photos), WORDS["each"][source])):
        yield _row(path, [sentence.replace("THING", thing) for sentence in chance.sample(said, 2)])


def _row(path: Path, captions: Sequence[str]) -> Row:
    return {"image": str(path.resolve()), "split": "train", "language": "en", "captions": list(captions)}


def _lines(row: Row) -> Iterator[Row]:
    """The row, and one in Chinese where its captions can be said so."""
    yield row
    if own := captions_in_chinese([caption.replace("a close up of ", "") for caption in row["captions"]]):
        yield {**row, "language": "zh", "captions": own}


def _known(data: Path) -> list[Path]:
    return [path for name in KNOWN for path in sorted((data / name / "images").iterdir())]


def _signs(path: str | Path) -> Bool[np.ndarray, " signs"]:
    """Whether each place of a thumbnail is brighter than its left neighbour (a difference hash)."""
    with Image.open(path) as image:
        small = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.int16)
    return (np.diff(small, axis=1) > 0).ravel()


def _is_known(path: str, known: Bool[np.ndarray, "photos signs"]) -> bool:
    return bool(((known != _signs(path)).sum(1) <= ALIKE).any())


if __name__ == "__main__":
    main()
