"""The address of a server that speaks OpenAI's protocol, from what a person types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from distill.errors import CaptionError

_ROUTES = re.compile(r"/(?:chat/completions|completions|models)$")
_VERSION = re.compile(r"/v\d\w*(?:/|$)")
_EXAMPLE = "Give one such as http://127.0.0.1:11434/v1 (Ollama), :1234 (LM Studio) or :8080 (llama.cpp)."


@dataclass(frozen=True)
class Address:
    """Where the server is: `base` ends without a slash, in /v1 or another version."""

    base: str
    host: str
    port: int

    @property
    def place(self) -> str:
        """host:port, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether that is this very machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            ip = ip_address(self.host)
        except ValueError:
            return False
        return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def address_of(typed: str) -> Address:
    """`localhost:11434`, `http://host/v1/chat/completions` and all between. Raises CaptionError."""
    text = typed.strip().strip("\"'")
    if not text:
        raise CaptionError("No endpoint is set.", _EXAMPLE)
    try:
        parts = urlsplit(text if "://" in text else f"{_scheme_for(text)}://{text}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:  # a port that is no number, half an IPv6 address
        raise CaptionError("The endpoint's address can't be read.", _EXAMPLE) from None
    _refuse_unusable(parts, host)
    host = "127.0.0.1" if host == "0.0.0.0" else host  # what servers print that listen everywhere
    port = port or (443 if parts.scheme == "https" else 80)
    place = Address("", host, port).place
    return Address(f"{parts.scheme}://{place}{_path(parts.path)}", host, port)


def is_loopback(base: str) -> bool:
    """Whether a picture sent there stays on this machine. Raises CaptionError."""
    return address_of(base).is_loopback


def leaves(base: str) -> str:
    """What a person should know before a picture is sent there; "" when it stays here. Raises CaptionError."""
    address = address_of(base)
    return "" if address.is_loopback else f"The picture goes to {address.host}, which is another machine."


def _scheme_for(text: str) -> str:
    """http where people run their own servers: an address with a port or without a domain; else https."""
    place = text.split("/")[0]
    is_public = re.search(r"\.[a-z]{2,}$", place, re.IGNORECASE) and not place.lower().endswith((".local", ".lan"))
    return "https" if is_public else "http"


def _refuse_unusable(parts: SplitResult, host: str) -> None:
    if parts.scheme not in ("http", "https"):
        raise CaptionError(f"The endpoint's address begins with {parts.scheme}://.", "Only http and https can be used.")
    if parts.username is not None or parts.password is not None:
        raise CaptionError(
            "The endpoint's address has a user or password in it.",
            "Take it out; a key goes into DISTILL_ENDPOINT_KEY or its own field.",
        )
    if not re.fullmatch(r"[\w.-]+|[0-9a-fA-F:.]+", host):
        raise CaptionError("The endpoint's address can't be read.", _EXAMPLE)
    if parts.query or parts.fragment:
        raise CaptionError("The endpoint's address has a ? or # in it.", "Give it up to /v1.")


def _path(path: str) -> str:
    """The path up to its version; /v1 where it has none."""
    path = _ROUTES.sub("", re.sub(r"/{2,}", "/", path).rstrip("/"))
    return path if _VERSION.search(path) else f"{path}/v1"
