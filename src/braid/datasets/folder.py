"""A folder of pictures, alone or each with captions in a text file of the same name; folders train, val and test are splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.datasets.dataset import BrokenRow, Dataset, Missing, clean_captions, with_splits
from braid.errors import UserError
from braid.records import Example

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}


def recognise(path: Path) -> bool:
    return path.is_dir() and any(picture.with_suffix(".txt").is_file() for picture in _pictures(path))


def holds_pictures(path: Path) -> bool:
    """Whether it is a folder of pictures at all, described or alone."""
    return path.is_dir() and bool(_pictures(path))


def _pictures(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES and (file.is_file() or file.is_symlink()))


def open_folder(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example a picture; a caption a line of its text file. Where no picture has one, they are pictures alone."""
    examples: list[Example] = []
    broken: list[BrokenRow] = []
    pictures = _pictures(path)
    described = any(picture.with_suffix(".txt").is_file() for picture in pictures)
    for picture in pictures:
        name = str(picture.relative_to(path))
        text = picture.with_suffix(".txt")
        fields: dict[str, Any] = {"image": str(picture)}
        try:
            if described:
                fields["captions"] = clean_captions(text.read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            broken.append(BrokenRow(name, f"has no captions; write them to {text.name} beside it, one a line", missing=True))
        except UnicodeDecodeError:
            broken.append(BrokenRow(name, f"{text.name} is not UTF-8 text; save it as UTF-8"))
        except UserError as error:
            broken.append(BrokenRow(name, f"{text.name} {error}", isinstance(error, Missing)))
        else:
            parts = picture.relative_to(path).parts
            examples.append(Example(name, fields, SPLITS.get(parts[0].lower(), "") if len(parts) > 1 else "", name))
    kind = "folder of pictures" + (" with text files" if described else "")
    return Dataset(str(path), kind, with_splits(examples), tuple(broken))
