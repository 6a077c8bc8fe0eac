"""braid doctor and braid new."""

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from braid.errors import install_command
from braid.training import default_run, read_run, run_from
from conftest import Ran


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{word} {number},{label}" for number in range(6) for word, label in (("nice", "good"), ("ugly", "bad"))]
    path = tmp_path / "words.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def test_doctor_says_what_is_here_and_what_brings_the_rest(braid: Callable[..., Ran]) -> None:
    ran = braid("doctor", "--json")
    assert ran.code == 0
    said = json.loads(ran.out)
    assert set(said["missing"]) == {*(metadata.metadata("braidlm").get_all("Provides-Extra") or ())} - {"dev"}
    assert said["missing"]["train"] == [] and said["torch"].startswith("2.")
    assert "small" in said["built-in models"]
    lacking = [name for name, packages in said["missing"].items() if packages]
    text = braid("doctor").out
    assert all(f"[{name}]" in text for name in lacking)


def test_a_new_file_is_the_run_that_train_would_make(table: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    path = tmp_path / "words.yaml"
    ran = braid("new", "classification", str(table), "--output", str(path))
    assert ran.code == 0 and f"braid train {path}" in ran.out
    assert read_run(path) == run_from(default_run("classification", {"path": str(table), "columns": {}}))


def test_every_comment_of_a_new_file_is_a_setting(table: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    path = tmp_path / "words.yaml"
    braid("new", "classification", str(table), "--model", "tiny", "--output", str(path))
    plain = read_run(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    settings = [line[2:] for line in lines if line.startswith("# ") and line[2:].partition(":")[0].isidentifier()]
    named = [line for line in settings if line.partition(":")[2]]
    assert {line.partition(":")[0] for line in settings} >= {"seed", "sinks", "tokenizer", "keep"}
    path.write_text("\n".join([*lines, *named]))
    assert read_run(path) == plain
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["seed"] == 0


def test_a_new_file_replaces_none(table: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("mine")
    ran = braid("new", "classification", str(table), "--output", str(path))
    assert ran.code == 1 and "is there already" in ran.err and path.read_text() == "mine"
    assert braid("new", "classification", str(table), "--output", str(path), "--force").code == 0
    assert path.read_text() != "mine"


def test_the_data_may_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, braid: Callable[..., Ran]) -> None:
    monkeypatch.chdir(tmp_path)
    assert braid("new", "captioning").code == 0
    assert read_run(Path("run.yaml")).data.path == "photos.csv"


def test_a_new_file_for_no_task_is_not_written(tmp_path: Path, braid: Callable[..., Ran]) -> None:
    path = tmp_path / "run.yaml"
    ran = braid("new", "caption", "photos.csv", "--output", path)
    assert ran.code == 1 and "did you mean 'captioning'" in ran.err and not path.exists()


def test_quiet_leaves_results_and_errors(table: Path, braid: Callable[..., Ran]) -> None:
    loud, quiet = (braid("data", "check", table, *option) for option in ((), ("--quiet",)))
    assert loud.out == quiet.out and loud.err and not quiet.err
    failed = braid("inspect", "nothing", "-q")
    assert (failed.code, failed.out) == (1, "") and failed.err.startswith("error: there is no model 'nothing'")
    assert braid("data", "check", table).err == loud.err  # the next command speaks again


def test_verbose_says_where_an_error_comes_from(braid: Callable[..., Ran]) -> None:
    assert "Traceback" not in braid("inspect", "nothing").err
    ran = braid("inspect", "nothing", "--verbose")
    assert "Traceback" in ran.err and ran.err.splitlines()[-1].startswith("error: there is no model 'nothing'")


def test_a_shell_can_complete_the_verbs(braid: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_BRAID_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "braid tra")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert braid("tra").out.split() == ["train"]


def test_an_extra_is_installed_from_the_clone_that_braid_is_in() -> None:
    root = Path(__file__).resolve().parents[1]
    assert install_command("search") in (f'pip install -e "{root}[search]"', 'pip install "braidlm[search]"')
