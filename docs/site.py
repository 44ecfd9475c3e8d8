"""What `make docs` adds to the pages of docs/: the README as home, and files outside that they link to."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
HOME = "README.md"
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff")
_OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside docs/, with its links as they are from within."""
    linked = {
        name
        for page in files.documentation_pages()
        for name in _OUTSIDE.findall(Path(page.abs_src_path or "").read_text())
    }
    for name in sorted({HOME, *BESIDE, *linked}):
        target = "index.md" if name == HOME else name
        if name.endswith(".md"):
            text = (ROOT / name).read_text().replace("](docs/", "](").replace(f"]({HOME}", "](index.md")
            files.append(File.generated(config, target, content=text))
        else:
            files.append(File.generated(config, target, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link out of docs/ leads to the copy within the site."""
    return markdown.replace(f"](../{HOME}", "](index.md").replace("](../", "](")
