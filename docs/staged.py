"""A hook of the site: its pages are those of docs/ and others of the repository, and links lead to them."""

import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STAGED = ROOT / "build" / "docs"
OTHERS = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "reporting.md", "benchmarks/results": "results"}
LINKS = {
    r"\.\./README\.md": "index.md",
    r"\.\./CONTRIBUTING\.md": "contributing.md",
    r"\.\./SECURITY\.md": "reporting.md",
    r"\.\./benchmarks/results/([^)]*)": r"results/\1",
    r"docs/([^)]*)": r"\1",  # in CONTRIBUTING.md
}


def on_config(config: Any) -> Any:
    """Copy all pages to one folder, which becomes the one that is built."""
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.copytree(ROOT / "docs", STAGED, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, target in OTHERS.items():
        source = ROOT / name
        for path in sorted(source.glob("*.md")) if source.is_dir() else [source]:
            page = STAGED / target / path.name if source.is_dir() else STAGED / target
            page.parent.mkdir(exist_ok=True)
            shutil.copy(path, page)
    config["docs_dir"] = str(STAGED)
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    for link, same in LINKS.items():
        markdown = re.sub(rf"\]\({link}\)", f"]({same})", markdown)
    return markdown
