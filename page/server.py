"""app.py's server: the page behind its guard, on one address."""

import atexit
import os
import shutil
import socket
import tempfile
from typing import TYPE_CHECKING

from page.config import UPLOADS, PageConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


def serve(config: PageConfig) -> None:
    """Load the models and serve the page until Ctrl-C.

    Raises:
        ValueError: gradio is not installed, a model or folder is not there, or the address is taken.
    """
    password = config.read_password()
    listening = listen(config.host, config.port)
    print("loading the models ...", flush=True)
    app = make_app(config, password)
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"PairCXR's page: http://{shown}:{port} (Ctrl-C ends it)", flush=True)
    server.run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; ValueError where that cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise ValueError(
            f"--host {host} --port {port}: {error.strerror or error}; --port 0 takes a free one"
        ) from None
    return listening


def make_app(config: PageConfig, password: str = "") -> "ASGIApp":
    """The page as an ASGI application, its models loaded.

    Raises:
        ValueError: gradio is not installed, or a model or folder is not there.
    """
    uploads = tempfile.mkdtemp(prefix=UPLOADS)  # for this user's eyes alone, and gone at the end
    atexit.register(shutil.rmtree, uploads, ignore_errors=True)
    # Before gradio is imported: it reads these then.
    os.environ.update(GRADIO_TEMP_DIR=uploads, GRADIO_ANALYTICS_ENABLED="False", GRADIO_RUN_HISTORY="False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio
        import matplotlib.pyplot  # noqa: F401  # gradio's first event would, while its visitor waits seconds
        from fastapi import FastAPI
    except ImportError:
        raise ValueError("the page needs gradio: make app installs it") from None
    from data_module.pairs import PairsFolder
    from page.blocks import STYLE, build_page, make_theme
    from page.guard import Guard
    from page.models import Models

    others = [PairsFolder.open(folder) for folder in config.pairs]  # a wrong one is told before models load
    models = Models(config)
    models.warm_up()
    max_upload = config.max_file_mb * 2**20
    page = build_page(models, others)
    app = gradio.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=max_upload,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=make_theme(),
        head=f"<style>{STYLE.read_text()}</style>",  # gradio's own way drops container queries
    )
    hosts = None if config.public else (*_LOCAL_NAMES, config.host)
    return Guard(app, hosts, password, max_upload, page.fns)
