"""The commands of the README and of the docs are run, in order, as a reader would."""

import csv
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid as library
from braid.config import parse_yaml
from braid.modalities.audio.modality import wav
from braid.training import run_from
from clips import clip
from conftest import Ran
from served import Server

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
DOCS = ROOT / "docs"
# In this order, because later pages use what earlier ones made.
BASICS = [README, DOCS / "sounds.md"]
ENGLISH = ("training", "use", "data", "evaluation", "explain", "generation")
WITH_COMMANDS = [DOCS / f"{name}.md" for name in (*ENGLISH, "training.zh", "use.zh", "data.zh")]
PAGES = [README, CHINESE, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
SHORTER = {  # the same work, less of it
    "train": ["--set", "epochs=1", "--set", "workers=0", "--set", "threads=1", "--set", "data.limit_train=64"],
    "grade-explanations": ["--limit", "8"],
}


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return found


def commands(page: Path) -> list[list[str]]:
    lines = [line for block in blocks(page, "bash") for line in block.splitlines() if line.strip()]
    return [shlex.split(line.partition("  #")[0]) for line in lines]


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def home(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages talk of: photo.jpg, photos/, photos.csv, posts.csv, products.csv, the references truth.json, dog.wav,
    sounds/, sounds.csv, sounds.jsonl, clip.mp4 and clips.jsonl."""
    from PIL import Image

    for k in range(5):
        with Image.open(photos / f"{k}.png") as image:
            image.save(photos / f"{k}.jpg")
        (photos / f"{k}.png").unlink()
    (tmp_path / "photo.jpg").write_bytes((photos / "0.jpg").read_bytes())
    splits = ["val" if k > 2 else "train" for k in range(5)]
    rows = [{"image": f"photos/{k}.jpg", "caption": f"shape number {k}", "split": splits[k]} for k in range(5)]
    write_table(tmp_path / "photos.csv", rows)
    feelings = ["positive", "negative", "neutral", "positive", "negative"]
    posts = [{"image": f"photos/{k}.jpg", "text": f"day number {k}", "label": feelings[k]} for k in range(5)]
    write_table(tmp_path / "posts.csv", posts)
    products = [
        {
            "photo": f"photos/{k % 5}.jpg",
            "title": f"shirt {k}",
            "price": "" if k == 3 else 10 + k,
            "brand": ["Acme", "Bolt"][k % 2],
        }
        | {"season": ["summer", "winter"][k % 3 > 0], "kind": ["shirt", "sock"][k % 4 == 0], "split": splits[k % 5]}
        for k in range(10)
    ]
    write_table(tmp_path / "products.csv", products)
    truth = {Path(row["image"]).name: [row["caption"]] for row in rows if row["split"] == "val"}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    write_media(tmp_path, splits)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_media(folder: Path, splits: Sequence[str]) -> None:
    """Tones of two pitches, and clips of two shades."""
    for k in range(len(splits)):
        tone = 0.3 * np.sin(np.arange(8000) * (0.1, 0.4)[k % 2])
        (folder / f"{k}.wav").write_bytes(wav(tone.astype(np.float32), 16000))
        (folder / f"{k}.mp4").write_bytes(clip(3))
    for name in ("dog.wav", "spoken.wav"):
        (folder / name).write_bytes((folder / "0.wav").read_bytes())
    (folder / "sounds").mkdir()
    (folder / "sounds" / "dog.wav").write_bytes((folder / "0.wav").read_bytes())
    (folder / "clip.mp4").write_bytes((folder / "0.mp4").read_bytes())
    sounds = [{"file": f"{k}.wav", "sound": ("low", "high")[k % 2], "split": split} for k, split in enumerate(splits)]
    write_table(folder / "sounds.csv", sounds)
    said = [{"file": row["file"], "said": f"a {row['sound']} tone", "split": row["split"]} for row in sounds]
    (folder / "sounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    clips = [{"file": f"{k}.mp4", "captions": ["it grows light"], "split": split} for k, split in enumerate(splits)]
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in clips))


def run_pages(pages: Sequence[Path], braid: Callable[..., Ran], home: Path) -> int:
    """Run the commands and examples of pages in order, because later ones use what earlier ones made; each command once."""
    done: list[list[str]] = []
    for page in pages:
        for name, *arguments in commands(page):
            assert name == "braid"
            if arguments in done:
                continue
            done.append(arguments)
            expanded = [part for word in arguments for part in (sorted(map(str, home.glob(word))) if "*" in word else [word])]
            extra = SHORTER.get(arguments[0], []) if "--resume" not in arguments else []
            ran = braid(*expanded, *extra)
            assert ran.code == 0, f"{page.name}: braid {' '.join(arguments)}: {ran.err}"
        for example in blocks(page, "python"):  # uses models that commands trained
            if "model.index" in example:
                (home / "photos.index").rename(home / f"{page.stem}.before.index")
            run_as_written(example, {"braid": library})
            assert (home / "photos.index" / "index.json").is_file()
    if any("described.csv" in command for command in done):
        with open(home / "described.csv", newline="") as file:
            assert all(row["prediction"] for row in csv.DictReader(file))
    return len(done)


def test_every_command_of_the_readme_works(braid: Callable[..., Ran], home: Path) -> None:
    assert run_pages(BASICS, braid, home) > 10


def test_every_command_of_the_docs_works(braid: Callable[..., Ran], home: Path) -> None:
    assert run_pages(WITH_COMMANDS, braid, home) > 20


def test_every_page_with_commands_is_run() -> None:
    assert {page for page in PAGES if re.search(r"```(bash|python)\n", page.read_text(encoding="utf-8"))} == {
        *BASICS,
        CHINESE,
        *WITH_COMMANDS,
    }


def test_the_example_of_a_client_works(home: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks(DOCS / "server.md", "py")
    run_as_written(example.replace("http://127.0.0.1:8000", server.url), {})
    assert len(capsys.readouterr().out.split()) >= 2


def run_as_written(example: str, names: dict[str, object]) -> None:
    exec(compile(example, "an example of the docs", "exec"), names)


def test_the_run_of_several_tasks_is_read() -> None:
    (example,) = (block for block in blocks(DOCS / "training.md", "yaml") if "tasks:" in block)
    assert [mixed.task.kind for mixed in run_from(parse_yaml(example)).mixture] == ["captioning", "retrieval", "vqa"]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    places = [((page.parent / target).resolve() if target else page, anchor) for target, anchor in links]
    assert [str(place) for place, _ in places if not place.exists()] == []
    assert [f"{place}#{anchor}" for place, anchor in places if anchor and anchor not in anchors(place)] == []


def test_the_readmes_are_short_and_share_their_commands_and_links() -> None:
    english, chinese = (page.read_text(encoding="utf-8").replace(".zh.md", ".md") for page in (README, CHINESE))
    assert max(len(text.splitlines()) for text in (english, chinese)) <= 150
    for shared in (r"```.*?```", r"\]\([^)]*\)", r"^#+"):
        assert re.findall(shared, english, re.DOTALL | re.MULTILINE) == re.findall(shared, chinese, re.DOTALL | re.MULTILINE)
