"""Every way in which a server can answer, played by a real one."""

from __future__ import annotations

import base64
import io
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from distill.captions.captioner import CaptioningStopped
from distill.captions.endpoint.answers import CUT, whole
from distill.captions.endpoint.captioner import EndpointCaptioner, choose, models
from distill.captions.portrait import PROMPT, read
from distill.errors import CaptionError
from tests.captions.endpoint_server import LINES, SMALL, Answer, Server, chat, serving

KEY = "sk-secret-123"
PICTURE = Image.radial_gradient("L").resize((1500, 900)).convert("RGB")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.delenv("DISTILL_ENDPOINT_KEY", raising=False)
    running.reset()
    return running


def test_one_picture_and_one_question_are_sent(server: Server) -> None:
    with EndpointCaptioner(server.place, "qwen-vl") as captioner:
        said = captioner.say(PICTURE)
        assert captioner.say(PICTURE) == said == LINES
        assert captioner.name == f"qwen-vl at {server.place}"
        assert captioner.notes == ()
    sent = server.seen[0]
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert "Authorization" not in sent.headers
    assert sent.json == server.seen[1].json
    assert {name: sent.json[name] for name in ("model", "temperature", "stream")} == {
        "model": "qwen-vl",
        "temperature": 0,
        "stream": False,
    }
    (message,) = sent.json["messages"]
    text, picture = message["content"]
    assert text == {"type": "text", "text": PROMPT}
    kind, _, data = picture["image_url"]["url"].partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (kind, image.format, image.size) == ("data:image/jpeg;base64", "JPEG", (1024, 614))
    assert read(said).tags == ("1 woman", "long red hair", "green coat")


def test_the_models_of_a_server(server: Server) -> None:
    assert models(server.base) == []
    server.models = Answer({"data": [{"id": "a"}, {"id": "b"}, {"no": 1}, 7]})
    assert models(server.place) == ["a", "b"]
    server.models = Answer({"models": [{"name": "c"}]})
    assert models(server.base) == ["c"]
    for nothing in (Answer(b"", 404), Answer(b"<html>"), Answer({"data": None}), Answer({"error": "?"}, 500)):
        server.models = nothing
        assert models(server.base) == []
    server.models = Answer({"error": "no"}, 401)
    with pytest.raises(CaptionError, match="wants a key"):
        models(server.base)


def test_a_model_that_sees_is_preferred() -> None:
    assert choose(["nomic-embed-text", "llama3.2:3b", "qwen2.5vl:7b"]) == "qwen2.5vl:7b"
    assert choose(["mistral", "gemma3:1b", "gemma-3-12b-it"]) == "gemma-3-12b-it"
    assert choose(["a", "SmolVLM-500M-Instruct-GGUF"]) == "SmolVLM-500M-Instruct-GGUF"
    assert choose(["embed", "evil-vlad", "b"]) == "evil-vlad"
    assert choose(["x", "Qwen/Qwen3-VL-4B-Instruct"]) == "Qwen/Qwen3-VL-4B-Instruct"
    assert choose(["nomic-embed-text"]) == choose([]) == ""


def test_without_a_model_the_servers_own_is_asked(server: Server) -> None:
    captioner = EndpointCaptioner(server.base)
    assert captioner.name == f"a model at {server.place}"
    captioner.say(SMALL)
    assert server.bodies()[-1]["model"] == "default"
    server.models = Answer({"data": [{"id": "llama3"}, {"id": "moondream"}]})
    captioner = EndpointCaptioner(server.base)
    captioner.say(SMALL)
    captioner.say(SMALL)
    assert captioner.name == f"moondream at {server.place}"
    assert [seen.method for seen in server.seen] == ["GET", "POST", "GET", "POST", "POST"]
    server.models = Answer(b"", 404)
    said = server.refusal(Answer({"error": {"message": "The model `default` does not exist."}}, 404), model="")
    assert "has no model 'default'. It says: The model `default` does not exist. | Enter the name of a model" in said


@pytest.mark.parametrize("name", ["seed", "temperature", "max_tokens"])
@pytest.mark.parametrize("body", ["openai", "fastapi", "plain"])
def test_a_refused_parameter_is_left_out(server: Server, name: str, body: str) -> None:
    said: Any = {
        "openai": {"error": {"message": "Unsupported parameter.", "param": name, "code": "unsupported_parameter"}},
        "fastapi": {"detail": [{"msg": "Extra inputs are not permitted", "loc": ["body", name]}]},
        "plain": f"Unexpected fields in the request: {{'{name}'}}".encode(),
    }[body]
    server.answers = [Answer(said, 422 if body == "fastapi" else 400), chat(LINES)]
    assert EndpointCaptioner(server.base, "m").say(SMALL) == LINES
    first, second = server.bodies()
    assert second == {key: value for key, value in first.items() if key != name}


def test_max_tokens_has_two_names_and_refusing_ends(server: Server) -> None:
    refused = Answer({"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}, 400)
    server.answers = [refused, chat(LINES)]
    assert EndpointCaptioner(server.base, "m").say(SMALL) == LINES
    assert "max_tokens" not in server.bodies()[1]
    assert server.bodies()[1]["max_completion_tokens"] == server.bodies()[0]["max_tokens"]
    everything = Answer({"error": "seed, temperature, max_tokens or max_completion_tokens: no"}, 400)
    server.seen.clear()
    assert "refused the request (400)" in server.refusal(everything)
    assert len(server.bodies()) == 5


def test_answers_in_parts_and_with_thoughts(server: Server) -> None:
    captioner = EndpointCaptioner(server.base, "m")
    for answer in (
        chat([{"type": "text", "text": LINES[:20]}, {"type": "text", "text": LINES[20:]}]),
        chat(f"<think>hair: blue?\nsubject: none</think>\n{LINES}"),
        chat(f"Let me see. hair: blue?</think>\n\n{LINES}"),
        chat(f"{LINES}\n<think>was that all"),
        chat(LINES, reasoning_content="hm"),
    ):
        server.answers = [answer]
        assert captioner.say(SMALL) == LINES


def test_of_a_cut_off_answer_what_is_whole_is_used(server: Server) -> None:
    captioner = EndpointCaptioner(server.base, "m")
    server.answers = [chat(LINES[:-4], "length"), chat("woman, red hair, gre", "length"), chat(LINES)]
    assert captioner.say(SMALL) == "subject: 1 woman\nhair: long red hair"
    assert captioner.notes == (CUT,)
    assert captioner.say(SMALL) == "woman, red hair"
    assert captioner.say(SMALL) == LINES
    assert captioner.notes == ()
    assert whole("woman") == "woman"


@pytest.mark.parametrize("where", ["models", "answers"])
def test_stopping_ends_the_request_within_half_a_second(server: Server, where: str) -> None:
    if where == "models":
        server.models = Answer({"data": []}, wait_s=20)
    else:
        server.answers = [Answer(wait_s=20)]
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    with pytest.raises(CaptioningStopped):
        EndpointCaptioner(server.base, "" if where == "models" else "m").say(SMALL, stop.is_set)
    assert time.monotonic() - started < 0.8
    assert server.left.wait(1), "the server would go on working"
    with pytest.raises(CaptioningStopped):
        EndpointCaptioner(server.base, "m").say(SMALL, lambda: True)


def test_the_key_is_sent_and_shown_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    captioner = EndpointCaptioner(server.base, "m", key=f" {KEY}\n")
    captioner.say(SMALL)
    assert server.seen[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(captioner) + str(captioner) + captioner.name
    said = server.refusal(Answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 400), key=KEY)
    assert "***" in said
    assert KEY not in said
    assert "does not take the key" in server.refusal(Answer(b"", 401), key=KEY)
    assert KEY not in caplog.text
    monkeypatch.setenv("DISTILL_ENDPOINT_KEY", "from-the-environment")
    server.answers = [chat(LINES)]
    EndpointCaptioner(server.base, "m").say(SMALL)
    assert server.seen[-1].headers["Authorization"] == "Bearer from-the-environment"
    with pytest.raises(CaptionError, match="letters that no key has") as caught:
        EndpointCaptioner(server.base, "m", key="sk-ö1")
    assert "sk-" not in str(caught.value)


def test_a_key_does_not_follow_a_redirect(server: Server) -> None:
    with serving() as other:
        elsewhere = Answer(b"", 307, headers={"Location": f"{other.base}/chat/completions"})
        assert "has moved to" in server.refusal(elsewhere, key=KEY)
        assert other.seen == []


def test_proxies_of_the_environment_are_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert EndpointCaptioner(server.base, "m").say(SMALL) == LINES
