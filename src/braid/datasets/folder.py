"""A folder of files (images, or any other modality with files), with or without captions in a text file of the same name.
Folders named train, val and test are splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.datasets.dataset import SPLITS, Dataset, SkippedRow, clean_captions, file_kinds, with_splits
from braid.errors import Missing, UserError
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
                fields["captions"] = clean_captions(text.read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            skipped.append(SkippedRow(name, f"has no captions; write them to {text.name} beside it, one a line", missing=True))
        except UnicodeDecodeError:
            skipped.append(SkippedRow(name, f"{text.name} is not UTF-8 text; save it as UTF-8"))
        except UserError as error:
            skipped.append(SkippedRow(name, f"{text.name} {error}", isinstance(error, Missing)))
        else:
            parts = file.relative_to(path).parts
            examples.append(Example(name, fields, SPLITS.get(parts[0].lower(), "") if len(parts) > 1 else "", name))
    kind = "folder of files" + (" with text files" if described else "")
    return Dataset(str(path), kind, with_splits(examples), tuple(skipped))
