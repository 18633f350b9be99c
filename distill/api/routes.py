"""The routes. Each reads, asks `Jobs`, answers; whatever takes time runs beside the event loop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import distill
from distill.api.answers import (
    TRAIN,
    Refusal,
    error_json,
    job_json,
    lora_json,
    progress_json,
    schema,
    status_of,
    without_folders,
)
from distill.api.captioning import CaptioningApi
from distill.api.policy import Policy
from distill.api.presets import presets_json, recipe_of
from distill.api.requests import options_of, picture_of, plan_of, read_json
from distill.errors import DistillError
from distill.image.loading import load
from distill.jobs import Jobs, Order
from distill.output import library
from distill.plan_values import tags_of

if TYPE_CHECKING:
    from fastapi import FastAPI

BASE = "/distill/v1"
Endpoint = Callable[[Request], Awaitable[Any]]

_log = logging.getLogger(__name__)


def add_routes(app: FastAPI, jobs: Jobs, policy: Policy) -> None:
    """Add /distill/v1/... to `app`; nothing when the policy has the API off."""
    if not policy.enabled:
        return
    api, captioning = _Api(jobs, policy), CaptioningApi(jobs, policy)
    for method, path, endpoint in (
        ("GET", "/schema", api.schema),
        ("GET", "/presets", api.presets),
        ("GET", "/status", api.status),
        ("POST", "/caption", captioning.caption),
        ("POST", "/caption/stop", captioning.stop),
        ("GET", "/captioners", captioning.captioners),
        ("POST", "/captioners/{name}", captioning.fetch),
        ("GET", "/captioners/{name}", captioning.progress),
        ("POST", "/captioners/{name}/cancel", captioning.cancel),
        ("DELETE", "/captioners/{name}", captioning.remove),
        ("POST", "/words", captioning.check),
        ("GET", "/words", captioning.words),
        ("POST", "/words/stop", captioning.stop_check),
        ("POST", "/train", api.train),
        ("GET", "/progress", api.progress),
        ("GET", "/jobs", api.jobs_list),
        ("GET", "/jobs/{job_id}", api.job),
        ("POST", "/jobs/{job_id}/stop", api.stop),
        ("POST", "/jobs/{job_id}/discard", api.discard),
        ("POST", "/jobs/{job_id}/resume", api.resume),
        ("GET", "/jobs/{job_id}/picture", api.picture),
        ("GET", "/jobs/{job_id}/samples/{n}", api.sample),
        ("GET", "/library", api.library),
        ("DELETE", "/library/{name}", api.delete),
    ):
        app.add_api_route(
            BASE + path,
            _guarded(endpoint, jobs, policy),
            methods=[method],
            name=f"distill {path}",
            summary=(endpoint.__doc__ or "").strip(),
            tags=["Distill"],
            response_model=None,
        )


def _guarded(endpoint: Endpoint, jobs: Jobs, policy: Policy) -> Callable[[Request], Awaitable[Response]]:
    """`endpoint` behind the password, with each error as an answer."""

    @wraps(endpoint)
    async def guarded(request: Request) -> Response:
        try:
            if not policy.admits(request.headers.get("authorization", "")):
                raise Refusal(401, "Incorrect user name or password.", "It is the one of --api-auth.")
            answer = await endpoint(request)
            return answer if isinstance(answer, Response) else JSONResponse(answer)
        except Refusal as refusal:
            status, message, hint = refusal.status, refusal.message, refusal.hint
        except DistillError as error:
            status, message, hint = status_of(error), error.message, error.hint
        except Exception as error:  # noqa: BLE001 - a program gets an answer whatever happens
            _log.exception("A route broke")
            status, message = 500, f"Unexpected error: {type(error).__name__}: {error}"
            hint = "The log of the program has the details."
        headers = {"WWW-Authenticate": "Basic"} if status == 401 else None
        return JSONResponse(error_json(message, hint, jobs.host), status, headers)

    return guarded


class _Api:
    """The endpoints."""

    def __init__(self, jobs: Jobs, policy: Policy) -> None:
        self._jobs, self._policy, self._host = jobs, policy, jobs.host

    async def schema(self, request: Request) -> Any:
        """Every option with its label, help, range and default"""
        return {"version": distill.__version__, "options": schema(), "train": TRAIN}

    async def presets(self, request: Request) -> Any:
        """Recipes by name, those that were saved here among them"""
        return await run_in_threadpool(presets_json, self._host)

    async def status(self, request: Request) -> Any:
        """The host, its checkpoint and the job at work"""
        loaded = await run_in_threadpool(self._host.loaded)
        return {
            "version": distill.__version__,
            "host": self._host.name,
            "checkpoint": loaded.name,
            "problem": without_folders(loaded.problem, self._host),
            "native_px": loaded.native_px,
            "job": progress_json(self._jobs.latest()),
        }

    async def train(self, request: Request) -> Any:
        """Queue a training: {picture, captions, preset, options, views, mask, repeats, pictures}"""
        body = await read_json(request, self._policy, tuple(TRAIN))
        return JSONResponse(await run_in_threadpool(self._train, body), 202)

    def _train(self, body: dict[str, Any]) -> dict[str, Any]:
        recipe = recipe_of(body.get("preset"), self._host)
        options, tags = options_of(body.get("options"), self._policy, recipe), tags_of(body.get("captions"))
        picture = load(picture_of(body.get("picture"), self._policy))
        plan = replace(plan_of(body, self._policy), alpha=picture.alpha)
        order = Order(picture=picture.image, tags=tags, options=options, notes=picture.notes, plan=plan)
        return job_json(self._jobs.submit(order), self._host)

    async def progress(self, request: Request) -> Any:
        """The job at work, or null"""
        return {"job": progress_json(self._jobs.latest())}

    async def jobs_list(self, request: Request) -> Any:
        """All jobs, newest first"""
        jobs = await run_in_threadpool(self._jobs.all)
        return {"jobs": [job_json(job, self._host, losses=False) for job in jobs]}

    async def job(self, request: Request) -> Any:
        """One job with its losses"""
        return job_json(await run_in_threadpool(self._jobs.get, request.path_params["job_id"]), self._host)

    async def stop(self, request: Request) -> Any:
        """End a job and keep what is trained"""
        return await run_in_threadpool(self._stop, request.path_params["job_id"])

    def _stop(self, job_id: str) -> dict[str, Any]:
        if not self._jobs.get(job_id).active:
            raise Refusal(409, "This job has ended already.")
        return job_json(self._jobs.stop(job_id), self._host)

    async def discard(self, request: Request) -> Any:
        """End a job and delete the files that it made"""
        job = await run_in_threadpool(self._jobs.discard, request.path_params["job_id"])
        return job_json(job, self._host)

    async def resume(self, request: Request) -> Any:
        """Go on with a job that was cut off or failed, after its last whole epoch"""
        return JSONResponse(await run_in_threadpool(self._resume, request.path_params["job_id"]), 202)

    def _resume(self, job_id: str) -> dict[str, Any]:
        job = self._jobs.get(job_id)
        if job.active:
            raise Refusal(409, "This job is still at work.")
        if not self._jobs.can_resume(job):
            raise Refusal(409, "Nothing is kept of this job to go on from.", "Order it anew.")
        return job_json(self._jobs.resume(job_id), self._host)

    async def picture(self, request: Request) -> Any:
        """The picture that a job was given"""
        return await run_in_threadpool(self._picture, request.path_params["job_id"])

    def _picture(self, job_id: str) -> Response:
        self._jobs.get(job_id)
        return _png(self._jobs.picture(job_id))

    async def sample(self, request: Request) -> Any:
        """The picture made with the n-th file that a job saved, counted from 0"""
        return await run_in_threadpool(self._sample, request.path_params["job_id"], request.path_params["n"])

    def _sample(self, job_id: str, n: str) -> Response:
        saved = self._jobs.get(job_id).saved
        if not (n.isascii() and n.isdecimal() and int(n[:6]) < len(saved)):
            raise Refusal(404, f"This job has {len(saved)} saved files, counted from 0.")
        return _png(saved[int(n)].preview)

    async def library(self, request: Request) -> Any:
        """The LoRAs that Distill made"""
        made = await run_in_threadpool(library.listed, self._host.lora_dir)
        return {"loras": [lora_json(lora) for lora in made]}

    async def delete(self, request: Request) -> Any:
        """Move a LoRA with its epochs and pictures to the trash"""
        return await run_in_threadpool(self._delete, request.path_params["name"])

    def _delete(self, name: str) -> dict[str, Any]:
        if not any(made.name == name for made in library.listed(self._host.lora_dir)):
            raise Refusal(404, f"There is no LoRA {name[:100]!r} that Distill made.")
        latest = self._jobs.latest()
        if latest is not None and latest.active and latest.name == name:
            raise Refusal(409, f"{name} is being trained.", "Stop or discard its job first.")
        folder = library.delete(self._host.lora_dir, name, self._host.work_dir / "trash")
        self._host.loras_changed()
        return {"deleted": name, "trash": folder.name}


def _png(path: Path | None) -> Response:
    try:
        if path is not None:
            return Response(path.read_bytes(), media_type="image/png")
    except OSError:
        _log.info("%s is not there any more", path)
    raise Refusal(404, "There is no such picture.")
