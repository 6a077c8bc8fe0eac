"""A data set in shards is the same data set, and damage to a shard costs the rows that it hits."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braid.datasets import Dataset, open_dataset
from braid.modalities import ImageModalityConfig
from conftest import Ran

Braid = Callable[..., Ran]
SCENES = [f"scenes:{task},train=6,val=2,test=2,compositional=2,size=24" for task in ("captioning", "vqa")]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six JPEGs of 400 x 300 and their table."""
    rows = []
    for k in range(6):
        noise = np.random.default_rng(k).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((400, 300)).save(tmp_path / f"{k}.jpg")
        rows.append({"image": f"{k}.jpg", "captions": [f"noise number {k}", "a picture"], "split": "val" if k > 3 else "train"})
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "data.jsonl"


def same(one: Dataset, other: Dataset) -> None:
    """Row by row: id, split, texts, and pixels."""
    modality = ImageModalityConfig(size=16).build()
    assert len(one.examples) == len(other.examples)
    for a, b in zip(one.examples, other.examples, strict=True):
        texts = [{role: value for role, value in row.fields.items() if role != "image"} for row in (a, b)]
        assert (a.id, a.split, texts[0]) == (b.id, b.split, texts[1])
        assert np.array_equal(*(modality.prepare(row.fields["image"]).pixels for row in (a, b)))


@pytest.mark.parametrize("source", SCENES)
def test_scenes_in_shards_are_the_same_scenes(source: str, tmp_path: Path, braid: Braid) -> None:
    ran = braid("data", "shard", source, "-o", tmp_path / "shards", "--json")
    assert ran.code == 0, ran.err
    whole = open_dataset(source)
    same(whole, open_dataset(tmp_path / "shards"))
    distinct = {id(row.fields["image"]) for row in list(whole.examples)}
    assert json.loads(ran.out)["num_files"] == len(distinct)  # four questions share a picture, which is kept once


def test_files_are_copied_byte_for_byte_into_several_shards(photos: Path, tmp_path: Path, braid: Braid, monkeypatch) -> None:
    monkeypatch.setattr("braid.cli.data.MEGABYTE", 20_000)
    assert braid("data", "shard", photos, "-o", tmp_path / "shards", "--size", 1, "--json").code == 0
    same(open_dataset(photos), open_dataset(tmp_path / "shards"))
    tars = sorted((tmp_path / "shards").glob("*.tar"))
    result = []
    for path in tars:
        with tarfile.open(path) as tar:
            result += [tar.extractfile(member).read() for member in tar]  # type: ignore[union-attr]
    assert len(tars) > 1 and result == [(tmp_path / f"{k}.jpg").read_bytes() for k in range(6)]


def test_large_photos_are_made_smaller(photos: Path, tmp_path: Path, braid: Braid) -> None:
    assert braid("data", "shard", photos, "-o", tmp_path / "shards", "--longest", 100).code == 0
    with tarfile.open(tmp_path / "shards" / "00000.tar") as tar:
        sizes = {Image.open(tar.extractfile(member)).size for member in tar}  # type: ignore[arg-type]
    assert sizes == {(100, 75)}


def test_damage_costs_the_rows_that_it_hits(photos: Path, tmp_path: Path, braid: Braid) -> None:
    shards = tmp_path / "shards"
    assert braid("data", "shard", photos, "-o", shards).code == 0
    rows = open_dataset(shards).examples
    tar = shards / "00000.tar"
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    checked = json.loads(braid("data", "check", shards, "--images", "--json").out)
    damaged = [row["reason"] for row in checked["broken"]]
    assert 0 < len(damaged) < len(rows) and all("cut short" in reason or "not a readable image" in reason for reason in damaged)

    lines = (shards / "shards.jsonl").read_text().splitlines()
    lines[2] = lines[2][:40]
    (shards / "shards.jsonl").write_text("\n".join(lines))
    dataset = open_dataset(shards)
    assert [row.source for row in dataset.skipped] == ["shards.jsonl, row 2"] and len(dataset.examples) == 5
    tar.unlink()
    assert len(open_dataset(shards).skipped) == 6


def test_a_row_that_cannot_be_read_is_left_out_or_ends_it(photos: Path, tmp_path: Path, braid: Braid) -> None:
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    ran = braid("data", "shard", photos, "-o", tmp_path / "shards", "--skipped-rows", tmp_path / "out.jsonl", "--json")
    assert ran.code == 0 and json.loads(ran.out)["num_rows"] == 5
    assert json.loads((tmp_path / "out.jsonl").read_text())["source"] == "data.jsonl, row 4"
    ran = braid("data", "shard", photos, "-o", tmp_path / "strict", "--strict")
    assert ran.code == 1 and "not a readable image" in ran.err and not (tmp_path / "strict").exists()
    ran = braid("data", "shard", photos, "-o", tmp_path / "shards")
    assert ran.code == 1 and "already exists" in ran.err
