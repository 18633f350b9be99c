"""A small Hugging Face hub on this machine: the API of one model, `resolve` with redirects, a second host for bytes."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 10_000  # bytes from which a file is "LFS": with a SHA-256, and served by the other host


@dataclass
class Seen:
    """One request as it arrived."""

    host: str  # "hub" or "cdn"
    path: str
    start: int  # of the range, 0 without one
    token: str


@dataclass
class Hub:
    """What it has and how it behaves; the fields may be changed while it runs."""

    files: dict[str, bytes]
    repository: str = "distill-tests/tiny"
    status: int = 0  # answer everything with this
    code: str = ""  # the hub's own X-Error-Code with it
    bytes_per_s: float = 0.0  # of large files; 0 is as fast as it can
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    ranges: bool = True
    damaged: bool = False
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> Hub:
        self._servers = [_serve(self, "hub"), _serve(self, "cdn")]
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def sent(self, name: str) -> list[int]:
        """Where the requests for the bytes of a file began."""
        host = "cdn" if len(self.files[name]) >= LARGE else "hub"
        return [seen.start for seen in self.seen if seen.host == host and seen.path.endswith(f"/{name}")]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        hub, host = self.server.hub, self.server.host
        path = unquote(urlsplit(self.path).path)
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        hub.seen.append(Seen(host, path, start, self.headers.get("Authorization", "")))
        if hub.status:
            self._json({"error": "no"}, hub.status, hub.code)
        elif path.startswith(f"/api/models/{hub.repository}/revision/"):
            self._info(path.rsplit("/revision/", 1)[1])
        elif path.startswith(f"/{hub.repository}/resolve/{COMMIT}/"):
            self._file(path.rsplit("/", 1)[1], start)
        else:
            self._json({"error": "Repository not found"}, 404, "RepoNotFound")

    def _info(self, revision: str) -> None:
        hub = self.server.hub
        if revision not in ("main", COMMIT):
            self._json({"error": "Invalid rev id"}, 404, "RevisionNotFound")
            return
        siblings = [_sibling(name, content) for name, content in hub.files.items()]
        about = {"_id": "0", "id": hub.repository, "modelId": hub.repository, "tags": [], "downloads": 0}
        self._json({**about, "sha": COMMIT, "private": False, "siblings": siblings})

    def _file(self, name: str, start: int) -> None:
        hub, host = self.server.hub, self.server.host
        content = hub.files[name]
        if host == "hub" and len(content) >= LARGE:
            self.send_response(302)
            self.send_header("Location", f"{hub.cdn}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if hub.damaged and len(content) >= LARGE:
            content = bytes(len(content))
        start = start if hub.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self._bytes(content[start:])

    def _bytes(self, content: bytes) -> None:
        hub = self.server.hub
        large = len(content) > 1000
        end = hub.cuts.pop(0) if hub.cuts and large else len(content)
        step = max(1, int(hub.bytes_per_s / 50)) if hub.bytes_per_s and large else 1 << 20
        try:
            for at in range(0, end, step):
                self.wfile.write(content[at : min(at + step, end)])
                if hub.bytes_per_s and large:
                    time.sleep(0.02)
        except OSError:
            self.close_connection = True
        if end < len(content):
            self.close_connection = True

    def _json(self, content: object, status: int = 200, code: str = "") -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: Hub, host: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.host = hub, host


def _serve(hub: Hub, host: str) -> _Server:
    server = _Server(hub, host)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def _sibling(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    found: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
    if len(content) >= LARGE:
        digest = hashlib.sha256(content).hexdigest()
        found["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
    return found
