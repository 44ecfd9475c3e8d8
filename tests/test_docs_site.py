"""The site of `make docs`: every page is in it once, and every link leads somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built in strict mode: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def list_pages(nav):
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from list_pages(value) if isinstance(value, list) else [value]


def test_the_nav_names_every_page_once():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    pages = list(list_pages(config["nav"]))
    assert sorted(pages) == sorted(["index.md", *(path.name for path in (ROOT / "docs").glob("*.md"))])
    doors = [next(iter(entry)) for entry in config["nav"]]
    assert [door for door in doors if door in ("Reproduce", "Augment", "Benchmark")] == doors[1:4]


def test_the_site_is_whole(site):
    home = (site / "index.html").read_text()
    assert "Chest X-ray <strong>image-report pairs</strong> from text" in home
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in home
        assert (site / f"{page.stem}.html").is_file()
    for name in ("CHANGELOG.html", "CONTRIBUTING.html", "CITATION.cff", "experiments/slurm.sbatch"):
        assert (site / name).is_file()


def test_no_page_loads_anything_from_elsewhere(site):
    for page in site.glob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="?(https?:[^" >]+)', text)
        loaded += re.findall(
            r'<link[^>]+rel="?(?:stylesheet|preconnect|icon)"?[^>]+href="?(https?:[^" >]+)', text
        )
        assert not loaded, f"{page.name}: {loaded}"


def test_a_link_that_leads_nowhere_is_an_error(tmp_path):
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[gone](gone.md)\n")
    config |= {"nav": ["index.md"], "hooks": [], "not_in_nav": ""}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "gone.md" in done.stderr
