"""Files of another kind than is read are told as such, wherever a file is opened: archives, spreadsheets, pointers of Git LFS."""

import bz2
import gzip
import io
import lzma
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

import braid as library
from braid.datasets import open_dataset, read_rows
from braid.errors import UserError
from braid.files.foreign import foreign
from braid.modalities.audio.modality import wav
from conftest import Ran

Braid = Callable[..., Ran]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 39500000\n"
LFS = "is a pointer of Git LFS, not the file itself; run git lfs pull"
FOLDER = "unpack it and give the folder"


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet" if name == "mimetype" else "x" * 5000)
    return file.getvalue()


def tarred(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w{mode}") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


def written(write: Callable[[Any], Any]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def database(folder: Path) -> bytes:
    connection = sqlite3.connect(folder / "x.db")
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()
    return (folder / "x.db").read_bytes()


TABLE = pa.table({"image": ["a.jpg"], "caption": ["a dog"]})
FILES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "zip": (lambda _: zipped("a.jpg", "b.jpg"), f"is a zip archive; {FOLDER}"),
    "empty zip": (lambda _: zipped(), f"is a zip archive; {FOLDER}"),
    "xlsx": (lambda _: zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Excel file; save it as CSV"),
    "ods": (lambda _: zipped("mimetype", "content.xml"), "is a spreadsheet of OpenDocument; save it as CSV"),
    "docx": (
        lambda _: zipped("[Content_Types].xml", "word/document.xml"),
        "is an Office document; save its images as PNG, or its tables as CSV",
    ),
    "xls": (lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is an Office file; save it as CSV"),
    "tar": (lambda _: tarred(":"), f"is a tar archive; {FOLDER}"),
    "tar.gz": (lambda _: tarred(":gz"), "is packed with gzip; unpack it"),
    "bz2": (lambda _: bz2.compress(b"image,caption\n"), "is packed with bzip2; unpack it"),
    "xz": (lambda _: lzma.compress(b"image,caption\n"), "is packed with xz; unpack it"),
    "pdf": (lambda _: b"%PDF-1.4\n1 0 obj\n", "is a PDF; save its pages as PNG, or its tables as CSV"),
    "lfs": (lambda _: POINTER, LFS),
    "annex": (
        lambda _: b"/annex/objects/SHA256E-s1--0.jpg\n",
        "is a pointer of git-annex, not the file itself; run git annex get",
    ),
    "sqlite": (database, "is an SQLite database; save its table as CSV"),
    "npy": (lambda _: written(lambda file: np.save(file, np.zeros(3))), "is an array of numpy; save it as an image or a table"),
    "feather": (lambda _: written(lambda file: pa.feather.write_feather(TABLE, file)), "is an Arrow file; save it as Parquet"),
    "html": (
        lambda _: b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
        "is a web page, perhaps an error of a download; download the file itself",
    ),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet", "a.xlsx", "a.bin"])
def test_a_table_of_another_kind(kind: str, name: str, tmp_path: Path) -> None:
    make, says = FILES[kind]
    path = tmp_path / name
    path.write_bytes(make(tmp_path))
    readers: tuple[Callable[[], Any], ...] = (lambda: open_dataset(path), lambda: read_rows(path, {}))
    for read in readers:
        with pytest.raises(UserError) as error:
            read()
        assert str(error.value) == f"{path} {says}"


@pytest.mark.parametrize("kind", FILES)
def test_an_image_of_another_kind(kind: str, captioner: Path, tmp_path: Path) -> None:
    make, says = FILES[kind]
    path, model = tmp_path / "a.jpg", library.load(captioner)
    path.write_bytes(make(tmp_path))
    for image, where in ((path, str(path)), (path.read_bytes(), "row 1")):
        with pytest.raises(UserError) as error:
            model.caption(image)
        assert str(error.value) == f"{where} {says}"


def test_images_that_are_not_read_are_told(captioner: Path) -> None:
    model = library.load(captioner)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    svg = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'
    heard = "is a recording; give it to a model that reads recordings, such as --model sounds"
    says = {heic: "is a HEIC image; save it as JPEG", svg: "is an SVG drawing; save it as PNG"}
    says |= dict.fromkeys((wav(np.zeros(800, np.float32), 8000), b"OggS\0\2" + bytes(100), b"fLaC" + bytes(100)), heard)
    for image, what in says.items():
        with pytest.raises(UserError, match=what):
            model.caption(image)


def test_an_image_or_parquet_named_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    Image.new("RGB", (8, 8)).save(path, "PNG")
    with pytest.raises(UserError, match=r"a.csv is an image; give the file that names it$"):
        open_dataset(path)
    pq.write_table(TABLE, path)
    with pytest.raises(UserError, match=r"a.csv is a Parquet file; name it .parquet$"):
        open_dataset(path)


@pytest.mark.parametrize("name", ["captions_train.json", "x.token.txt", "lines.txt", "dataset_x.json", "lines.txt.gz"])
def test_an_annotation_file_that_is_a_pointer(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(POINTER) if name.endswith(".gz") else POINTER)
    with pytest.raises(UserError) as error:
        open_dataset(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name} {LFS}"


def test_a_caption_that_is_a_pointer(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_bytes(POINTER if name == "a" else b"a dog\n")
    (skipped,) = open_dataset(tmp_path).skipped
    assert (skipped.source, skipped.reason) == ("a.png", f"a.txt {LFS}")


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "interface.json", "tokenizer.json"])
def test_a_model_of_pointers(name: str, captioner: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(captioner / "best", folder, ignore=shutil.ignore_patterns("*.onnx*"))
    (folder / name).write_bytes(POINTER)
    with pytest.raises(UserError) as error:
        library.load(folder, runtime="torch").caption(photos / "0.png")
    assert str(error.value) == f"{folder / name} {LFS}"


def test_an_index_of_an_archive_says_what_it_is(braid: Braid, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(zipped("a.jpg"))
    ran = braid("index", tmp_path / "photos.zip", "-o", tmp_path / "i")
    what = f"{tmp_path / 'photos.zip'} is a zip archive; {FOLDER}"
    assert (ran.code, ran.err) == (1, f"error: none of 1 files could be read; the first: {what}\n")


def test_a_graph_that_is_a_pointer(captioner: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(captioner / "best", folder)
    (folder / "text.start.onnx").write_bytes(POINTER)
    with pytest.raises(UserError) as error:
        library.load(folder, runtime="onnx").caption(photos / "0.png")
    assert str(error.value) == f"{folder / 'text.start.onnx'} {LFS}"


@pytest.mark.parametrize("text", ["PAR1,caption", "BZh,x", "GIF8,x", "PK,x", "7z,rar", "ARROW1,x", "<b>bold</b>"])
def test_texts_that_begin_like_another_kind_are_texts(text: str) -> None:
    assert foreign(f"{text}\n".encode()) == ""
