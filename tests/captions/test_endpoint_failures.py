"""Every way in which a server can fail, played by a real one: each is one clear message."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from distill.captions.endpoint.captioner import EndpointCaptioner
from distill.errors import CaptionError
from tests.captions.endpoint_server import SMALL, Answer, Server, chat, serving


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.delenv("DISTILL_ENDPOINT_KEY", raising=False)
    running.reset()
    return running


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (chat(None), "answered nothing"),
        (chat([]), "answered nothing"),
        (chat("", "length"), "cut off before its first word"),
        (chat("<think>a woman, I think", "length"), "only thought"),
        (chat("<think>a woman</think>"), "only thought"),
        (chat("", reasoning_content="a woman"), "only thought"),
        (chat(None, refusal="I can't describe people."), "declined"),
        (chat("I'm sorry, but I can't view images."), "declined: \"I'm sorry"),
        (Answer({"choices": []}), "sent no answer (no choices)"),
        (Answer({"choices": [{"message": None}]}), "answered nothing"),
        (Answer([1]), "answered with no JSON"),
        (Answer(b""), "answered with nothing"),
        (Answer(b"<!doctype html><title>LM Studio</title>"), "answered with a web page"),
        (Answer({"error": {"message": "this model is missing data required for image input"}}), "can't see pictures"),
        (Answer({"error": {"code": 500, "message": "image input is not supported - hint: mmproj"}}, 500), "mmproj"),
        (Answer({"error": "At most 0 image(s) may be provided in one prompt."}, 400), "can't see pictures"),
        (Answer({"error": {"message": "Loading model"}}, 503), "still loading"),
        (Answer({"error": {"message": "the request exceeds the available context size"}}, 400), "longer context"),
        (Answer({"error": "out of memory"}, 500), "failed (500): out of memory"),
        (Answer(b"<html><head><title>502 Bad Gateway</title></head>", 502), "failed (502): 502 Bad Gateway"),
        (Answer(b"", 404), "no /chat/completions under http://127"),
        (Answer({"detail": "Not Found"}, 404), "no /chat/completions under http://127"),
        (Answer({"error": {"message": "deployment is gone"}}, 404), "refused the request (404): deployment is gone"),
        (Answer({"error": "?"}, 403), "wants a key (403)"),
        (Answer(b"", 429), "busy"),
        (Answer(b"", 413), "no request of that size"),
        (Answer({"detail": "no"}, 400), "refused the request (400): no"),
        (
            Answer(b"", 307, headers={"Location": "https://other.example/v1?token=1"}),
            "moved to https://other.example/v1.",
        ),
        (Answer({"choices": []}, cut=3), "broke off"),
        (Answer(b"x" * 1_100_000), "1 MiB"),
    ],
)
def test_each_failure_is_one_clear_message(server: Server, answer: Answer, said: str) -> None:
    assert said in server.refusal(answer)


def test_a_wrong_model_is_answered_with_those_there_are(server: Server) -> None:
    server.models = Answer({"data": [{"id": f"m{i}"} for i in range(9)]})
    said = server.refusal(Answer({"error": {"message": 'model "qwen-vl" not found, try pulling it first'}}, 404))
    assert f"{server.place} has no model 'qwen-vl'. It has: m0, m1, m2, m3, m4, m5, m6, m7, ..." in said


def test_a_server_that_is_not_there_or_says_nothing(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(CaptionError, match=f"Nothing answers at {place}. Start the server"):
            EndpointCaptioner(place, "m").say(SMALL)
    assert "did not answer within 0.3 s" in server.refusal(Answer(wait_s=5), timeout_s=0.3)
