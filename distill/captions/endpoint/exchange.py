"""One HTTP exchange that can be stopped while it waits.

A model may think for minutes before the first byte, and a blocked read can't be ended from another thread. So
the exchange is a task in an event loop of its own thread, where cancelling closes the connection at once; servers
see that and end their work. Streamed answers would not help: nothing is streamed while the picture is read.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from distill.captions.captioner import CaptioningStopped

POLL_S = 0.1
CONNECT_S = 5.0
LARGEST = 2**20  # bytes; a caption has some hundreds, thoughts some ten thousands


class TooLarge(Exception):
    """More was sent than an answer can be."""


@dataclass(frozen=True)
class Request:
    """What is asked; without its headers in the repr, because a key is among them."""

    method: str
    url: str
    timeout_s: float  # in all
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    json: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Reply:
    """What came back, whole."""

    status: int
    body: bytes
    location: str = ""  # where a redirect points


def exchange(request: Request, should_stop: Callable[[], bool]) -> Reply:
    """Send it and wait. Raises CaptioningStopped, TooLarge, TimeoutError, OSError, httpx.HTTPError or InvalidURL."""
    left = threading.Event()
    future: Future[Reply] = Future()
    threading.Thread(target=_run, args=(request, left, future), name="distill-endpoint", daemon=True).start()
    try:
        while not wait([future], timeout=POLL_S).done:
            if should_stop():
                raise CaptioningStopped
    finally:
        left.set()  # stopped or interrupted: the thread closes the connection, nobody waits for it
    return future.result()


def _run(request: Request, left: threading.Event, future: Future[Reply]) -> None:
    try:
        future.set_result(asyncio.run(_until(left, request)))
    except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
        future.set_exception(error)


async def _until(left: threading.Event, request: Request) -> Reply:
    """The reply, unless nobody waits any more or it takes too long."""
    task = asyncio.ensure_future(_send(request))
    loop = asyncio.get_running_loop()
    until = loop.time() + request.timeout_s
    while not (await asyncio.wait({task}, timeout=POLL_S))[0]:
        if left.is_set() or loop.time() > until:
            task.cancel()
            await asyncio.wait({task})
            raise TimeoutError
    return task.result()


async def _send(request: Request) -> Reply:
    import httpx

    timeout = httpx.Timeout(request.timeout_s, connect=min(CONNECT_S, request.timeout_s))
    # Identity: a small compressed answer could unfold into a gigantic one.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **request.headers}
    async with (
        httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False) as client,
        client.stream(request.method, request.url, headers=headers, json=request.json) as response,
    ):
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > LARGEST:
                raise TooLarge
        return Reply(response.status_code, bytes(body), response.headers.get("location", ""))
