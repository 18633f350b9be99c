"""The routes about captions: describing, the captioners and fetching them, checking the words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from distill.api.answers import UNUSABLE, Refusal, without_folders
from distill.api.policy import Policy
from distill.api.requests import options_of, picture_of, read_json
from distill.captions.fetching.downloads import Progress
from distill.errors import CaptionError
from distill.image.loading import load
from distill.jobs import Jobs
from distill.jobs.grounding import Grounding
from distill.options import CaptionOptions
from distill.pipeline import prepare
from distill.plan_values import tags_of

_SENTENCES = ("text", "error", "hint")


class CaptioningApi:
    """The endpoints."""

    def __init__(self, jobs: Jobs, policy: Policy) -> None:
        self._jobs, self._policy, self._host = jobs, policy, jobs.host

    async def caption(self, request: Request) -> Any:
        """Tags proposed for a picture, with their groups: {picture, options}"""
        body = await read_json(request, self._policy, ("picture", "options"))
        return await run_in_threadpool(self._caption, body)

    def _caption(self, body: dict[str, Any]) -> dict[str, Any]:
        options = options_of(body.get("options"), self._policy)
        data = picture_of(body.get("picture"), self._policy)
        prepared = prepare(data, options.picture, self._host.loaded().native_px)
        described = self._jobs.caption(prepared.picture.image, options.caption)
        return described.as_json() | {"notes": [*prepared.notes, *described.notes]}

    async def stop(self, request: Request) -> Any:
        """End the description that is being made"""
        self._jobs.stop_captioning()
        return {"stopped": True}

    async def captioners(self, request: Request) -> Any:
        """Every captioner, and whether it can be used at once"""
        options = CaptionOptions(endpoint=self._policy.endpoint, endpoint_model=self._policy.endpoint_model)
        choices = await run_in_threadpool(self._jobs.captioners.choices, options)
        return {"captioners": [asdict(c) | {"note": without_folders(c.note, self._host)} for c in choices]}

    async def fetch(self, request: Request) -> Any:
        """Begin to fetch a captioner, or the sidecar's packages, or go on: see progress at the same address"""
        return await run_in_threadpool(self._fetch, self._named(request))

    def _fetch(self, name: str) -> Any:
        offer = self._jobs.captioners.offer(name)
        if offer.problem:
            raise Refusal(UNUSABLE, without_folders(offer.problem, self._host))
        return JSONResponse(self._progress(self._jobs.captioners.fetch(name)), 202)

    async def progress(self, request: Request) -> Any:
        """How far a captioner is fetched, or null"""
        return self._progress(await run_in_threadpool(self._jobs.captioners.progress, self._named(request)))

    async def cancel(self, request: Request) -> Any:
        """End a download; what is fetched is kept"""
        name = self._named(request)
        await run_in_threadpool(self._jobs.captioners.cancel, name)
        return self._progress(self._jobs.captioners.progress(name))

    async def remove(self, request: Request) -> Any:
        """Delete a fetched captioner"""
        name = self._named(request)
        await run_in_threadpool(self._jobs.captioners.remove, name)
        return {"removed": name}

    async def check(self, request: Request) -> Any:
        """Check how far the checkpoint sees each caption in a picture: {picture, captions, context, options}"""
        body = await read_json(request, self._policy, ("picture", "captions", "context", "options"))
        return JSONResponse(await run_in_threadpool(self._check, body), 202)

    def _check(self, body: dict[str, Any]) -> dict[str, Any]:
        options, tags = options_of(body.get("options"), self._policy), tags_of(body.get("captions"))
        if not tags:
            raise CaptionError("There are no captions to check.", 'Send {"captions": "red hair, smile", ...}.')
        picture = load(picture_of(body.get("picture"), self._policy)).image
        return self._words(self._jobs.words.start(picture, tags, options, tags_of(body.get("context")) or ()))

    async def words(self, request: Request) -> Any:
        """The check as it is now"""
        return self._words(self._jobs.words.snapshot())

    async def stop_check(self, request: Request) -> Any:
        """End the check; its verdicts stay"""
        return self._words(await run_in_threadpool(self._jobs.words.cancel))

    def _named(self, request: Request) -> str:
        name, names = str(request.path_params["name"]), self._jobs.captioners.names()
        if name not in names:
            raise Refusal(404, f"There is no captioner {name[:100]!r} to fetch.", f"Known: {', '.join(names)}.")
        return name

    def _progress(self, progress: Progress | None) -> dict[str, Any]:
        if progress is None:
            return {"progress": None}
        values = asdict(progress)
        return {"progress": values | {key: without_folders(values[key], self._host) for key in _SENTENCES}}

    def _words(self, words: Grounding) -> dict[str, Any]:
        values = asdict(words)
        return values | {key: without_folders(values[key], self._host) for key in _SENTENCES}
