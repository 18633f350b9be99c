"""A real HTTP server in a thread that answers as it is told, one answer for each request to /chat/completions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from distill.captions.endpoint.captioner import EndpointCaptioner
from distill.errors import CaptionError

LINES = "subject: 1 woman\nhair: long red hair\nclothing: green coat"
SMALL = Image.radial_gradient("L").resize((64, 48)).convert("RGB")


@dataclass
class Answer:
    """What is sent: `body` as JSON unless it is bytes; after `body[:cut]` the connection is closed."""

    body: Any = b""
    status: int = 200
    wait_s: float = 0.0
    cut: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


def chat(content: Any, finish_reason: str = "stop", **message: Any) -> Answer:
    """A chat completion as Ollama or llama.cpp send one."""
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content} | message,
    }
    return Answer({"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 7}})


@dataclass
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    json: Any


class Server:
    """`answers` are given one after the other, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.models = Answer()
        self.seen: list[Seen] = []
        self.left = threading.Event()  # a client hung up before its answer was sent
        self.reset()
        self.closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._http.daemon_threads = True
        self.place = f"127.0.0.1:{self._http.server_port}"
        self.base = f"http://{self.place}/v1"

    def reset(self) -> None:
        self.answers, self.models = [chat(LINES)], Answer({"object": "list", "data": []})
        self.seen.clear()
        self.left.clear()

    def refusal(self, *answers: Answer, key: str = "", timeout_s: float = 20, model: str = "qwen-vl") -> str:
        """The error of one picture; each is two clear lines at most, and says that nothing is lost."""
        self.answers = list(answers) or self.answers
        captioner = EndpointCaptioner(self.base, model, key=key, timeout_s=timeout_s)
        with captioner, pytest.raises(CaptionError) as caught:
            captioner.say(SMALL)
        error = caught.value
        assert "\n" not in str(error)
        assert error.hint.endswith("The captions are as they were and can be edited.")
        assert len(error.message) < 400
        return error.message + " | " + error.hint

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def bodies(self) -> list[dict[str, Any]]:
        return [seen.json for seen in self.seen if seen.method == "POST"]


class _Handler(BaseHTTPRequestHandler):
    owner: Server

    def do_GET(self) -> None:
        self.owner.seen.append(Seen("GET", self.path, dict(self.headers), None))
        self._give(self.owner.models if self.path == "/v1/models" else Answer(b"not here", 404))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.seen.append(Seen("POST", self.path, dict(self.headers), json.loads(body)))
        self._give(self.owner.next_answer() if self.path == "/v1/chat/completions" else Answer(b"", 404))

    def _give(self, answer: Answer) -> None:
        if not self._waited(answer.wait_s):
            return
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(data[: answer.cut])

    def _waited(self, wait_s: float) -> bool:
        until = time.monotonic() + wait_s
        while time.monotonic() < until and not self.owner.closing.is_set():
            if self._hung_up():
                self.owner.left.set()
                return False
            time.sleep(0.02)
        return True

    def _hung_up(self) -> bool:
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.setblocking(True)

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server._http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server._http.shutdown()
        server._http.server_close()
        thread.join()
