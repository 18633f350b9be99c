"""Captions from a server that speaks OpenAI's protocol: Ollama, LM Studio, llama.cpp, vLLM, KoboldCpp and others.

Plain httpx, which every host has; the `openai` package would move the host's other packages.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from distill.captions.captioner import CaptioningStopped, Closing, never
from distill.captions.endpoint.address import Address, address_of, is_loopback, leaves
from distill.captions.endpoint.answers import (
    CUT,
    Asked,
    names_of,
    refusal_of,
    refused_parameter,
    text_of,
)
from distill.captions.endpoint.exchange import CONNECT_S, LARGEST, Reply, Request, TooLarge, exchange
from distill.captions.portrait import PROMPT
from distill.errors import CaptionError

__all__ = ["EndpointCaptioner", "choose", "is_loopback", "leaves", "models"]

KEY_VARIABLE = "DISTILL_ENDPOINT_KEY"
TIMEOUT_S = 300.0
LIST_TIMEOUT_S = 10.0
EDGE_PX = 1024
MAX_TOKENS = 1024  # thirteen lines take about 200; the rest is for models that think first
ANY_MODEL = "default"  # for servers that list none and serve the one they were started with

_SEES = re.compile(
    r"(?<![a-z])vlm?(?![a-z])|vision|llava|moondream|gemma-?3(?!.*(?<!\d)(?:1b|270m))|gemma-?4|minicpm-?v|joy-?caption"
    r"|florence|smolvlm|pixtral|internvl|idefics|cogvlm|molmo|paligemma|qwen[\d.]*-?vl|glm-[\d.]+v|gpt-4o|gpt-5|gemini"
    r"|mistral-small-?3|llama-?4|qwen-?3\.5",
    re.IGNORECASE,
)


class EndpointCaptioner(Closing):
    """Asks for one structured description per picture; `notes` is what the person should know of the last one."""

    def __init__(self, base: str, model: str = "", *, key: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._address = address_of(base)
        self._key, self._model, self._timeout_s = _checked_key(key), model.strip(), timeout_s
        self.name = f"{self._model or 'a model'} at {self._address.place}"
        self.notes: tuple[str, ...] = ()

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """The model's labelled lines. Stopped within half a second. Raises CaptionError, CaptioningStopped."""
        if should_stop():
            raise CaptioningStopped
        if not self._model:
            self._model = choose(models(self._address.base, self._key, should_stop)) or ANY_MODEL
            self.name = f"{self._model} at {self._address.place}"
        asked = Asked(self._address, self._model, self._key)
        reply = self._ask(_body(self._model, image), asked, should_stop)
        if reply.status != 200:
            raise refusal_of(reply, asked, self._there(reply, should_stop))
        text, cut = text_of(reply, asked)
        self.notes = tuple(note for note in (leaves(self._address.base), CUT if cut else "") if note)
        return text

    def _ask(self, body: dict[str, Any], asked: Asked, should_stop: Callable[[], bool]) -> Reply:
        """The reply, asked again without a parameter that the server refuses, once for each."""
        while True:
            url = f"{self._address.base}/chat/completions"
            reply = _sent(Request("POST", url, self._timeout_s, _headers(self._key), body), asked, should_stop)
            refused = refused_parameter(reply, {name: body[name] for name in _OPTIONAL if name in body})
            if not refused:
                return reply
            value = body.pop(refused)
            if refused == "max_tokens" and b"max_completion_tokens" in reply.body:
                body["max_completion_tokens"] = value

    def _there(self, reply: Reply, should_stop: Callable[[], bool]) -> Sequence[str]:
        """The server's models, asked for only where a wrong one may be the reason."""
        if reply.status not in (400, 404, 500):
            return ()
        try:
            return models(self._address.base, self._key, should_stop)
        except CaptioningStopped:
            raise
        except CaptionError:
            return ()


_OPTIONAL = ("seed", "temperature", "max_completion_tokens", "max_tokens")


def models(base: str, key: str = "", should_stop: Callable[[], bool] = never) -> list[str]:
    """The names that the server lists, maybe none. Raises CaptionError when nobody answers or the key is refused."""
    address, key = address_of(base), _checked_key(key)
    asked = Asked(address, "", key)
    reply = _sent(Request("GET", f"{address.base}/models", LIST_TIMEOUT_S, _headers(key)), asked, should_stop)
    if reply.status in (401, 403):
        raise refusal_of(reply, asked)
    return names_of(reply)


def choose(names: Sequence[str]) -> str:
    """The first model that sees pictures, by its name; else the first that is no embedding; "" of none."""
    usable = [name for name in names if not re.search("embed|rerank|whisper", name, re.IGNORECASE)]
    return next((name for name in usable if _SEES.search(name)), usable[0] if usable else "")


def _body(model: str, image: Image.Image) -> dict[str, Any]:
    content = [
        {"type": "text", "text": PROMPT},
        {"type": "image_url", "image_url": {"url": _data_uri(image)}},
    ]
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "seed": 0,
        "stream": False,
    }


def _data_uri(image: Image.Image) -> str:
    """The picture as JPEG, at most 1024 px at its longer edge."""
    small = image.convert("RGB")
    small.thumbnail((EDGE_PX, EDGE_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _checked_key(key: str) -> str:
    """The key given, else the environment's; raises CaptionError for one that no header can carry."""
    key = (key or os.environ.get(KEY_VARIABLE, "")).strip()
    if not (key.isascii() and key.isprintable()):
        raise CaptionError("The endpoint's key has letters that no key has.", "Copy it again.")
    return key


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _sent(request: Request, asked: Asked, should_stop: Callable[[], bool]) -> Reply:
    """The reply to it. Raises CaptionError for everything that can happen on the way, CaptioningStopped."""
    import httpx

    place = asked.address.place
    try:
        return exchange(request, should_stop)
    except TooLarge:
        what = f"{place} sent more than {LARGEST // 2**20} MiB, which is no caption."
        error = asked.trouble(what, "Check the address.")
    except httpx.ConnectTimeout:
        what = f"{place} could not be reached within {CONNECT_S:g} s."
        error = asked.trouble(what, "Check the address and that the server runs.")
    except (httpx.TimeoutException, TimeoutError):
        what = f"{place} did not answer within {request.timeout_s:g} s."
        error = asked.trouble(what, "Try again once its model is loaded, or choose a smaller model.")
    except httpx.ConnectError as caught:
        error = _unreachable(asked, caught)
    except (httpx.HTTPError, OSError):
        what = f"The connection to {place} broke off before the answer was whole."
        error = asked.trouble(what, "Look at the server's console (out of memory?), then try again.")
    except (httpx.InvalidURL, UnicodeError, ValueError):
        error = asked.trouble("The endpoint's address can't be used.", "Check it.")
    raise error from None


def _unreachable(asked: Asked, caught: Exception) -> CaptionError:
    address: Address = asked.address
    if re.search("SSL|certificate", str(caught), re.IGNORECASE):
        return asked.trouble(
            f"{address.place} does not show a certificate that is trusted.",
            "Check whether the address begins with http or https.",
        )
    return asked.trouble(f"Nothing answers at {address.place}.", "Start the server, or correct the address.")
