"""Captions of everyday photos in two languages for the built-in model: one table from Flickr8k, its Chinese captions, and COCO's.

    python -m braid.recipes.small.everyday ../shared/data runs/everyday.jsonl --more runs/more.jsonl
    python -m braid.recipes.small.everyday ../shared/data runs/references.jsonl --references

The captions of a photo in one language are a row. Chinese captions by people are those of Flickr8k's photos; COCO's training
photos get short ones made from their English captions by rules (in_chinese.py). The photos of validation questions are left out
of training, or captions would give their answers away. Rows stand in a random order, so that the first of a split stand for all.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from braid.files import write_whole
from braid.recipes.small.in_chinese import captions_in_chinese

SOURCES = {
    "flickr8k/captions.jsonl": "en",
    "flickr8k-cn/captions_zh.jsonl": "zh",
    "coco-val2017/captions.jsonl": "en",
    "coco2014-captioned/captions.jsonl": "en",
    "coco2014-cocoqa/captions.jsonl": "en",
}
QUESTIONS = "coco-vqa/qa.jsonl"
SHORTEST = 5  # English words of a caption; less is a phrase, such as "a blue sky" among COCO-QA's statements
LEAST = 3  # captions of a photo that rewards are measured against


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data sets")
    parser.add_argument("output", type=Path)
    parser.add_argument("--references", action="store_true", help="only photos with several captions by people")
    parser.add_argument("--more", type=Path, help="rows to add, as more_photos.py writes them")
    chosen = parser.parse_args()
    found = list(rows(chosen.data, chosen.references))
    found += map(json.loads, chosen.more.read_text(encoding="utf-8").splitlines()) if chosen.more else ()
    random.Random(0).shuffle(found)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(chosen.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found))
    print(f"{chosen.output}: {Counter((row['split'], row['language']) for row in found)}")


def rows(data: Path, references: bool) -> Iterator[dict[str, Any]]:
    asked = _asked_about(data / QUESTIONS)
    for name, language in SOURCES.items():
        path = data / name
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["split"] not in ("train", "val") or (references and len(row["captions"]) < LEAST):
                continue
            common = {"image": str((path.parent / row["image"]).resolve()), "split": row["split"]}
            if row["split"] == "train" and common["image"] in asked:
                continue
            captions = [
                caption for caption in row["captions"] if row["split"] == "val" or language != "en" or _is_sentence(caption)
            ]
            if captions:
                yield {**common, "language": language, "captions": captions}
            made = name.startswith("coco") and row["split"] == "train" and not references
            if made and (own := captions_in_chinese(row["captions"])):
                yield {**common, "language": "zh", "captions": own}


def _is_sentence(caption: str) -> bool:
    return len(caption.split()) >= SHORTEST


def _asked_about(path: Path) -> set[str]:
    """The photos of validation questions."""
    found = map(json.loads, path.read_text(encoding="utf-8").splitlines()) if path.exists() else ()
    return {str((path.parent / row["image"]).resolve()) for row in found if row["split"] == "val"}


if __name__ == "__main__":
    main()
