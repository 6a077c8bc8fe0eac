"""A folder of files (images, or any other modality with files), with or without captions in a text file of the same name.
Folders named train, val and test are splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.datasets.dataset import SPLITS, Dataset, SkippedRow, file_kinds, kept_texts, with_splits
from braid.errors import Missing, UserError
from braid.files.text import read_lines
from braid.records import Example


def recognise(path: Path) -> bool:
    return path.is_dir() and any(file.with_suffix(".txt").is_file() for file in _files(path))


def holds_files(path: Path) -> bool:
    """Whether a folder has files of any modality, with or without captions."""
    return path.is_dir() and bool(_files(path))


def _files(path: Path) -> dict[Path, str]:
    """The files of all modalities and their kinds, sorted."""
    by_suffix = {suffix: kind for kind, config in reversed(file_kinds().items()) for suffix in config.suffixes}
    files = ((file, by_suffix.get(file.suffix.lower(), "")) for file in sorted(path.rglob("*")))
    return {file: kind for file, kind in files if kind and (file.is_file() or file.is_symlink())}


def _rows(files: Mapping[Path, str]) -> list[dict[str, Path]]:
    """Files of the same name and different kinds (dog.jpg, dog.wav) form one row; any other file is its own row."""
    named: dict[Path, list[tuple[Path, str]]] = {}
    for file, kind in files.items():
        named.setdefault(file.with_suffix(""), []).append((file, kind))
    rows: list[dict[str, Path]] = []
    for group in named.values():
        together = {kind: file for file, kind in group}
        rows += [together] if len(together) == len(group) else [{kind: file} for file, kind in group]
    return rows


def open_folder(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per file; each line of its text file is a caption. Without any text files, rows have no captions."""
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    files = _files(path)
    described = any(file.with_suffix(".txt").is_file() for file in files)
    for row in _rows(files):
        file = next(iter(row.values()))
        name, text = str(file.relative_to(path)), file.with_suffix(".txt")
        fields: dict[str, Any] = {kind: str(one) for kind, one in row.items()}
        try:
            if described:
                given = [(f"{text.name}, line {number}", line) for number, line in enumerate(read_lines(text), 1)]
                fields["captions"] = kept_texts(given, "caption", "image", skipped)
        except FileNotFoundError:
            skipped.append(SkippedRow(name, f"has no captions; write them to {text.name} beside it, one a line", missing=True))
        except UserError as error:
            reason = str(error).removeprefix(f"{text} ")
            skipped.append(SkippedRow(name, f"{text.name} {reason}", isinstance(error, Missing)))
        else:
            parts = file.relative_to(path).parts
            examples.append(Example(name, fields, SPLITS.get(parts[0].lower(), "") if len(parts) > 1 else "", name))
    kind = "folder of files" + (" with text files" if described else "")
    return Dataset(str(path), kind, with_splits(examples), tuple(skipped))
