"""What stands before the page: who may ask, for what, and how much may be sent.

The page needs a handful of gradio's routes. All others (its proxy, its file server, its editor ...) are
closed, so that no path or address in a request leads anywhere.
"""

import asyncio
import base64
import json
import re
import secrets
from collections.abc import Container, Iterable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

USER = "reader"
MAX_MESSAGE = 256 * 1024  # bytes of a request that is no upload: a prompt has 10,000 characters at most
_API = "queue/join|queue/data|upload|upload_progress|heartbeat/[a-z0-9]{1,40}|reset|cancel|startup-events"
_OPEN = re.compile(
    rf"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/gradio_api/(?:{_API}|theme\.css)"
    r"|/(?:assets|static)/[A-Za-z0-9_\-./]{1,200}"
)
_UPLOAD, _ASK = "/gradio_api/upload", "/gradio_api/queue/join"
_HEADERS = {
    # Nothing is loaded from, or sent to, any other place. Gradio starts with a script within its page, and
    # makes functions of its own components' scripts.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


class TooLarge(Exception):
    """A request's body went over its limit as it came in."""


class Guard:
    """ASGI middleware over the page.

    Args:
        hosts: names under which the page may be asked for, without port (against DNS rebinding); None: any.
        password: of the user `reader`; "" lets everybody in.
        max_upload: bytes of an upload.
        handlers: numbers of the page's handlers.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str] | None,
        password: str,
        max_upload: int,
        handlers: Container[int],
    ) -> None:
        self.app, self.hosts, self.max_upload = app, None if hosts is None else set(hosts), max_upload
        self.handlers = handlers
        self.login = base64.b64encode(f"{USER}:{password}".encode()).decode() if password else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, and hand on the rest."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # websockets: the page uses none
            return
        headers = Headers(scope=scope)
        refused = await self._refuse(scope, headers)
        if refused:
            await refused(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        left, started = limit, False

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise TooLarge
            return message

        async def whole() -> bytes:
            body, more = b"", True
            while more:
                message = await counted()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            return body

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                kept = [(name, value) for name, value in message["headers"] if name.decode() not in _HEADERS]
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": kept + added}
            await send(message)

        try:
            if scope["method"] != "POST" or scope["path"] == _UPLOAD:
                await self.app(scope, counted, with_headers)
            elif self._is_message(scope["path"], body := await whole()):
                await self.app(scope, _replay(body, receive), with_headers)
            else:
                await PlainTextResponse("no message of this page", 400)(scope, receive, send)
        except TooLarge:
            if not started:
                await _too_large(limit)(scope, receive, send)

    def _is_message(self, path: str, body: bytes) -> bool:
        """Whether a message can be read and asks for a handler that there is: gradio fails at others."""
        try:
            message = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return False
        number = message.get("fn_index") if isinstance(message, dict) else None
        return path != _ASK or (type(number) is int and number in self.handlers)

    def _limit(self, path: str) -> int:
        return self.max_upload + MAX_MESSAGE if path == _UPLOAD else MAX_MESSAGE

    async def _refuse(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if self.hosts is not None and read_host(host) not in self.hosts:
            return PlainTextResponse("this page is not served under that name", 421)
        if headers.get("origin", f"http://{host}").partition("://")[2] != host:
            return PlainTextResponse("other pages may not use this one", 403)
        if self.login and not secrets.compare_digest(
            headers.get("authorization", "").removeprefix("Basic ").encode(), self.login.encode()
        ):
            if "authorization" in headers:
                await asyncio.sleep(1.0)  # guessing takes its time
            return PlainTextResponse(
                "a password is needed", 401, {"www-authenticate": 'Basic realm="PairCXR", charset="UTF-8"'}
            )
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("no such method", 405)
        if not _OPEN.fullmatch(scope["path"]) or ".." in scope["path"]:
            return PlainTextResponse("there is nothing here", 404)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limit(scope["path"]):
            return _too_large(self._limit(scope["path"]))
        return None


def read_host(text: str) -> str | None:
    """The name in a Host header, without its port; None for what is none."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.\-]+))(?::\d{1,5})?", text)
    return (found[1] or found[2]).lower() if found else None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives a message that has been read once more, then whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _too_large(limit: int) -> PlainTextResponse:
    return PlainTextResponse(f"larger than {limit:,} bytes, which is not taken", 413)
