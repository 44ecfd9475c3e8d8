"""Two hundred hostile requests, and the page's doors: none escapes, none crashes it."""

import base64
import json
import socket
import sys
import uuid
from dataclasses import replace

import pytest
from helpers.served_page import Served
from PIL import Image

from data_module.pairs import PairsFolder
from page.config import PageConfig

httpx = pytest.importorskip("httpx", reason="the page needs gradio, which brings it")
MAX_MESSAGE = pytest.importorskip("page.guard", reason="the page needs gradio").MAX_MESSAGE
SECRET = "the secret that no request may see"
SCRIPT = '<img src=x onerror="window.hacked=1">'
PLACES = (
    *("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/svelte/"),
    *("/gradio_api/proxy=", "/proxy=", "/gradio_api/custom_component/0/client/component/", "/", "/theme/"),
    "/gradio_api/stream/",
)
TARGETS = (
    *(
        "{secret}",
        "/etc/passwd",
        "//etc/passwd",
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
    ),
    *("%2e%2e/%2e%2e/%2e%2e/etc/passwd", "....//....//etc/passwd", "..\\..\\etc\\passwd", "%00/etc/passwd"),
    *("file:///etc/passwd", "http://127.0.0.1:9/x", "C:\\Windows\\win.ini"),
)
CLOSED = (
    *("/monitoring", "/monitoring/summary", "/docs", "/openapi.json", "/redoc", "/gradio_api/openapi.json"),
    *(
        "/gradio_api/vibe-edit",
        "/gradio_api/vibe-code/",
        "/gradio_api/run-history/buckets",
        "/gradio_api/runs",
    ),
    *(
        "/gradio_api/deep_link",
        "/gradio_api/process_recording",
        "/gradio_api/component_server",
        "/gradio_api/info",
    ),
    *("/gradio_api/call/draw", "/gradio_api/run/draw", "/gradio_api/dev/reload", "/gradio_api/token"),
)


class Visitor:
    """A session without a browser: calls handlers as the page's own script does."""

    def __init__(self, client):
        self.client, self.session = client, uuid.uuid4().hex[:11]
        self.config = client.get("/config").json()
        self.ids = {
            part["props"].get("elem_id"): part["id"]
            for part in self.config["components"]
            if part["props"].get("elem_id")
        }

    def find(self, elem_id, event):
        """Number of the handler of a component's event, and how many inputs it has."""
        target = [self.ids[elem_id], event]
        (found,) = [one for one in self.config["dependencies"] if target in one["targets"]]
        return found["id"], found["inputs"]

    def call(self, number, data, event_data=None):
        """Everything that the page answers, as text."""
        body = {"data": data, "fn_index": number, "session_hash": self.session, "event_data": event_data}
        joined = self.client.post("/gradio_api/queue/join", json={**body, "trigger_id": None})
        if joined.status_code != 200:
            return joined.text
        text = ""
        with self.client.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": self.session}
        ) as lines:
            for line in lines.iter_lines():
                text += line
                if '"process_completed"' in line or '"close_stream"' in line or "unexpected_error" in line:
                    break
        return text

    def upload(self, name, content):
        """Path of the uploaded file on the server."""
        answer = self.client.post("/gradio_api/upload", files={"files": (name, content)})
        return answer.json()[0] if answer.status_code == 200 else None

    def defaults(self, inputs):
        """What the fields hold when the page is opened."""
        values = {part["id"]: part["props"].get("value") for part in self.config["components"]}
        return [values[part] for part in inputs]


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.fixture
def calls_out(monkeypatch):
    """Addresses off this machine that somebody tried to reach."""
    found, connect = [], socket.socket.connect

    def noting(self, address):
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            found.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noting)
    return found


def reference(path, **more):
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": "film.png", **more}


def hostile_requests(secret):
    """(method, path, options) of plain requests."""
    for place in PLACES:
        for target in TARGETS:
            yield "GET", place + target.format(secret=secret), {}
    for path in CLOSED:
        yield "GET", path, {}
        yield "POST", path, {"json": {"data": []}}
    yield "POST", "/gradio_api/queue/join", {"content": b"x" * (MAX_MESSAGE + 1)}
    yield "POST", "/gradio_api/queue/join", {"content": (b"[" * 1000 for _ in range(1000))}
    yield "POST", "/gradio_api/queue/join", {"content": b"[" * 100_000}
    yield "POST", "/gradio_api/queue/join", {"content": b"\xff\xfe"}
    yield "POST", "/gradio_api/upload", {"files": {"files": ("large.png", b"\0" * (2**21 + 2**20))}}
    yield "POST", "/gradio_api/upload", {"content": b"no multipart"}
    yield "PUT", "/", {"content": b"x"}
    yield "DELETE", "/", {}
    yield "GET", "/", {"headers": {"host": "evil.example"}}
    yield "POST", "/gradio_api/queue/join", {"headers": {"origin": "http://evil.example"}, "json": {}}
    yield "GET", "/config", {"headers": {"origin": "null"}}
    yield "GET", "/gradio_api/heartbeat/../../../etc/passwd", {}


# As no library sends them: lengths that are wrong, names and lines that are none.
RAW = (
    "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n",
    "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    "POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1e9\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1@evil.example\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[::1\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET /../../../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GIBBERISH\r\n\r\n",
)


def send_raw(url, text):
    """The first line of what is answered to these very bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(text.encode())
        return line.recv(4096).split(b"\r\n")[0].decode()


def send(url, method, path, options):
    """Status and text of a request whose path is sent as it stands."""
    with httpx.Client(timeout=30) as client:
        request = client.build_request(method, url, **options)
        request.url = request.url.copy_with(raw_path=path.encode("ascii", "replace"))
        answer = client.send(request)
        return answer.status_code, answer.text


@pytest.mark.slow
def test_no_plain_request_escapes(served, secret, calls_out):
    count = 0
    for method, path, options in hostile_requests(secret):
        try:
            status, text = send(served.url, method, path, options)
        except httpx.HTTPError:  # the server closed the line
            status, text = 400, ""
        assert 400 <= status < 500, (method, path, status)
        assert SECRET not in text
        assert "root:x" not in text
        count += 1
    for text in RAW:
        answer = send_raw(served.url, text)
        assert answer.split()[1][0] == "4" if answer else True, text
        count += 1
    assert count >= 190
    assert not calls_out
    assert send(served.url, "GET", "/", {})[0] == 200


def hostile_files(tmp_path):
    """Names and bytes that are no film, or claim to be a huge one."""
    Image.new("L", (4, 4), 7).save(tmp_path / "small.png")
    png = (tmp_path / "small.png").read_bytes()
    huge = png[:16] + (200_000).to_bytes(4, "big") * 2 + png[24:]
    yield "empty.png", b""
    yield "cut.png", png[:30]
    yield "huge.png", huge
    yield "page.html", b"<script>alert(1)</script>"
    yield "drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    yield "program.exe", b"MZ" + b"\0" * 100
    yield "model.pkl", b"\x80\x04cos\nsystem\n(S'touch /tmp/hacked'\ntR."
    yield "post.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n"
    yield "archive.zip", b"PK\x03\x04" + b"\0" * 50
    yield "film.dcm", b"\0" * 128 + b"DICM" + b"\xff" * 64
    yield "../../../../evil.png", b"no film"
    yield f"{SCRIPT}.png", b"no film"
    yield "x" * 400 + ".png", b"no film"
    yield "nul\0.png", b"no film"


def test_no_file_escapes(client, secret, tmp_path, calls_out):
    visitor = Visitor(client)
    number, inputs = visitor.find("read-file", "upload")
    drafts = visitor.defaults(inputs)[1]
    for name, content in hostile_files(tmp_path):
        path = visitor.upload(name, content)
        if path is None:
            continue
        assert "paircxr-page-" in path, "an upload lies elsewhere"
        text = visitor.call(number, [reference(path), drafts])
        assert "error" in text, name
        assert SCRIPT not in text.replace('\\"', '"')
    for path in (
        secret,
        "/etc/passwd",
        "../../etc/passwd",
        f"file://{secret}",
        "http://10.0.0.1/film.png",
        "",
        "\0",
    ):
        for more in ({}, {"url": "http://10.0.0.1/film.png"}, {"is_stream": True}):
            text = visitor.call(number, [reference(path, **more), drafts])
            assert SECRET not in text
            assert "root:x" not in text
    assert not calls_out, "the page fetched an address that it was given"


@pytest.mark.slow
def test_no_value_escapes(client, secret, config, calls_out):
    visitor = Visitor(client)
    before = {path.name for path in config.out.parent.iterdir()}
    draw, inputs = visitor.find("draw-button", "click")
    good = visitor.defaults(inputs)
    wrong = (None, "x", "NaN", -1, 0.5, 10**9, 1e308, True, [], {}, [[1]], SCRIPT, {"path": "/etc/passwd"})
    texts = [
        visitor.call(draw, [*good[:place], value, *good[place + 1 :]])
        for place in range(len(good))
        for value in wrong
    ]
    browse, inputs = visitor.find("browse-grid", "select")
    name = visitor.defaults(inputs)[0]
    rows = (-1, 10**9, "0", 1.5, None, True, [], {"a": 1}, "../../x")
    texts += [visitor.call(browse, [name, None, None], {"row": row}) for row in rows]
    texts += [
        visitor.call(browse, [folder, None, None], {"row": 0})
        for folder in ("/etc", "/", "..", "", str(secret))
    ]
    texts += [visitor.call(browse, [name, None, None], event) for event in (None, {}, [], "x")]
    begin, inputs = visitor.find("compare-begin", "click")
    texts += [visitor.call(begin, [one, "/etc"]) for one in (name, "/etc", None, [])]
    for number in (-1, 10**6, "x", None, True, 0.5):
        assert "no message of this page" in visitor.call(number, [])
    for text in texts:
        assert SECRET not in text
        assert "root:x" not in text
        assert SCRIPT not in json.dumps(text), "a value was answered as HTML"
    assert {path.name for path in config.out.parent.iterdir()} <= before | {config.out.name}
    assert not calls_out
    answer = visitor.call(draw, good)
    assert "data:image/png;base64," in answer, "the page no longer draws"


def test_a_folder_with_a_link_out_of_it_shows_no_stranger(models, config, tmp_path):
    """A pairs folder may come from anybody."""
    import shutil

    from page.folders import Folders

    shutil.copytree(config.pairs[0], tmp_path / "pairs")
    film = next((tmp_path / "pairs" / "images").rglob("*.png"))
    outside = tmp_path / "outside.png"
    film.rename(outside)
    film.symlink_to(outside)
    folders = Folders(models.data, [PairsFolder.open(tmp_path / "pairs")], models.classifier, models.lock)
    folder = folders.get(str(tmp_path / "pairs"))
    names = folder.pairs.table["file_name"].tolist()
    row = names.index(film.relative_to(tmp_path / "pairs").as_posix())
    assert folder.film(row) is None
    assert all(folder.film(other) for other in range(len(folder)) if other != row)


def test_a_public_page_needs_a_password(config, tmp_path):
    with pytest.raises(ValueError, match="--public"):
        PageConfig(host="0.0.0.0")
    with pytest.raises(ValueError, match="--password-file"):
        PageConfig(public=True)
    file = tmp_path / "password"
    with pytest.raises(ValueError, match="no such file"):
        PageConfig(password_file=file).read_password()
    file.write_text("short\n")
    with pytest.raises(ValueError, match="8 are needed"):
        PageConfig(password_file=file).read_password()
    file.write_text("long enough\n")
    assert PageConfig(host="0.0.0.0", public=True, password_file=file).read_password() == "long enough"


def test_the_password_is_asked_for_everywhere(config):
    page = Served(replace(config, public=True, password_file=config.data / "none"), password="correct horse")
    try:
        with httpx.Client(base_url=page.url, timeout=30) as client:
            for path in ("/", "/config", "/theme.css", "/assets/x.js", "/gradio_api/queue/data"):
                assert client.get(path).status_code == 401
            assert client.post("/gradio_api/upload").status_code == 401
            assert client.get("/", auth=("reader", "wrong")).status_code == 401
            assert client.get("/", auth=("reader", "correct horse")).status_code == 200
            assert (
                client.get("/", headers={"host": "any.name"}, auth=("reader", "correct horse")).status_code
                == 200
            )
            login = base64.b64encode(b"reader:").decode()
            assert client.get("/", headers={"authorization": f"Basic {login}"}).status_code == 401
    finally:
        page.stop()


def test_an_address_that_is_taken_is_said():
    from page.server import listen

    first = listen("127.0.0.1", 0)
    first.listen()
    with pytest.raises(ValueError, match="--port"):
        listen("127.0.0.1", first.getsockname()[1])
    with pytest.raises(ValueError, match="--host"):
        listen("no.such.host.invalid", 0)
    first.close()


def test_the_first_visitor_waits_for_no_library(config):
    """Whatever gradio would import at a page's first event is imported before the page opens."""
    page = Served(config)
    try:
        with httpx.Client(base_url=page.url, timeout=60) as client:
            visitor = Visitor(client)
            draw, inputs = visitor.find("draw-button", "click")
            before = {name.partition(".")[0] for name in sys.modules}
            answer = visitor.call(draw, visitor.defaults(inputs))
            assert "data:image" in answer
            late = {name.partition(".")[0] for name in sys.modules} - before
    finally:
        page.stop()
    assert "matplotlib" in before
    assert not late
