"""Files of another kind than is read: archives, spreadsheets, pointers of Git LFS."""

import zipfile
from pathlib import Path
from typing import Any

from bad.case import case, table
from bad.data import opened
from bad.images import look


@case("image", "a zip archive of images")
def _(home: Path) -> Any:
    with zipfile.ZipFile(home / "photos.zip", "w") as archive:
        archive.write(home / "photo.png", "photo.png")
    return look(home / "photos.zip")


@case("image", "a pointer of Git LFS")
def _(home: Path) -> Any:
    (home / "pointer.jpg").write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 39500000\n")
    return look(home / "pointer.jpg")


@case("image", "a HEIC image")
def _(home: Path) -> Any:
    (home / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    return look(home / "phone.heic")


@case("data", "an Excel file named .csv")
def _(home: Path) -> Any:
    with zipfile.ZipFile(home / "data.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return opened(home / "data.csv")


@case("data", "a zip archive as a data set")
def _(home: Path) -> Any:
    with zipfile.ZipFile(home / "photos.zip", "w") as archive:
        archive.write(home / "photo.png", "photo.png")
    return opened(home / "photos.zip")


@case("data", "a web page saved as a table")
def _(home: Path) -> Any:
    return opened(table(home, "<!DOCTYPE html>\n<html><body>404</body></html>\n"))
