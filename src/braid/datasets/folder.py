"""A folder of files (images, or any other modality with files), with or without captions in a text file of the same name.
Folders named train, val and test are splits; otherwise, without text files, the folder of a file is its label."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.datasets.dataset import Dataset, Rows, SkippedRow, file_kinds, kept_texts
from braid.datasets.splits import split_folder, with_splits
from braid.errors import Missing, UserError
from braid.files import composed
from braid.files.reading import Listing, listing
from braid.files.text import read_lines
from braid.modalities import NOT_READ
from braid.records import Example

SHOWN = 5  # labels that a note names
ROWS = "braid data clips FOLDER -o clips.jsonl makes rows of subtitles"
UNREAD = {**NOT_READ, ".vtt": ROWS, ".srt": ROWS}


def recognise(path: Path) -> bool:
    if not path.is_dir():
        return False
    listed = listing(path)
    return bool(_described(listed, _kinds(listed.files)))


def holds_files(path: Path) -> bool:
    """Whether a folder has files of any modality, with or without captions."""
    return path.is_dir() and bool(_kinds(listing(path).files))


def _kinds(files: Iterable[str]) -> dict[str, str]:
    """The files of all modalities and their kinds, in the order of their folders and names."""
    by_suffix = {suffix: kind for kind, config in reversed(file_kinds().items()) for suffix in config.suffixes}
    kinds = {file: kind for file in files if (kind := by_suffix.get(os.path.splitext(file)[1].lower()))}
    return dict(sorted(kinds.items(), key=lambda item: item[0].split(os.sep)))


def _described(listed: Listing, kinds: Mapping[str, str]) -> dict[str, str]:
    """The text files that have the name of a file, by that name."""
    names = {_text_of(file) for file in kinds}
    texts = {composed(file): file for file in listed.files if file.endswith(".txt")}
    return {name: file for name, file in texts.items() if name in names}


def _text_of(file: str) -> str:
    """The name of a file's text file, which may be in another form of Unicode on disk."""
    return composed(f"{os.path.splitext(file)[0]}.txt")


def _rows(kinds: Mapping[str, str]) -> list[dict[str, str]]:
    """Files of the same name and different kinds (dog.jpg, dog.wav) form one row; any other file is its own row."""
    named: dict[str, list[tuple[str, str]]] = {}
    for file, kind in kinds.items():
        named.setdefault(composed(os.path.splitext(file)[0]), []).append((file, kind))
    rows: list[dict[str, str]] = []
    for group in named.values():
        together = {kind: file for file, kind in group}
        rows += [together] if len(together) == len(group) else [{kind: file} for file, kind in group]
    return rows


@dataclass(frozen=True)
class _Folder:
    """What a folder holds: its files by kind in rows, with a name, a split and a label each; and its text files with captions."""

    listed: Listing
    rows: list[dict[str, str]]
    names: list[str]
    placed: list[tuple[str, str]]
    texts: dict[str, str]

    @property
    def labels(self) -> list[str]:
        """The labels, if there are several."""
        labels = sorted({label for _, label in self.placed if label} if not self.texts else ())
        return labels if len(labels) > 1 else []

    @property
    def notes(self) -> tuple[str, ...]:
        more = ", ..." if len(self.labels) > SHOWN else ""
        named = f"labels are the names of {len(self.labels):,} folders: {', '.join(self.labels[:SHOWN])}{more}"
        return (*([named] if self.labels else []), *self.listed.unread(UNREAD))


def _read(path: Path) -> _Folder:
    listed = listing(path)
    kinds = _kinds(listed.files)
    rows, start = _rows(kinds), len(os.path.join(str(path), ""))
    names = [next(iter(row.values()))[start:] for row in rows]
    return _Folder(listed, rows, names, _placed(names), _described(listed, kinds))


def open_folder(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per file; each line of its text file is a caption. Without any text files, rows have no captions, and files in
    several folders have the names of these as labels."""
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    folder = _read(path)
    labels = folder.labels
    for row, name, (split, label) in zip(folder.rows, folder.names, folder.placed, strict=True):
        fields: dict[str, Any] = {kind: os.path.normpath(one) for kind, one in row.items()}
        try:
            if folder.texts:
                fields["captions"] = _captions(_text_of(next(iter(row.values()))), folder.texts, skipped)
            elif labels and label:
                fields["label"] = label
        except UserError as error:
            skipped.append(SkippedRow(name, str(error), isinstance(error, Missing)))
        else:
            examples.append(Example(name, fields, split, name))
    kind = "folder of files" + (" with text files" if folder.texts else ", a folder for each label" if labels else "")
    rows, hidden = Rows(examples), folder.listed.hidden
    return with_splits(Dataset(str(path), kind, rows, tuple(skipped), notes=folder.notes, hidden=hidden))


def table_of_files(path: Path) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """The paths and labels of a folder's files, by role, one dict a row; and what a user should know of them."""
    folder = _read(path)
    labelled = bool(folder.labels)
    rows = [
        {**{kind: os.path.normpath(one) for kind, one in row.items()}, **({"label": label} if labelled else {})}
        for row, (_, label) in zip(folder.rows, folder.placed, strict=True)
    ]
    return rows, folder.notes


def _captions(text: str, texts: Mapping[str, str], skipped: list[SkippedRow]) -> tuple[str, ...]:
    """The lines of a text file; a line that is no text is added to ``skipped``.

    Raises:
        UserError: when it does not exist, is not text, or is empty.
    """
    name = os.path.basename(text)
    if text not in texts or not os.path.isfile(texts[text]):
        raise Missing(f"has no captions; write them to {name} beside it, one a line")
    text = texts[text]
    try:
        given = [(f"{name}, line {number}", line) for number, line in enumerate(read_lines(Path(text)), 1)]
        return kept_texts(given, "caption", "image", skipped)
    except UserError as error:
        raise type(error)(f"{name} {str(error).removeprefix(f'{text} ')}") from None


def _placed(names: Sequence[str]) -> list[tuple[str, str]]:
    """The split and the label of each file, from its folders: train/dog/1.jpg, dog/1.jpg. Folders that all files are in say
    nothing, unless they are named after a split."""
    folders = [name.split(os.sep)[:-1] for name in names]
    depth = 0
    while folders and all(len(one) > depth and one[depth] == folders[0][depth] for one in folders):
        if split_folder(folders[0][depth]):
            break
        depth += 1
    result = []
    for one in folders:
        split = split_folder(one[depth]) if len(one) > depth else ""
        rest = one[depth + bool(split) :]
        result.append((split, rest[0] if rest else ""))
    return result
