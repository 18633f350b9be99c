"""The sidecar's own process: private packages come first, one captioner is opened, pictures come as lines of JSON.

    python -m distill.captions.sidecar.child '{"folder": ..., "name": ..., "device": ...}'

In: {"picture": base64 of a PNG}. Out: {"ready": ...} once, then {"said": ...} or {"error": ..., "hint": ...}. It ends
when its input is closed. Without a folder it only tells the version of transformers.
"""

from __future__ import annotations

import base64
import io
import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO, Any

from distill.errors import CaptionError


def main() -> None:
    """Open the captioner, then answer until the parent closes the pipe or dies."""
    # Only we may write to the pipe: what a library prints goes to the standard error.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()
    job = json.loads(sys.argv[1])
    if not job:
        _answer(answers, {"ready": _version()})
        return
    try:
        captioner = _open(job)
    except CaptionError as error:
        _answer(answers, {"error": error.message, "hint": error.hint})
        return
    _answer(answers, {"ready": captioner.name, "transformers": _version()})
    while True:
        _answer(answers, _said(captioner, json.loads(asked.get())))


def _open(job: dict[str, Any]) -> Any:
    from distill.captions.vlm.captioner import open_folder

    return open_folder(Path(job["folder"]), name=job["name"], device=job["device"])


def _said(captioner: Any, question: dict[str, Any]) -> dict[str, Any]:
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(question["picture"]))).convert("RGB")
    try:
        return {"said": captioner.say(picture)}
    except CaptionError as error:
        return {"error": error.message, "hint": error.hint}


def _version() -> str:
    import transformers

    return str(transformers.__version__)


def _listen(pipe: IO[bytes], asked: queue.Queue[bytes]) -> None:
    for line in pipe:
        asked.put(line)
    os._exit(0)  # even amid a caption: the parent is gone or wants no more


def _answer(answers: IO[bytes], content: dict[str, Any]) -> None:
    answers.write(json.dumps(content).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
