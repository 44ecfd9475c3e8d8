"""A server of the Hugging Face hub's endpoints that an upload needs, over real HTTP; it keeps what comes.

Tokens: "hf_write" may write, "hf_read" may not, any other is unknown. Safetensors and large files go by Git
LFS, all else within the commit, as on the hub.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from helpers.serving import serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """`root/OWNER/NAME` holds the files of each repository."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.objects: dict[str, bytes] = {}  # of LFS
        self.created: dict[str, dict] = {}  # repository -> what was asked for
        self.commits: list[list[str]] = []  # names of each
        self.fail_commits = 0  # so many are answered by 503 from now on

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serve_hub(root: Path) -> Iterator[Hub]:
    """A hub that runs until the block ends."""
    hub = Hub(root)
    with serving(hub):
        yield hub


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.path != "/api/validate-yaml" and token not in ("hf_write", "hf_read"):
            return self._answer(401, {"error": "Invalid credentials in Authorization header"})
        if token == "hf_read":
            return self._answer(403, {"error": "This token has no write access"})
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self._validate(json.loads(body))
        if found := re.fullmatch(r"/api/(?:model|dataset)s/(.+)/preupload/main", self.path):
            return self._preupload(found[1], json.loads(body))
        if found := re.fullmatch(r"/(?:datasets/)?(.+)\.git/info/lfs/objects/batch", self.path):
            return self._batch(json.loads(body))
        if found := re.fullmatch(r"/api/(?:model|dataset)s/(.+)/commit/main", self.path):
            return self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        return self._answer(404, {"error": f"no such endpoint: {self.path}"})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[self.path.removeprefix("/lfs/")] = body
        self._answer(200, {})

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/api/(?:model|dataset)s/(.+)/revision/main", self.path):
            return self._answer(200, {"id": found[1], "sha": COMMIT, "tags": []})
        return self._answer(404, {"error": "no such endpoint"})

    def _create(self, wish: dict) -> None:
        name = f"{wish['organization']}/{wish['name']}"
        kind = "datasets/" if wish.get("type") == "dataset" else ""
        known = name in self.server.created
        self.server.created.setdefault(name, wish)
        answer = {"url": f"{self.server.address}/{kind}{name}", "name": name, "id": name}
        self._answer(409 if known else 200, answer)

    def _validate(self, wish: dict) -> None:
        content = wish["content"]
        found = re.match(r"---\n(.*?)\n---\n", content, flags=re.DOTALL)
        fields = yaml.safe_load(found[1]) if found else None
        right = isinstance(fields, dict) and isinstance(fields.get("license"), str)
        errors = [] if right else [{"message": "no license in the card"}]
        self._answer(200 if right else 400, {"errors": errors, "warnings": []})

    def _preupload(self, repo: str, wish: dict) -> None:
        files = []
        for entry in wish["files"]:
            large = entry["path"].endswith(".safetensors") or entry["size"] > 100_000
            file = {"path": entry["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            there = self.server.root / repo / entry["path"]
            if there.is_file():
                content = there.read_bytes()
                blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                file["oid"] = hashlib.sha256(content).hexdigest() if large else blob
            files.append(file)
        self._answer(200, {"files": files})

    def _batch(self, wish: dict) -> None:
        objects = []
        for entry in wish["objects"]:
            upload = {"href": f"{self.server.address}/lfs/{entry['oid']}", "header": {}}
            known = entry["oid"] in self.server.objects
            objects.append({**entry, **({} if known else {"actions": {"upload": upload}})})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _commit(self, repo: str, lines: list[dict]) -> None:
        if self.server.fail_commits:
            self.server.fail_commits -= 1
            return self._answer(500, {"error": "the hub is being mended"})
        names = []
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                continue
            if line["key"] == "lfsFile":
                content = self.server.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
            else:
                content = base64.b64decode(value["content"])
            path = self.server.root / repo / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            names.append(value["path"])
        self.server.commits.append(names)
        answer = {"success": True, "commitUrl": f"{self.server.address}/{repo}/commit/{COMMIT}"}
        return self._answer(200, {**answer, "commitOid": COMMIT, "hookOutput": ""})

    def _answer(self, code: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
