"""A folder of pictures, alone or each with captions in a text file of the same name; folders train, val and test are splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.datasets.dataset import Dataset, Missing, SkippedRow, clean_captions, with_splits
from braid.errors import UserError
from braid.records import Example

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}


def recognise(path: Path) -> bool:
    return path.is_dir() and any(image.with_suffix(".txt").is_file() for image in _images(path))


def holds_images(path: Path) -> bool:
    """Whether it is a folder of pictures at all, described or alone."""
    return path.is_dir() and bool(_images(path))


def _images(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGES and (file.is_file() or file.is_symlink()))


def open_folder(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example a picture; a caption a line of its text file. Where no picture has one, they are pictures alone."""
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    images = _images(path)
    described = any(image.with_suffix(".txt").is_file() for image in images)
    for image in images:
        name = str(image.relative_to(path))
        text = image.with_suffix(".txt")
        fields: dict[str, Any] = {"image": str(image)}
        try:
            if described:
                fields["captions"] = clean_captions(text.read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            skipped.append(SkippedRow(name, f"has no captions; write them to {text.name} beside it, one a line", missing=True))
        except UnicodeDecodeError:
            skipped.append(SkippedRow(name, f"{text.name} is not UTF-8 text; save it as UTF-8"))
        except UserError as error:
            skipped.append(SkippedRow(name, f"{text.name} {error}", isinstance(error, Missing)))
        else:
            parts = image.relative_to(path).parts
            examples.append(Example(name, fields, SPLITS.get(parts[0].lower(), "") if len(parts) > 1 else "", name))
    kind = "folder of pictures" + (" with text files" if described else "")
    return Dataset(str(path), kind, with_splits(examples), tuple(skipped))
