"""The page over the tiny chain, served in a thread, and a real browser where there is one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.served_page import Served
from PIL import Image

from page.config import PageConfig
from pipelines.config import SamplerConfig
from vision_module.config import DrawingConfig

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAX_FILE_MB = 2


@pytest.fixture(scope="session")
def config(chain, tmp_path_factory):
    """Settings of the page over the chain, with a folder of drawn pairs beside the data."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    import sample_pairs

    pairs = tmp_path_factory.mktemp("drawn") / "pairs"
    sample_pairs.main(chain.sample_flags(pairs, num_pairs=6))
    drawing = DrawingConfig(num_inference_steps=3, mixed_precision="no")
    decoding = sample_pairs.PRESETS["demo"].models.decoding
    runs = (chain.run(name) for name in ("uvit", "bart", "prior"))
    models = SamplerConfig(*runs, drawing=drawing, decoding=decoding)
    return PageConfig(
        models,
        chain.run("classifier"),
        autoencoder=chain.run("autoencoder"),
        data=Path(chain.run("data")),
        pairs=(pairs,),
        out=tmp_path_factory.mktemp("page") / "out",
        max_file_mb=MAX_FILE_MB,
    )


@pytest.fixture(scope="session")
def models(config):
    """The same models as the page has, apart from it."""
    from page.models import Models

    return Models(config)


@pytest.fixture(scope="session")
def served(config):
    page = Served(config)
    yield page
    page.stop()


@pytest.fixture(scope="session")
def client(served):
    import httpx

    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with playwright.sync_playwright() as driver:
        if program is None and not Path(driver.chromium.executable_path).is_file():
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed (apt install chromium)")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, served):
    """Opens the page as one more visitor: an own context. Whatever it asks of other places is an error."""
    contexts, strangers = [], []

    def open_page(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        own = (served.url, "data:", "blob:", "about:")
        page.on("request", lambda r: None if r.url.startswith(own) else strangers.append(r.url))
        page.goto(served.url)
        page.get_by_role("button", name="Draw", exact=True).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not strangers, f"the page asked elsewhere: {strangers[:3]}"


@pytest.fixture
def film_file(tmp_path):
    """A film of one's own, of a name that shall not be shown to anybody else."""
    path = tmp_path / "own film.png"
    y, x = np.mgrid[:96, :80]
    Image.fromarray((128 + 60 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8)).save(path)
    return path
