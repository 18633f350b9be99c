"""What the Hugging Face hub tells of a model: its commit and files, or why it tells nothing.

Only for child processes: huggingface_hub reads HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE when it is imported.
"""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from distill.errors import CaptionError

ASK_S = 20.0


def ask(job: dict[str, Any]) -> dict[str, Any]:
    """The plan of a download: the commit, and its files with sizes and checksums. Raises CaptionError."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise CaptionError(
            "HF_HUB_OFFLINE is set, so nothing is fetched.",
            "Unset it and start the WebUI again, or choose a folder that has the model.",
        )
    try:
        info = HfApi().model_info(
            job["repository"], revision=job["revision"] or job["ref"], files_metadata=True, timeout=ASK_S
        )
    except Exception as error:  # noqa: BLE001 - the client's HTTP library, and so its errors, changed twice since 0.36
        raise _no_answer(job, error) from None
    files = [_entry(found) for found in info.siblings or () if _wanted(found.rfilename, job["files"])]
    if not any(entry["name"].endswith(".safetensors") for entry in files):
        raise CaptionError(
            f"{job['repository']} has no .safetensors weights at {info.sha}.", "Choose another captioner."
        )
    about = {key: job[key] for key in ("name", "repository", "licence")}
    return {**about, "revision": info.sha, "files": files, "complete": False}


def refusal(job: dict[str, Any], status: int) -> CaptionError:
    """What a status of 400 or more means to the person."""
    page = f"{_endpoint()}/{job['repository']}"
    if status in (401, 403):
        return CaptionError(
            f"The hub does not give {job['repository']} to you ({status}): gated, private, or the token is wrong.",
            f"Accept its terms at {page} and set HF_TOKEN, or choose another captioner.",
        )
    if status in (404, 410):
        return CaptionError(
            f"{job['repository']} is not on the hub any more, or not at this commit ({status}).",
            f"Look at {page}, or choose another captioner.",
        )
    return CaptionError(f"The hub answered {status} for {job['repository']}.", "Try again later.")


def _no_answer(job: dict[str, Any], error: Exception) -> CaptionError:
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, GatedRepoError):
        status = 403
    elif isinstance(error, RevisionNotFoundError):
        status = 404
    if status:
        return refusal(job, status)
    return CaptionError(
        f"The hub at {_endpoint()} can't be reached ({type(error).__name__}).",
        "Look at the connection (and HF_ENDPOINT, if you set it), or choose a folder that has the model.",
    )


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _wanted(name: str, patterns: list[str]) -> bool:
    return "/" not in name and "\\" not in name and any(fnmatch(name, pattern) for pattern in patterns)


def _entry(found: Any) -> dict[str, Any]:
    lfs = getattr(found, "lfs", None)  # a dict or an object, by the client's version
    sha256 = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
    return {"name": found.rfilename, "size": found.size or 0, "sha256": sha256 or "", "git": found.blob_id or ""}
