"""Files of a kind that is not read, told by their first bytes: archives, spreadsheets, pointers of Git LFS, web pages."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

START = 4096  # bytes that tell a kind
END = 65_536  # bytes at the end of a zip archive, which list what is in it
FOLDER = "unpack it and give the folder"


class Kind(NamedTuple):
    """A kind of file: its name, its first bytes, and what it is and what to do, for a message."""

    name: str
    start: bytes
    says: str


ARCHIVES = (
    Kind("tar", rb".{257}ustar[\0 ]", f"is a tar archive; {FOLDER}"),
    Kind("gzip", rb"\x1f\x8b\x08", "is packed with gzip; unpack it"),
    Kind("bzip2", rb"BZh[1-9]1AY&SY", "is packed with bzip2; unpack it"),
    Kind("xz", rb"\xfd7zXZ\0", "is packed with xz; unpack it"),
    Kind("zstd", rb"\x28\xb5\x2f\xfd", "is packed with zstd; unpack it"),
    Kind("7z", rb"7z\xbc\xaf\x27\x1c", f"is a 7z archive; {FOLDER}"),
    Kind("rar", rb"Rar!\x1a\x07", f"is a rar archive; {FOLDER}"),
)
POINTERS = (
    Kind("lfs", rb"version https://git-lfs\.github\.com/spec/", "is a pointer of Git LFS, not the file itself; run git lfs pull"),
    Kind("annex", rb"/annex/objects/", "is a pointer of git-annex, not the file itself; run git annex get"),
)
IMAGES = (
    Kind("image", rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", "is an image; give the file that names it"),
    Kind("heic", rb"....ftyp(heic|heix|hevc|mif1|msf1|heim|heis)", "is a HEIC image; save it as JPEG"),
    Kind("video", rb"....ftyp(?!avi[fs])|\x1a\x45\xdf\xa3|RIFF....AVI ", "is a video; save a frame of it as PNG"),
    Kind("svg", rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]", "is an SVG drawing; save it as PNG"),
)
SOUNDS = (
    Kind(
        "audio",
        rb"RIFF....WAVE|OggS\0|fLaC|ID3[\x02-\x04]|\xff[\xfb\xf3\xf2]|FORM....AIF[FC]",
        "is a recording; give it to a model that reads recordings, such as --model sounds, or give the table that names it",
    ),
)
DOCUMENTS = (
    Kind("ole", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Office file; save it as CSV"),
    Kind("pdf", rb"%PDF-", "is a PDF; save its pages as PNG, or its tables as CSV"),
    Kind("html", rb"\s*<(!doctype\s+html|html)\b", "is a web page, perhaps an error of a download; download the file itself"),
    Kind("parquet", rb"PAR1[\x15\x00-\x08]", "is a Parquet file; name it .parquet"),
    Kind("arrow", rb"ARROW1\0", "is an Arrow file; save it as Parquet"),
    Kind("sqlite", rb"SQLite format 3\0", "is an SQLite database; save its table as CSV"),
    Kind("numpy", rb"\x93NUMPY", "is an array of numpy; save it as an image or a table"),
    Kind("hdf5", rb"\x89HDF\r\n", "is an HDF5 file; save it as images or a table"),
)
KINDS = (*ARCHIVES, *POINTERS, *IMAGES, *SOUNDS, *DOCUMENTS)
ZIP = re.compile(rb"PK(\x03\x04|\x05\x06)")
INSIDE = (  # a zip archive: what its list of files has, and what it then is
    (rb"xl/workbook|xl/worksheets/", "is an Excel file; save it as CSV"),
    (rb"opendocument\.spreadsheet", "is a spreadsheet of OpenDocument; save it as CSV"),
    (rb"word/document|ppt/presentation|opendocument\.", "is an Office document; save its images as PNG, or its tables as CSV"),
)


def foreign(source: Path | bytes, but: Collection[str] = ()) -> str:
    """What a file is, if it is of another kind than texts, tables, images and weights; "" if it is not known.

    Args:
        but: kinds that are expected here, by name; ``zip`` is one.
    """
    try:
        start, whole = (source[:START], source) if isinstance(source, bytes) else _ends(source)
    except OSError:
        return ""
    if "zip" not in but and ZIP.match(start):
        return next((says for inside, says in INSIDE if re.search(inside, whole)), f"is a zip archive; {FOLDER}")
    return next((kind.says for kind in KINDS if kind.name not in but and _begins(kind, start)), "")


def _begins(kind: Kind, start: bytes) -> bool:
    return re.match(kind.start, start, re.DOTALL | re.IGNORECASE if kind.name in ("html", "svg") else re.DOTALL) is not None


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The first bytes of a file; and these with its last ones if it is a zip archive."""
    if not path.is_file():
        return b"", b""
    with open(path, "rb") as file:
        start = file.read(START)
        if not ZIP.match(start):
            return start, start
        file.seek(max(0, path.stat().st_size - END))
        return start, start + file.read(END)


def told(path: Path, otherwise: str, but: Collection[str] = ()) -> str:
    """A message about a file that cannot be read: what it is, if that is known; see ``foreign``."""
    return f"{path} {foreign(path, but) or otherwise}"
