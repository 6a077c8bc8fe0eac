"""The rows of the built-in model that hears: sounds with their labels, and what people may say of them (words.yaml).

    python -m braid.recipes.sounds.describe_sounds runs/sounds.jsonl --esc10 data/esc10/clips.jsonl --urban URBAN/audio

Fold 5 of ESC-10 and fold 10 of UrbanSound8K are val; all other folds that are there are train.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from braid.files import write_whole

WORDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
URBAN = (  # by the second number in a file's name
    "air conditioner",
    "car horn",
    "children playing",
    "dog bark",
    "drilling",
    "engine idling",
    "gun shot",
    "jackhammer",
    "siren",
    "street music",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--esc10", type=Path, required=True, help="a table with audio, label, fold")
    parser.add_argument("--urban", type=Path, required=True, help="the folder of fold1, fold2, ...")
    chosen = parser.parse_args()
    rows = [described(*row) for row in (*of_esc10(chosen.esc10), *of_urban(chosen.urban))]
    write_whole(chosen.output, "".join(json.dumps(row) + "\n" for row in rows))
    print(f"{chosen.output}: {Counter(row['split'] for row in rows)}")


def of_esc10(table: Path) -> Iterator[tuple[Path, str, str]]:
    for line in table.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield table.parent / row["audio"], row["label"], "val" if row["fold"] == 5 else "train"


def of_urban(folder: Path) -> Iterator[tuple[Path, str, str]]:
    for file in sorted(folder.glob("fold*/*.wav")):
        yield file, URBAN[int(file.name.split("-")[1])], "val" if file.parent.name == "fold10" else "train"


def described(file: Path, label: str, split: str) -> dict[str, Any]:
    captions = [frame.format(wording) for wording in WORDS["sounds"][label] for frame in WORDS["frames"]]
    return {"audio": str(file.resolve()), "label": label, "captions": captions, "split": split}


if __name__ == "__main__":
    main()
