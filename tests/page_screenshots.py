"""The screenshots of docs/: the server's page on a scene (light, dark, and in a narrow window), and the page of ``braid demo``.

PYTHONPATH=src:tests python tests/page_screenshots.py [--model NAME=FOLDER ...]     writes docs/page*.png and docs/demo.png
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from chromium import Browser, chromium
from served import Server, scene, write_index

DOCS = Path(__file__).resolve().parents[1] / "docs"
SCENE = 7


def asked(page: Browser, tool: str, number: int, **fields: str) -> None:
    """Fill in a form, send it, and wait for so many answers."""
    page.click(f"#tab-{tool}")
    for name, value in fields.items():
        page.fill(f"#tool-{tool} [name={name}]", value)
    page.click(f"#tool-{tool} .go")
    page.wait(f"document.querySelectorAll('#answers > li').length === {number} || document.querySelector('#problem').textContent")
    assert page.js("document.querySelector('#problem').textContent") == ""


def shot(page: Browser, name: str) -> None:
    page.js("document.activeElement.blur(); scrollTo(0, 0)")
    (DOCS / name).write_bytes(page.screenshot())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help="served beside the built-in ones")
    given = parser.parse_args()
    models = [word for name in ("small", "sentiment", "imagine", *given.model) for word in ("--model", name)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        index = write_index("small", folder, 10)
        (folder / "scene.png").write_bytes(scene(SCENE, 480))
        with Server(*models, "--index", index) as server, chromium(folder / "chromium") as page:
            page.call("Emulation.setScrollbarsHidden", hidden=True)
            page.look("light", 1180, 800)
            page.open(f"{server.url}/")
            page.wait("document.querySelector('#serving').textContent.includes('small')")
            page.choose_file("#file", folder / "scene.png")
            page.wait("document.querySelector('#image').naturalWidth === 480")
            asked(page, "caption", 1)
            asked(page, "answer", 2, question="what color is it?")
            asked(page, "classify", 3, labels="triangle, circle, heart, dog")
            shot(page, "page.png")
            asked(page, "search", 4, text="red stars")
            asked(page, "imagine", 5, prompt="a small red circle left of a large blue square")
            page.look("dark", 1180, 800)
            shot(page, "page-dark.png")
            page.look("light", 390, 800, 2)
            shot(page, "page-narrow.png")
            subprocess.run([sys.executable, "-m", "braid", "demo", "--output", folder / "demo.html"], check=True)
            page.look("light", 1280, 740)
            page.open((folder / "demo.html").as_uri())
            shot(page, "demo.png")


if __name__ == "__main__":
    main()
