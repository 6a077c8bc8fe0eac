"""Files that changed, were renamed or went away after they were indexed: what an index does, and what a search says of them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import braid as library
from braid.api import LoadedModel
from braid.index import ExactIndexConfig, HnswIndexConfig, IndexConfig, LanceDBIndexConfig, create_index, open_index
from braid.search import results_page
from conftest import Ran

Braid = Callable[..., Ran]
KINDS: dict[str, IndexConfig] = {"exact": ExactIndexConfig(), "hnsw": HnswIndexConfig(), "lancedb": LanceDBIndexConfig()}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return library.load()


@pytest.fixture
def here(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with five photos in img."""
    photos.rename(tmp_path / "img")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def painted(path: str, colour: tuple[int, int, int] = (255, 255, 0)) -> None:
    Image.new("RGB", (64, 64), colour).save(path)


def found(model: LoadedModel, query: str, index: str = "i") -> dict[str, float]:
    return {hit.id: round(hit.score, 3) for hit in model.search(index, image=query, top=20)}


@pytest.mark.parametrize("kind", KINDS)
def test_what_changed_is_embedded_anew(kind: str, here: Path, model: LoadedModel) -> None:
    def indexed(prune: bool = False) -> tuple[int, int, int, int]:
        made = model.index("img", "i", KINDS[kind], prune=prune)
        made.index.close()
        return len(made.index), made.changed, made.moved, made.gone

    assert indexed() == indexed() == (5, 0, 0, 0)
    painted("img/0.png")
    os.remove("img/1.png")
    os.rename("img/2.png", "img/renamed.png")
    os.utime("img/3.png", (1, 1))  # touched, and the same
    shutil.copy("img/4.png", "img/copy.png")
    assert indexed() == (6, 1, 1, 1)
    scores = found(model, "img/0.png")
    assert sorted(scores) == ["img/0.png", "img/1.png", "img/3.png", "img/4.png", "img/copy.png", "img/renamed.png"]
    assert scores["img/0.png"] == pytest.approx(1, abs=2e-3)
    assert found(model, "img/renamed.png")["img/renamed.png"] == pytest.approx(1, abs=2e-3)
    assert indexed() == (6, 0, 0, 1)
    assert indexed(prune=True) == (5, 0, 0, 1)
    assert indexed() == (5, 0, 0, 0)
    assert "img/1.png" not in found(model, "img/0.png")


def test_a_change_that_keeps_size_or_time(here: Path, model: LoadedModel) -> None:
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 255, 0))):
        Image.new("RGB", (16, 16), colour).save(f"img/{name}.bmp")
    model.index("img", "i").index.close()
    before = os.stat("img/a.bmp")
    shutil.copyfile("img/b.bmp", "img/a.bmp")  # as long as before
    os.utime("img/a.bmp", (before.st_atime + 5, before.st_mtime + 5))
    painted("img/0.png")
    os.utime("img/0.png", (before.st_atime, before.st_mtime))  # of a time in the past, as a copy may be
    made = model.index("img", "i")
    assert made.changed == 2
    assert found(model, "img/b.bmp")["img/a.bmp"] == pytest.approx(1, abs=2e-3)


def test_a_changed_file_that_cannot_be_read_is_told(here: Path, model: LoadedModel) -> None:
    model.index("img", "i").index.close()
    Path("img/0.png").write_bytes(b"\x89PNG")
    made = model.index("img", "i")
    assert [Path(sample.source).name for sample, _ in made.skipped] == ["0.png"]
    assert "img/0.png" not in found(model, "img/1.png")  # what it showed before is not found under its name


def test_a_folder_of_photos_that_moved(here: Path, model: LoadedModel, braid: Braid) -> None:
    model.index("img", "i").index.close()
    os.rename("img", "pictures")
    ran = braid("search", "i", "a ball", "--top", 2, "--json", "--html", "f.html")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["missing"] for row in rows] == [True, True]
    assert ran.err.splitlines() == [
        f"files that are not there any more: 2 of 2, first {rows[0]['id']}; remove them with: braid index FOLDER -o i --prune"
    ]
    assert Path("f.html").read_text().count("the file is not there any more") == 2
    ran = braid("index", "pictures", "-o", "i")
    assert ran.err == "i: 5 files; 5 moved\n"
    assert sorted(found(model, "pictures/0.png")) == [f"pictures/{k}.png" for k in range(5)]


def test_photos_and_index_that_moved_together(here: Path, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir("a")
    os.rename("img", "a/img")
    model.index("a/img", "a/i").index.close()
    os.rename("a", "b")
    for place in (here, here / "b"):  # from any working folder
        monkeypatch.chdir(place)
        hits = model.search(here / "b" / "i", "a ball", top=9)
        assert results_page(here / "b" / "i", hits, "a ball").count('src="data:image') == 5
    made = model.index(here / "b" / "img", here / "b" / "i")
    assert (len(made.index), made.changed, made.moved, made.gone) == (5, 0, 0, 0)


def test_an_index_that_moved_alone(here: Path, model: LoadedModel) -> None:
    model.index(here / "img", "i").index.close()
    os.makedirs("far/away")
    os.rename("i", "far/away/i")
    made = model.index(here / "img", "far/away/i")
    assert (len(made.index), made.changed, made.moved, made.gone) == (5, 0, 0, 0)


def test_what_the_command_says(here: Path, braid: Braid) -> None:
    assert braid("index", "img", "-o", "i").err == "i: 5 files\n"
    assert braid("index", "img", "-o", "i").err == "i: 5 files; nothing new, 5 files unchanged\n"
    painted("img/0.png")
    os.remove("img/1.png")
    assert braid("index", "img", "-o", "i").err == (
        "i: 5 files; 1 changed, 3 files unchanged, 1 is not there any more (--prune removes it)\n"
    )
    painted("img/5.png")
    assert braid("index", "img", "-o", "i").err == (
        "i: 6 files; 1 new, 4 files unchanged, 1 is not there any more (--prune removes it)\n"
    )
    os.remove("img/5.png")
    os.remove("img/2.png")
    ran = braid("index", "img", "-o", "i", "--json")
    assert json.loads(ran.out) == {
        "index": "i",
        "num_rows": 6,
        "num_skipped": 0,
        "num_new": 0,
        "num_unchanged": 3,
        "num_changed": 0,
        "num_moved": 0,
        "num_missing": 3,
    }
    assert braid("index", "img", "-o", "i", "--prune").err == "i: 3 files; nothing new, 3 files unchanged, 3 were removed\n"


def test_rows_of_one_s_own_are_no_files(here: Path, model: LoadedModel) -> None:
    """Rows that were added by their ids are never changed, gone or pruned."""
    width = model.embed(texts=["a dog"]).shape[1]
    index = create_index(here / "i", ExactIndexConfig(), width, model.origin)
    index.add(["7", "img/0.png"], np.eye(2, width), [{"price": 3}, None])
    index.save()
    index.close()
    made = model.index("img", "i", prune=True)
    assert (len(made.index), made.changed, made.moved, made.gone) == (6, 0, 0, 0)
    assert dict(open_index(here / "i").rows())["7"] == {"price": 3}


def test_a_table_is_not_taken_for_a_file_to_index(braid: Braid, tmp_path: Path) -> None:
    (tmp_path / "photos.jsonl").write_text('{"image": "a.jpg"}\n')
    ran = braid("index", tmp_path / "photos.jsonl", "-o", tmp_path / "index")
    assert ran.code == 1 and "photos.jsonl is a table; give the files that it names, or their folder" in ran.err
