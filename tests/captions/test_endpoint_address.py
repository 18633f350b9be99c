"""Addresses as people type them, and whether a picture that is sent there leaves the machine."""

from __future__ import annotations

import pytest

from distill.captions.endpoint.address import address_of
from distill.captions.endpoint.captioner import EndpointCaptioner, is_loopback, leaves, models
from distill.errors import CaptionError


@pytest.mark.parametrize(
    ("typed", "base"),
    [
        ("localhost:11434", "http://localhost:11434/v1"),
        (" http://127.0.0.1:11434 ", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:1234/v1", "http://127.0.0.1:1234/v1"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://localhost:5001//v1/models", "http://localhost:5001/v1"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080/v1"),
        ("nas.local", "http://nas.local:80/v1"),
        ("openrouter.ai/api/v1", "https://openrouter.ai:443/api/v1"),
        ("https://example.org/proxy/llama", "https://example.org:443/proxy/llama/v1"),
        ("https://example.org/v1beta/openai/", "https://example.org:443/v1beta/openai"),
        ("[::1]:8080", "http://[::1]:8080/v1"),
        ('"http://LOCALHOST:1234"', "http://localhost:1234/v1"),
    ],
)
def test_addresses_as_people_type_them(typed: str, base: str) -> None:
    assert address_of(typed).base == base
    assert address_of(base).base == base


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("  ", "No endpoint is set"),
        ("ftp://localhost/v1", "begins with ftp://"),
        ("file:///etc/passwd", "begins with file://"),
        ("http://me:pa55word@localhost:1234/v1", "user or password"),
        ("http://localhost:port/v1", "can't be read"),
        ("http://[::1:8080", "can't be read"),
        ("http://", "can't be read"),
        ("http://local host:1", "can't be read"),
        ("http://localhost:1/v1?key=1", "? or #"),
    ],
)
def test_addresses_that_can_not_be_used(typed: str, said: str) -> None:
    for use in (EndpointCaptioner, is_loopback, leaves, models):
        with pytest.raises(CaptionError) as caught:
            use(typed)
        assert said in str(caught.value)
        assert "pa55word" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_picture_that_leaves_the_machine_is_told_of() -> None:
    for here in ("localhost:1", "http://127.0.0.1:2", "http://127.9.9.9", "[::1]:3", "0.0.0.0:4", "x.localhost:5"):
        assert is_loopback(here), here
        assert leaves(here) == ""
    for there in ("http://192.168.1.7:11434", "https://api.example.org/v1", "http://127.0.0.1.evil.org", "[::2]:3"):
        assert not is_loopback(there), there
    assert leaves("http://192.168.1.7:11434") == "The picture goes to 192.168.1.7, which is another machine."
