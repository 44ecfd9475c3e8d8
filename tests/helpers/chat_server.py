"""A server that speaks the chat completions of OpenAI's API over real HTTP, and keeps what it was sent."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers.serving import serving


class ChatServer(ThreadingHTTPServer):
    """`answer`: the last message -> its answer. `refusals`: statuses that the next requests get instead."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.refusals: list[int] = []
        self.location = ""  # of a redirect
        self.requests: list[dict] = []  # path, key and body of each

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serve_chat(answer: Callable[[str], str]) -> Iterator[ChatServer]:
    """A server that runs until the block ends."""
    server = ChatServer(answer)
    with serving(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = {"path": self.path, "key": self.headers.get("Authorization"), "body": body}
        self.server.requests.append(request)
        if self.server.refusals:
            self.send_response(self.server.refusals.pop(0))
            if self.server.location:
                self.send_header("Location", self.server.location)
            self.end_headers()
            return
        text = self.server.answer(body["messages"][-1]["content"])
        content = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
