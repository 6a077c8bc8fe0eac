"""What happens to the files of an index, and what is said of it, word for word; and the page that shows hits."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braid.errors import UserError
from braid.index import (
    ExactIndexConfig,
    Hit,
    HnswIndexConfig,
    IndexConfig,
    LanceDBIndexConfig,
    Origin,
    create_index,
    open_index,
)
from braid.search import results_page
from variants import INDEXES

MODEL = Origin("toy", "0123456789abcdef")
every_index = pytest.mark.parametrize("config", INDEXES.values(), ids=INDEXES)


def made(folder: Path, config: IndexConfig) -> Path:
    """Forty rows; gives back the folder of the revision."""
    index = create_index(folder, config, 8, MODEL)
    index.add([str(k) for k in range(40)], np.random.default_rng(0).standard_normal((40, 8)))
    index.save()
    index.close()
    return next((place for place in folder.iterdir() if place.name.startswith("revision-")), folder)


def refused(folder: Path, model: Origin | None = None) -> str:
    with pytest.raises(UserError) as message:
        open_index(folder, model)
    return str(message.value).replace(str(folder), "photos.index")


@every_index
def test_an_index_of_another_model(config: IndexConfig, tmp_path: Path) -> None:
    made(tmp_path / "index", config)
    assert refused(tmp_path / "index", Origin("toy", "fedcba9876543210")) == (
        "photos.index was made by model toy (0123456789ab), not by toy (fedcba987654); "
        "search with the model that made it, or make it anew"
    )
    assert len(open_index(tmp_path / "index", MODEL)) == 40


@every_index
def test_a_place_that_is_taken(config: IndexConfig, tmp_path: Path) -> None:
    made(tmp_path / "index", config)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    for place, what in (("index", "an index"), ("photos", "something"), ("photos/a.jpg", "something")):
        with pytest.raises(UserError) as message:
            create_index(tmp_path / place, config, 8, MODEL)
        assert str(message.value) == f"there is {what} at {tmp_path / place} already; choose another place, or remove it first"


@every_index
def test_an_index_whose_making_was_killed_is_begun_again(config: IndexConfig, tmp_path: Path) -> None:
    made(tmp_path / "index", config)
    (tmp_path / "index" / "index.json").unlink()
    assert refused(tmp_path / "index") == "there is no index at photos.index (no index.json); check the path, or make one"
    made(tmp_path / "index", config)
    assert len(open_index(tmp_path / "index")) == 40


HEADERS: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (
        lambda text: text[:40],
        "photos.index/index.json is not JSON (Expecting ':' delimiter: line 4 column 10 (char 40)); "
        "copy the index again, or make it anew",
    ),
    "no text": (
        lambda text: "\x00",
        "photos.index/index.json is not JSON (Expecting value: line 1 column 1 (char 0)); copy the index again, or make it anew",
    ),
    "format": (
        lambda text: text.replace('"format": 1', '"format": 2'),
        "photos.index/index.json is not of format 1, the one this version of Braid reads; update Braid or index it anew",
    ),
    "a list": (
        lambda text: "[]",
        "photos.index/index.json is not of format 1, the one this version of Braid reads; update Braid or index it anew",
    ),
    "kind": (
        lambda text: text.replace('"kind": "exact"', '"kind": "exakt"'),
        "photos.index/index.json: index.kind is 'exakt'; choose from exact, hnsw, lancedb (did you mean 'exact'?)",
    ),
    "no kind": (
        lambda text: text.replace('"kind": "exact",', ""),
        "photos.index/index.json: index.kind is None; choose from exact, hnsw, lancedb",
    ),
    "metric": (
        lambda text: text.replace('"cosine"', '"dot"'),
        "photos.index/index.json.metric is 'dot'; choose from cosine",
    ),
    "width": (
        lambda text: text.replace('"width": 8', '"width": 0'),
        "photos.index/index.json: width is 0; it must be 1 to 65536",
    ),
    "another width": (
        lambda text: text.replace('"width": 8', '"width": 7'),
        "photos.index/REVISION/vectors.bin holds no whole number of vectors; copy the index again, or make it anew",
    ),
    "revision": (
        lambda text: text.replace('"revision": "', '"revision": "../../'),
        "photos.index/index.json: revision is '../../REVISION', not revision- and a number",
    ),
    "no revision": (
        lambda text: re.sub('"revision": ".*"', '"revision": ""', text),
        "photos.index/index.json names no revision; copy the index again, or make it anew",
    ),
    "rows": (
        lambda text: text.replace('"rows": 40', '"rows": 41'),
        "photos.index/index.json says 41 rows, photos.index/REVISION has 40; copy the index again, or make it anew",
    ),
    "files": (
        lambda text: text.replace("vectors.bin", "vectors.bak"),
        "photos.index/index.json does not name vectors.bin; copy the index again, or make it anew",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_an_index_json_that_is_wrong(name: str, tmp_path: Path) -> None:
    revision = made(tmp_path / "index", ExactIndexConfig()).name
    change, message = HEADERS[name]
    path = tmp_path / "index" / "index.json"
    path.write_text(change(path.read_text()))
    assert refused(tmp_path / "index").replace(revision, "REVISION") == message


def test_no_index_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for place in ("nothing", "a.txt"):
        assert refused(tmp_path / place) == "there is no index at photos.index (no index.json); check the path, or make one"


@pytest.mark.parametrize(("config", "file"), [(ExactIndexConfig(), "vectors.bin"), (HnswIndexConfig(), "vectors.usearch")])
def test_files_that_are_cut_damaged_or_missing(config: IndexConfig, file: str, tmp_path: Path) -> None:
    revision = made(tmp_path / "index", config)
    for name in (file, "rows.sqlite"):
        path, place = revision / name, f"photos.index/{revision.name}/{name}"
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        size = f"{len(whole) - 100:,} bytes instead of {len(whole):,}"
        assert refused(tmp_path / "index") == f"{place} has {size}; copy the index again, or make it anew"
        for position in (0, len(whole) // 2, len(whole) - 1):
            damaged = bytearray(whole)
            damaged[position] ^= 1
            path.write_bytes(damaged)
            assert refused(tmp_path / "index") == (
                f"{place} is damaged (its checksum differs); copy the index again, or make it anew"
            )
        path.unlink()
        assert refused(tmp_path / "index") == f"{place} is missing; copy the index again, or make it anew"
        path.write_bytes(whole)
        assert len(open_index(tmp_path / "index")) == 40
    revision.rename(tmp_path / "elsewhere")
    assert refused(tmp_path / "index") == (f"photos.index/{revision.name} is missing; copy the index again, or make it anew")


def test_a_graph_of_another_width_or_precision(tmp_path: Path) -> None:
    """index.json is at odds with a file that is whole."""
    revision = made(tmp_path / "index", HnswIndexConfig())
    path = tmp_path / "index" / "index.json"
    whole = path.read_text()
    for change in (whole.replace('"width": 8', '"width": 9'), whole.replace("float16", "int8")):
        path.write_text(change)
        assert refused(tmp_path / "index") == (
            f"photos.index/{revision.name}/vectors.usearch holds other vectors than index.json says; "
            "copy the index again, or make it anew"
        )


def test_a_database_that_is_missing_or_another(tmp_path: Path) -> None:
    made(tmp_path / "index", LanceDBIndexConfig())
    path = tmp_path / "index" / "index.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "width": 9}))
    assert refused(tmp_path / "index") == (
        "table vectors of photos.index/lancedb holds vectors of width 8, index.json says 9; make the index anew"
    )
    path.write_text(json.dumps({**whole, "index": {**whole["index"], "table": "other"}}))
    assert refused(tmp_path / "index") == (
        "table other of photos.index/lancedb cannot be used (Table 'other' was not found); "
        "check the index's settings and the database"
    )


def test_a_database_beside_the_index_and_a_table_that_is_taken(tmp_path: Path) -> None:
    config = LanceDBIndexConfig(uri=str(tmp_path / "database"), table="photos")
    made(tmp_path / "index", config)
    assert [file.name for file in (tmp_path / "index").iterdir()] == ["index.json"]
    assert len(open_index(tmp_path / "index", MODEL)) == 40
    with pytest.raises(UserError) as message:
        create_index(tmp_path / "another", config, 8, MODEL)
    assert str(message.value) == (
        f"table photos of {tmp_path / 'database'} cannot be used (Table 'photos' already exists); "
        "check the index's settings and the database"
    )


def test_a_server_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANCEDB_API_KEY", "none")
    monkeypatch.setenv("LANCE_CLIENT_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"table vectors of db://mine cannot be used \(.*\); check the index's settings and the"):
        create_index(tmp_path / "index", LanceDBIndexConfig(uri="db://mine", host="http://127.0.0.1:9"), 8, MODEL)
    assert not (tmp_path / "index" / "index.json").exists()


def test_a_results_page_shows_the_query_and_every_hit(photos: Path) -> None:
    (photos / "a <b>red cube.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "broken.png").write_bytes(b"\x89PNG")
    found = {"a <b>red cube.png": 0.91234, "broken.png": -0.5, "2.png": 0.25}
    page = results_page(
        Path("photos.index"), [Hit(str(photos / n), s, None) for n, s in found.items()], 'two "dogs" <script>', photos / "1.png"
    )
    assert page.count("<figure>") == 3
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert "<h1>two &quot;dogs&quot; &lt;script&gt;</h1>" in page
    assert "a &lt;b&gt;red cube.png" in page
    assert "photos.index: the 3 nearest." in page
    assert [page.index(score) for score in ("0.912", "-0.500", "0.250")] == sorted(map(page.index, ("0.912", "-0.500", "0.250")))
    assert page.count('<div class="missing">no image</div>') == 1
    assert "<script" not in page
    assert "://" not in page


def test_a_results_page_is_small_and_of_text(tmp_path: Path) -> None:
    """Large photos become small ones; a name that is no text does not break the page."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)).save(tmp_path / "large.jpg")
    (tmp_path / "large.jpg").rename(tmp_path / "caf\udce9.jpg")
    page = results_page(Path("photos.index"), [], file=tmp_path / "caf\udce9.jpg")
    assert len(page.encode()) < 300_000 < (tmp_path / "caf\udce9.jpg").stat().st_size
    assert "<h1>caf\\udce9.jpg</h1>" in page
    assert "photos.index: nothing was found." in page
