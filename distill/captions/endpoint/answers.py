"""What servers that speak OpenAI's protocol answer, in all the ways they really do, as a text or as one clear error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.captions.endpoint.address import Address
from distill.captions.endpoint.exchange import Reply
from distill.errors import CaptionError

KEPT = "The captions are as they were and can be edited."
CUT = "The answer was cut off at its end: the last line was left out."

_CLOSED_THOUGHT = re.compile(r".*</think(?:ing)?>", re.IGNORECASE | re.DOTALL)
_OPEN_THOUGHT = re.compile(r"<think(?:ing)?>.*", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(r"^\W*[a-z]+\W*:", re.IGNORECASE | re.MULTILINE)
_DECLINED = re.compile(r"^\W*(?:i'?m sorry|i am sorry|sorry|i can(?:'|no)t|i'?m unable|i am unable|as an ai)\b", re.I)
_BLIND = re.compile(
    r"(?:image input is|images? (?:are|is)) not supported|mmproj|not (?:a )?(?:multimodal|vision)|at most 0 image"
    r"|missing data required for image"
    r"|(?:not|n't|cannot) (?:support|accept|process)[^.]{0,30}(?:image|vision|multi-?modal)"
    r"|unknown (?:content )?(?:part )?type.{0,5}image",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model\b.{0,120}\b(?:not found|not exist|no such|not loaded|unknown|invalid)"
    r"|(?:not find|unknown|invalid|no such|no) model\b|pinned to",
    re.IGNORECASE,
)
_LOADING = re.compile(r"loading model|model is loading", re.IGNORECASE)
_CONTEXT = re.compile(r"context (?:size|length|window)", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """Who was asked, for messages."""

    address: Address
    model: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"Asked({self.model!r} at {self.address.place})"

    def trouble(self, what: str, todo: str) -> CaptionError:
        """An error of one line that holds no key."""
        line = " ".join(what.split())
        return CaptionError(line.replace(self.key, "***") if self.key else line, f"{todo} {KEPT}")


def text_of(reply: Reply, asked: Asked) -> tuple[str, bool]:
    """What the model said, without its thoughts, and whether that was cut off. Raises CaptionError."""
    choice = _choice(reply, asked)
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    said = _joined(message.get("content") or choice.get("text"))
    text = _OPEN_THOUGHT.sub("", _CLOSED_THOUGHT.sub("", said)).strip()
    cut = choice.get("finish_reason") == "length"
    thought = bool(said.strip()) or any(message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    if not text:
        raise _nothing_said(asked, thought, cut, message)
    if _DECLINED.match(text) and not _LABEL.search(text):
        raise asked.trouble(
            f"The model {asked.model} declined: {text[:160]!r}", "Choose another model, one that sees pictures."
        )
    return (whole(text), True) if cut else (text, False)


def whole(text: str) -> str:
    """A text that was cut off, up to its last whole line, else phrase; all of it when it is a single one."""
    lines = text.splitlines()
    if len(lines) > 1:
        return "\n".join(lines[:-1]).rstrip()
    return text.rpartition(",")[0].rstrip() or text


def refused_parameter(reply: Reply, sent: Mapping[str, Any]) -> str:
    """The first parameter of a request that the server does not take; "" when that is not what it says."""
    if reply.status not in (400, 422):
        return ""
    said = complaint(reply)
    return next((name for name in sent if re.search(rf"\b{name}\b", said)), "")


def refusal_of(reply: Reply, asked: Asked, there: Sequence[str] = ()) -> CaptionError:
    """The error for a reply whose status is not 200; `there` are the models that the server has."""
    said, place = complaint(reply), asked.address.place
    known = _known_refusal(reply.status, said, asked, there)
    if known is not None:
        return known
    if 300 <= reply.status < 400:
        to = reply.location.split("?")[0][:120] or "somewhere else"
        return asked.trouble(f"{place} has moved to {to}.", "Enter that address, if you trust it.")
    if reply.status == 404 and re.fullmatch(r"(?:404:?)?\W*(?:page )?(?:not found)?\W*", said, re.IGNORECASE):
        return asked.trouble(
            f"{place} has no /chat/completions under {asked.address.base}.",
            "Check the address: OpenAI's protocol is mostly under /v1.",
        )
    what = "failed" if reply.status >= 500 else "refused the request"
    detail = f": {said.rstrip('.')}." if said else "."
    return asked.trouble(f"{place} {what} ({reply.status}){detail}", "Look at the server's console, then try again.")


def _known_refusal(status: int, said: str, asked: Asked, there: Sequence[str]) -> CaptionError | None:
    place = asked.address.place
    if status in (401, 403):
        what = "does not take the key" if asked.key else "wants a key"
        return asked.trouble(f"{place} {what} ({status}).", "Set the right one as key or in DISTILL_ENDPOINT_KEY.")
    if status == 429:
        return asked.trouble(f"{place} is busy, or a quota is used up (429).", "Wait a little, then try again.")
    if status == 413:
        return asked.trouble(f"{place} takes no request of that size (413).", "Raise the server's limit.")
    if _BLIND.search(said):
        return asked.trouble(
            f"The model {asked.model or 'there'} at {place} can't see pictures.",
            "Choose a vision model; llama.cpp and KoboldCpp want its mmproj file, too.",
        )
    if _LOADING.search(said):
        return asked.trouble(f"{place} is still loading its model.", "Wait a little, then try again.")
    if _CONTEXT.search(said):
        return asked.trouble(
            f"Picture and question don't fit the context of {asked.model or 'the model'} at {place}.",
            "Start it with a longer context, 4096 tokens or more.",
        )
    if status in (400, 404, 500) and (status == 404 or asked.model not in there) and _NO_MODEL.search(said):
        listed = f"It has: {', '.join(there[:8])}{', ...' if len(there) > 8 else ''}." if there else f"It says: {said}"
        todo = "Choose one of the server's models." if there else "Enter the name of a model that it has."
        return asked.trouble(f"{place} has no model {asked.model!r}. {listed}", todo)
    return None


def complaint(reply: Reply) -> str:
    """The server's own words in one line of at most 200 characters."""
    content = _json(reply.body)
    if isinstance(content, dict):
        return _line(_words(content.get("error") or content.get("detail") or content.get("message")))
    text = reply.body[:4000].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return _line(title[1] if title else re.sub(r"<[^>]*>", " ", text))


def names_of(reply: Reply) -> list[str]:
    """The models that a reply to GET /models lists; none when it is no list."""
    content = _json(reply.body) if reply.status == 200 else None
    if isinstance(content, dict):
        content = content.get("data") or content.get("models")
    entries = content if isinstance(content, list) else []
    names = (entry.get("id") or entry.get("name") if isinstance(entry, dict) else entry for entry in entries)
    return [name for name in names if isinstance(name, str) and name]


def _choice(reply: Reply, asked: Asked) -> dict[str, Any]:
    content = _json(reply.body)
    place = asked.address.place
    if not isinstance(content, dict):
        kind = "a web page" if reply.body.lstrip()[:1] == b"<" else "no JSON" if reply.body.strip() else "nothing"
        raise asked.trouble(
            f"{place} answered with {kind}, so it doesn't speak OpenAI's protocol there.",
            "Check the address: it mostly ends in /v1.",
        )
    choices = content.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    said = complaint(reply)
    if content.get("error"):  # some servers send their errors with a status of 200
        raise refusal_of(Reply(500, reply.body), asked)
    raise asked.trouble(f"{place} sent no answer ({said or 'no choices'}).", "Look at the server's console.")


def _nothing_said(asked: Asked, thought: bool, cut: bool, message: Mapping[str, Any]) -> CaptionError:
    if thought:
        return asked.trouble(
            f"The model {asked.model} only thought and never answered.",
            "Switch its thinking off, or choose a model that doesn't think (Instruct).",
        )
    if cut:
        return asked.trouble(
            f"The model {asked.model} was cut off before its first word.",
            "Raise the server's context length, or choose another model.",
        )
    if message.get("refusal"):
        return asked.trouble(f"The model {asked.model} declined: {_line(_words(message['refusal']))!r}",
                             "Choose another model.")  # fmt: skip
    return asked.trouble(f"The model {asked.model} answered nothing.", "Try again, or choose another model.")


def _joined(content: Any) -> str:
    """The text of a message, whose content may be None or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "".join(text for text in texts if isinstance(text, str))


def _words(said: Any) -> str:
    if isinstance(said, dict):
        named = f" ({said['param']})" if isinstance(said.get("param"), str) else ""
        return _words(said.get("message") or said.get("msg") or said.get("detail") or "") + named
    if isinstance(said, list):
        return "; ".join(f"{_words(entry)} {_place(entry)}".strip() for entry in said)
    return said if isinstance(said, str) else ""


def _place(entry: Any) -> str:
    """Where FastAPI saw a mistake: the names in `loc`."""
    loc = entry.get("loc") if isinstance(entry, dict) else None
    return f"({'.'.join(map(str, loc))})" if isinstance(loc, list) else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
