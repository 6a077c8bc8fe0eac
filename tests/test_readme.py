"""The README's commands are run, in order, as a reader would."""

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import braid as library
from braid.config import parse_yaml
from braid.training import run_from
from conftest import Ran
from served import Server

README = Path(__file__).resolve().parents[1] / "README.md"
SHORTER = ["--set", "epochs=1", "--set", "workers=0", "--set", "threads=1"]  # the same work, less of it


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    return [shlex.split(line.partition("  #")[0]) for line in lines]


@pytest.fixture
def home(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README talks of: photo.jpg, photos/, photos.csv and the references truth.json."""
    from PIL import Image

    for k in range(5):
        with Image.open(photos / f"{k}.png") as image:
            image.save(photos / f"{k}.jpg")
        (photos / f"{k}.png").unlink()
    (tmp_path / "photo.jpg").write_bytes((photos / "0.jpg").read_bytes())
    rows = [{"image": f"photos/{k}.jpg", "caption": f"shape number {k}", "split": "val" if k > 2 else "train"} for k in range(5)]
    with open(tmp_path / "photos.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    truth = {Path(row["image"]).name: [row["caption"]] for row in rows if row["split"] == "val"}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_works(braid: Callable[..., Ran], home: Path) -> None:
    """One test, because later commands use what earlier ones made."""
    assert len(commands()) > 10
    for name, *arguments in commands():
        assert name == "braid"
        expanded = [part for word in arguments for part in (sorted(map(str, home.glob(word))) if "*" in word else [word])]
        extra = SHORTER if arguments[0] == "train" and "--resume" not in arguments else []
        ran = braid(*expanded, *extra)
        assert ran.code == 0, f"braid {' '.join(arguments)}: {ran.err}"
    with open(home / "described.csv", newline="") as file:
        assert all(row["prediction"] for row in csv.DictReader(file))
    (home / "photos.index").rename(home / "before.index")
    for example in blocks("python")[1:]:
        run_as_written(example, {"braid": library})  # uses models that commands trained
    assert (home / "photos.index" / "index.json").is_file()


def test_the_example_of_a_client_works(home: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("py")
    run_as_written(example.replace("http://127.0.0.1:8000", server.url), {})
    assert len(capsys.readouterr().out.split()) >= 2


def test_the_python_example_works(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_as_written(blocks("python")[0], {})
    assert len(capsys.readouterr().out.split()) >= 3


def run_as_written(example: str, names: dict[str, object]) -> None:
    exec(compile(example, "README.md", "exec"), names)


def test_the_run_of_several_tasks_is_read() -> None:
    (example,) = (block for block in blocks("yaml") if "tasks:" in block)
    assert [mixed.task.kind for mixed in run_from(parse_yaml(example)).mixture] == ["captioning", "retrieval", "vqa"]


def test_links_lead_somewhere() -> None:
    root = README.parent
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (root / target).exists()] == []
