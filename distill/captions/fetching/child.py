"""The child process that fetches a model: which files, their bytes, a check of each, then a mark that it is whole.

    python -m distill.captions.fetching.child '{"ask": false, "folder": ..., "repository": ..., ...}'

Its last line is JSON: the plan, or {"error", "hint"}. huggingface_hub tells the files, addresses and headers; the bytes
are fetched here, because its newest versions throw a cut-off file away (huggingface_hub, pull request 4228).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from distill.captions.children import end_with_parent
from distill.captions.fetching.hub import ask, refusal
from distill.captions.fetching.plans import LOCK, MARGIN, PART, fetched_bytes, mib, read_plan, size_of, write_plan
from distill.errors import CaptionError

BLOCK = 1 << 20
TRIES = 4  # in a row without a single new byte
SILENCE_S = 30.0
KEPT = "What was fetched is kept: start again and it goes on from there."


def main() -> None:
    """Do the job in the first argument; exit code 1 when it failed."""
    threading.Thread(target=end_with_parent, args=(sys.stdin.buffer,), daemon=True).start()
    job = json.loads(sys.argv[1])
    try:
        answer = ask(job) if job["ask"] else fetch(job)
    except CaptionError as error:
        answer = {"error": error.message, "hint": error.hint}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(1 if "error" in answer else 0)  # the thread that listens would hold us up


def fetch(job: dict[str, Any]) -> dict[str, Any]:
    """Bring the whole model into its folder; the plan says so only after the last check. Raises CaptionError."""
    from filelock import FileLock, Timeout

    folder = Path(job["folder"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(folder / LOCK), timeout=0):
            plan = read_plan(folder)
            if not _is_of(plan, job):
                plan = ask(job)
                write_plan(folder, plan)
            _check_space(folder, plan)
            for entry in plan["files"]:
                _fetch_file(job, plan, entry, folder)
            plan["complete"] = True
            write_plan(folder, plan)
    except Timeout:
        raise CaptionError(f"Another program is fetching {job['name']} now.", "Wait until it has ended.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise CaptionError(
            f"{folder} can't be written: {reason}.", f"Free some space or change the folder. {KEPT}"
        ) from None
    return plan


def _is_of(plan: dict[str, Any], job: dict[str, Any]) -> bool:
    return bool(plan) and plan["repository"] == job["repository"] and job["revision"] in ("", plan["revision"])


def _check_space(folder: Path, plan: dict[str, Any]) -> None:
    missing = sum(entry["size"] for entry in plan["files"]) - fetched_bytes(folder, plan)
    free = shutil.disk_usage(folder).free
    if missing * MARGIN > free:
        raise CaptionError(
            f"{plan['name']} needs {mib(missing * MARGIN)} MiB more in {folder}, where {mib(free)} MiB are free.",
            f"Free some space or choose another folder. {KEPT}",
        )


def _fetch_file(job: dict[str, Any], plan: dict[str, Any], entry: dict[str, Any], folder: Path) -> None:
    file, part = folder / entry["name"], folder / (entry["name"] + PART)
    if file.is_file() and _is_right(file, entry):
        return
    if size_of(part) > entry["size"]:
        part.unlink()
    _fetch_bytes(job, plan, entry, part)
    if not _is_right(part, entry):
        part.unlink(missing_ok=True)
        raise CaptionError(
            f"{entry['name']} arrived damaged (its checksum is wrong) and was thrown away.",
            "Start again: only this file is fetched anew.",
        )
    os.replace(part, file)


def _is_right(file: Path, entry: dict[str, Any]) -> bool:
    """Whether size and checksum are what the hub told: SHA-256 of large files, git's own SHA-1 of small ones."""
    if size_of(file) != entry["size"]:
        return False
    digest = hashlib.sha256() if entry["sha256"] else hashlib.sha1(b"blob %d\0" % entry["size"], usedforsecurity=False)
    with file.open("rb") as data:
        while block := data.read(BLOCK):
            digest.update(block)
    expected = entry["sha256"] or entry["git"]
    return not expected or digest.hexdigest() == expected


def _fetch_bytes(job: dict[str, Any], plan: dict[str, Any], entry: dict[str, Any], part: Path) -> None:
    """Append what is missing; a connection that is lost is taken up again where it broke. Raises CaptionError."""
    import httpx
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported by name only

    url = hf_hub_url(plan["repository"], entry["name"], revision=plan["revision"])
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    tries, reason = 0, ""
    with httpx.Client(follow_redirects=True, timeout=SILENCE_S) as client:  # sends the token to no other host
        while (have := size_of(part)) < entry["size"] or not part.exists():
            if tries == TRIES:
                done = f"{mib(have)} of {mib(entry['size'])} MiB of {entry['name']}"
                raise CaptionError(f"The connection was lost at {done} ({reason}).", KEPT)
            time.sleep(job["pause_s"] * (2**tries - 1))
            try:
                reason = _append(client, url, headers, part, job)
            except httpx.TransportError as error:
                reason = type(error).__name__
            tries = 0 if size_of(part) > have else tries + 1


def _append(client: Any, url: str, headers: dict[str, str], part: Path, job: dict[str, Any]) -> str:
    """One request for the rest of a file; why it gave nothing, if it is worth another try. Raises CaptionError."""
    have = size_of(part)
    wanted = {**headers, "Range": f"bytes={have}-"} if have else headers
    with client.stream("GET", url, headers=wanted) as answer:
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            return f"the hub answered {answer.status_code}"
        if answer.status_code >= 400:
            raise refusal(job, answer.status_code)
        # 200 to a request for a range: this server begins at the first byte again.
        with part.open("ab" if answer.status_code == 206 else "wb") as file:
            for block in answer.iter_raw():
                file.write(block)
                file.flush()  # so that the parent sees how far it is
    return "the hub sent nothing"


if __name__ == "__main__":
    main()
