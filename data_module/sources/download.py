"""Files from a web server: in parts over several connections, resumed after a break, checked when whole."""

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from runtime.files import file_hash, read_json, write_atomic

PART = 8 * 2**20  # bytes of one request
CONNECTIONS = 4  # at once: more would be rude to a public server
_ATTEMPTS = 5  # of each request, with growing pauses
_TIMEOUT_S = 60.0
_COPY_BYTES = 2**20
_AGENT = "PairCXR (research; resumes, at most 4 connections)"


class RemoteFile(NamedTuple):
    """What the server says of a file. `version` changes when the file does ("" if it does not say)."""

    size: int
    version: str
    ranges: bool  # whether it sends parts


def download(url: str, target: Path, part: int = PART) -> str:
    """Download a file unless it is there; returns its SHA-256.

    A broken download goes on where it stopped, as long as the server's file is the same. The sum of a
    finished file is kept beside it and checked when the file is used again.

    Raises:
        ValueError: no network, a refusal of the server, a file that changed, or too little disk space.
    """
    sums = target.with_name(f"{target.name}.sha256")
    if target.is_file() and sums.is_file():
        found = file_hash(target)
        if found != sums.read_text(errors="replace").partition(" ")[0].strip():
            raise ValueError(f"{target} has changed since its download: delete it and run the command again")
        return found
    remote = _ask(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if remote.size > free:
        raise ValueError(
            f"{url} needs {remote.size / 1e9:.2f} GB in {target.parent}, free: {free / 1e9:.2f} GB"
        )
    partial = target.with_name(f"{target.name}.part")
    _fetch(url, partial, remote, part)
    if partial.stat().st_size != remote.size:
        raise ValueError(
            f"{url}: {partial.stat().st_size} bytes came, {remote.size} were announced; try again"
        )
    found = file_hash(partial)
    write_atomic(sums, f"{found}  {target.name}\n")
    partial.replace(target)
    _progress_of(partial).unlink(missing_ok=True)
    return found


def _ask(url: str) -> RemoteFile:
    with _open(url, {}, "HEAD") as reply:
        size = int(reply.headers.get("Content-Length") or -1)
        version = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        ranges = reply.headers.get("Accept-Ranges", "").lower() == "bytes"
    if size < 0:
        raise ValueError(f"{url}: the server does not say how large the file is; download it by hand")
    return RemoteFile(size, version, ranges)


def _progress_of(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _fetch(url: str, partial: Path, remote: RemoteFile, part: int) -> None:
    """Get the parts that are not there yet. Finished parts are recorded after they are on the disk."""
    if not remote.ranges:
        part = max(remote.size, 1)
    facts = {"url": url, "size": remote.size, "version": remote.version, "part": part}
    progress = _progress_of(partial)
    done = (
        _read_progress(progress, facts)
        if partial.is_file() and partial.stat().st_size == remote.size
        else set()
    )
    if not done:
        with partial.open("wb") as file:
            file.truncate(remote.size)
    starts = range(0, remote.size, part)
    missing = [start for start in starts if start not in done]
    have = sum(min(part, remote.size - start) for start in done)
    with (
        ThreadPoolExecutor(CONNECTIONS) as pool,
        tqdm(total=remote.size, initial=have, desc=partial.stem, unit="B", unit_scale=True) as bar,
    ):
        waiting = {
            pool.submit(_fetch_part, url, partial, start, min(part, remote.size - start), remote): start
            for start in missing
        }
        try:
            for future in as_completed(waiting):
                bar.update(future.result())
                done.add(waiting[future])
                write_atomic(progress, json.dumps({"facts": facts, "done": sorted(done)}))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read_progress(progress: Path, facts: dict[str, Any]) -> set[int]:
    """Starts of the parts that are there; none where the record is of another file, or damaged."""
    try:
        saved = read_json(progress)
        return {int(start) for start in saved["done"]} if saved.get("facts") == facts else set()
    except (ValueError, KeyError, TypeError):
        return set()


def _fetch_part(url: str, partial: Path, start: int, length: int, remote: RemoteFile) -> int:
    headers = {}
    if remote.ranges:
        headers["Range"] = f"bytes={start}-{start + length - 1}"
        if remote.version:
            headers["If-Range"] = remote.version  # a file that changed comes whole, with status 200
    for attempt in range(_ATTEMPTS):
        try:
            with _open(url, headers) as reply:
                if remote.ranges and reply.status != 206:
                    raise ValueError(f"{url} changed while it was downloaded: run the command again")
                if _copy(reply, partial, start) == length:
                    return length
        except (HTTPException, OSError) as error:
            if attempt == _ATTEMPTS - 1:
                raise ValueError(f"{url}: the connection broke ({error}); the same command goes on") from None
        time.sleep(0.5 * 2**attempt if attempt else 0)
    raise ValueError(f"{url}: the server sends less than it announced; the same command goes on")


def _copy(reply: HTTPResponse, partial: Path, start: int) -> int:
    """Write a reply at its place; returns its length."""
    with partial.open("r+b") as file:
        file.seek(start)
        shutil.copyfileobj(reply, file, _COPY_BYTES)
        return file.tell() - start


def _open(url: str, headers: Mapping[str, str], method: str = "GET") -> HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT, **headers}, method=method)
    for attempt in range(_ATTEMPTS):
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            pause = error.headers.get("Retry-After", "")
            if error.code not in (429, 503) or attempt == _ATTEMPTS - 1:
                raise ValueError(f"{url}: the server answers {error.code} {error.reason}") from None
            time.sleep(min(float(pause), 60.0) if pause.isdecimal() else 2.0**attempt)
        except (urllib.error.URLError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            raise ValueError(
                f"{url} cannot be reached ({reason}). Without a network, copy the file from a machine that "
                "has one, and name its place by --reports and --images"
            ) from None
    raise ValueError(f"{url}: the server stays busy; try again later")
