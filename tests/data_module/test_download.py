"""Downloads from a server on this machine: parts, breaks, changes, refusals; and Open-I by --download."""

import hashlib
import io
import re
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from data_module.sources import download as download_module
from data_module.sources.config import OpenIConfig
from data_module.sources.download import download
from data_module.sources.open_i import prepare_open_i
from data_module.sources.open_i_mesh import map_headings
from data_module.sources.open_i_reports import read_views, unpack_films

CONTENT = np.random.default_rng(0).bytes(100_000)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files` with ranges, and notes each request."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        content = self.server.files.get(self.path)
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.server.requests.append((self.command, self.headers.get("Range", "")))
        etag = f'"{hashlib.md5(content or b"").hexdigest()}"'
        if content is None or (body and self.server.fail_after == 0):
            self.send_error(404 if content is None else 500)
            return
        if self.server.busy:
            self.server.busy -= 1
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.fail_after -= body
        status, part = 200, content
        if asked and self.server.ranges and self.headers.get("If-Range") == etag:
            status, part = 206, content[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(status)
        self.send_header("ETag", etag)
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.requests, server.ranges = {"/a.tgz": CONTENT}, [], True
    server.fail_after, server.busy = -1, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()


def parts_asked(server):
    return [asked for command, asked in server.requests if command == "GET"]


def test_parts_make_the_file(server, tmp_path):
    found = download(f"{server.url}/a.tgz", tmp_path / "deep" / "a.tgz", part=30_000)
    assert (tmp_path / "deep" / "a.tgz").read_bytes() == CONTENT
    assert found == hashlib.sha256(CONTENT).hexdigest()
    assert sorted(parts_asked(server)) == sorted(
        ["bytes=0-29999", "bytes=30000-59999", "bytes=60000-89999", "bytes=90000-99999"]
    )
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a.tgz", "a.tgz.sha256"]
    server.requests.clear()
    assert download(f"{server.url}/a.tgz", tmp_path / "deep" / "a.tgz") == found
    assert server.requests == []


def test_a_broken_download_goes_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "CONNECTIONS", 1)
    server.fail_after = 2
    with pytest.raises(ValueError, match="answers 500"):
        download(f"{server.url}/a.tgz", tmp_path / "a.tgz", part=30_000)
    assert not (tmp_path / "a.tgz").exists()
    server.fail_after = -1
    server.requests.clear()
    download(f"{server.url}/a.tgz", tmp_path / "a.tgz", part=30_000)
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT
    assert len(parts_asked(server)) == 2


def test_a_file_that_changed_meanwhile_begins_anew(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "CONNECTIONS", 1)
    server.fail_after = 2
    with pytest.raises(ValueError, match="answers 500"):
        download(f"{server.url}/a.tgz", tmp_path / "a.tgz", part=30_000)
    server.files["/a.tgz"] = CONTENT[::-1]
    server.fail_after = -1
    download(f"{server.url}/a.tgz", tmp_path / "a.tgz", part=30_000)
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges(server, tmp_path):
    server.ranges = False
    download(f"{server.url}/a.tgz", tmp_path / "a.tgz", part=30_000)
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT
    assert parts_asked(server) == [""]


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.busy = 2
    download(f"{server.url}/a.tgz", tmp_path / "a.tgz")
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT


def test_a_spoilt_file_is_named(server, tmp_path):
    download(f"{server.url}/a.tgz", tmp_path / "a.tgz")
    (tmp_path / "a.tgz").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ValueError, match=r"a\.tgz has changed since its download"):
        download(f"{server.url}/a.tgz", tmp_path / "a.tgz")


def test_no_network_and_no_file_are_said(server, tmp_path):
    with pytest.raises(ValueError, match="answers 404"):
        download(f"{server.url}/absent.tgz", tmp_path / "a.tgz")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ValueError, match=r"cannot be reached .*--reports and --images"):
        prepare_open_i(
            OpenIConfig(out=tmp_path / "out", download=tmp_path / "d", mirror=f"http://127.0.0.1:{port}")
        )
    assert not (tmp_path / "out").exists()


def pack(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("CXR9_IM-1-1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return buffer.getvalue()


def png(number):
    pixels = np.random.default_rng(number).integers(256, size=(20, 24), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def report(uid, film, major):
    return (
        f'<eCitation><uId id="{uid}"/><Abstract><AbstractText Label="FINDINGS">Film of {uid}, XXXX seen. '
        f"Clear lungs.</AbstractText></Abstract><MeSH><major>{major}</major></MeSH>"
        f'<parentImage id="{film}"/></eCitation>'
    ).encode()


def test_open_i_by_download(server, tmp_path):
    views = read_views()
    frontal = [film for film, view in views.items() if view == "PA"][:3]
    lateral = next(film for film, view in views.items() if view == "L")
    films = [*frontal, lateral]
    majors = ("Cardiomegaly/mild", "normal", "Opacity/lung/base/left", "normal")
    reports = {f"r/{n}.xml": report(f"CXR{n}", film, majors[n]) for n, film in enumerate(films)}
    server.files["/NLMCXR_reports.tgz"] = pack(reports)
    server.files["/NLMCXR_png.tgz"] = pack(
        {f"../../{film}.png": png(n) for n, film in enumerate(films) if n != 2}
    )
    flags = {"download": tmp_path / "raw", "mirror": server.url, "size": 16, "num_workers": 1}
    pairs = prepare_open_i(OpenIConfig(out=tmp_path / "out", **flags))
    assert not (tmp_path / f"{films[0]}.png").exists()
    assert not list((tmp_path / "raw").rglob("CXR9*"))
    table = pairs.table.set_index("study_id")
    assert sorted(table.index) == ["CXR0", "CXR1"]
    assert (table.loc["CXR0", "Cardiomegaly"], table.loc["CXR1", "No Finding"]) == (1, 1)
    lines = (tmp_path / "out" / "skipped.csv").read_text()
    assert f"{films[2]},no such film" in lines
    assert f"{lateral},left out: view 'L' is not in --views" in lines
    again = OpenIConfig(out=tmp_path / "dropped", **flags, blanks="drop-sentence")
    server.files.clear()  # what was downloaded is used again
    assert "XXXX" not in " ".join(prepare_open_i(again).table["report"])
    with pytest.raises(ValueError, match="--download: leave out"):
        prepare_open_i(OpenIConfig(out=tmp_path / "x", download=tmp_path, images=tmp_path))


def test_a_damaged_archive_of_films_is_named(tmp_path):
    whole = pack({f"{number}.png": png(number) for number in range(20)})
    (tmp_path / "films.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"films\.tgz: damaged"):
        unpack_films(tmp_path / "films.tgz")
    (tmp_path / "films.tgz").write_bytes(whole)
    assert len(list(unpack_films(tmp_path / "films.tgz").glob("*.png"))) == 20


def test_a_film_that_unpacks_to_too_much_is_refused(tmp_path):
    (tmp_path / "bomb.tgz").write_bytes(pack({"0.png": bytes(2**26 + 1)}))
    with pytest.raises(ValueError, match=r"bomb\.tgz: 0\.png has 67108865 bytes"):
        unpack_films(tmp_path / "bomb.tgz")
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    ("headings", "findings"),
    [
        (["normal"], {"No Finding"}),
        (["Cardiomegaly/mild", "Pulmonary Atelectasis/base/left"], {"Cardiomegaly", "Atelectasis"}),
        (["Catheters, Indwelling/right"], {"Support Devices", "No Finding"}),
        (["Opacity/lung/base/left/round"], {"Lung Opacity", "Lung Lesion"}),
        (["Nodule/lung/upper lobe/right", "Calcinosis/lung/upper lobe/right"], set()),
        (["Thickening/pleura/left"], {"Pleural Other"}),
        (["No Indexing"], set()),
        ([], set()),
    ],
)
def test_headings_become_findings(headings, findings):
    assert map_headings(headings) == dict.fromkeys(findings, 1.0)
