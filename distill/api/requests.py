"""What a program sends: JSON, a picture, captions and options, each checked before anything is done with it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from distill.api.answers import UNUSABLE, Refusal
from distill.api.policy import Policy
from distill.captions.backends import NAMES
from distill.errors import CaptionError, OptionError, PictureError
from distill.image.addresses import fetch
from distill.image.loading import load
from distill.image.upscaling import is_file
from distill.options import Options
from distill.plan import Plan, Shot
from distill.plan_values import MAX_SHOTS, checked_keys, mask_of, repeats_of, tags_of, views_of

_PICTURE_HINT = 'Send it as base64, as a "data:image/...;base64,..." address, or as an https:// address.'


async def read_json(request: Request, policy: Policy, known: tuple[str, ...]) -> dict[str, Any]:
    """The body, an object with only the `known` names. Raises Refusal."""
    # Other types pass between web sites unasked: a page somewhere could start a training here.
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Refusal(400, "The body is not JSON.", "Send it with the header Content-Type: application/json.")
    try:
        body = json.loads(await _limited(request, policy))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"The body is not JSON: {str(error)[:200]}.") from None
    if not isinstance(body, dict):
        raise Refusal(400, "The body is not a JSON object.", 'Send {"picture": ..., ...}.')
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise Refusal(UNUSABLE, f"Unknown: {', '.join(unknown)[:200]}.", f"Known are: {', '.join(known)}.")
    return body


async def _limited(request: Request, policy: Policy) -> bytes:
    most = (policy.max_picture_mib + 1) * 2**20 * 4 // 3
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise Refusal(413, f"The body is larger than {most >> 20} MiB.", "Send a smaller picture.")
    return bytes(data)


def picture_of(value: Any, policy: Policy) -> bytes:
    """The picture's bytes, which may have to be asked for elsewhere. Raises PictureError, Refusal."""
    if not isinstance(value, str) or not value.strip():
        raise PictureError("There is no picture.", _PICTURE_HINT)
    text = value.strip()
    if text[:8].lower().startswith(("http://", "https://")):
        if not policy.allow_url_requests:
            raise Refusal(403, "Pictures from web addresses are switched off here.", "Send the picture itself.")
        return fetch(
            text,
            forbid_local=policy.forbid_local_requests,
            max_mib=policy.max_picture_mib,
            user_agent=policy.user_agent,
        )
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise PictureError("The data: address is not in base64.", _PICTURE_HINT)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise PictureError(
            "The picture is neither base64 nor a web address; paths of the server are not read.", _PICTURE_HINT
        ) from None


def plan_of(body: Mapping[str, Any], policy: Policy) -> Plan:
    """What belongs to the picture beside its captions: views, mask, repeats, pictures. Raises DistillError, Refusal."""
    pictures = body.get("pictures")
    if not isinstance(pictures, list | None):
        raise Refusal(UNUSABLE, "The pictures are not a list.", 'Send [{"picture": ..., "captions": ...}, ...].')
    if len(pictures or ()) > MAX_SHOTS:
        raise Refusal(UNUSABLE, f"There are {len(pictures or ())} further pictures.", f"{MAX_SHOTS} are the most.")
    mask = body.get("mask")
    return Plan(
        views=views_of(body.get("views")),
        mask=None if mask is None else mask_of(picture_of(mask, policy)),
        repeats=repeats_of("The picture", body.get("repeats", 0)),
        more=tuple(_shot(f"Picture {n}", value, policy) for n, value in enumerate(pictures or (), start=2)),
    )


def _shot(which: str, value: Any, policy: Policy) -> Shot:
    checked_keys(which, value, SHOT_KEYS)
    picture = load(picture_of(value.get("picture"), policy))
    own = {key: part for key, part in value.items() if key in ("views", "mask", "repeats")}
    plan = replace(plan_of(own, policy), alpha=picture.alpha)
    return Shot(source=picture.image, tags=tags_of(value.get("captions")), plan=plan)


SHOT_KEYS = ("picture", "captions", "views", "mask", "repeats")


def options_of(value: Any, policy: Policy, recipe: Mapping[str, Any] | None = None) -> Options:
    """Options from their flat names, over those of a recipe. Raises OptionError, CaptionError, Refusal."""
    if not isinstance(value, Mapping | None):
        raise Refusal(UNUSABLE, "The options are not an object.", 'Send {"network_dim": 16, ...}.')
    values = {**(recipe or {}), **(value or {})}
    if values.get("endpoint", policy.endpoint) != policy.endpoint:  # else anybody could make the server ask anything
        raise Refusal(
            403, "The endpoint is the server's to choose.", "Leave it out: it is one of the server's settings."
        )
    options = Options.from_flat({"endpoint_model": policy.endpoint_model, **values, "endpoint": policy.endpoint})
    for name in options.caption.captioner.split("+"):
        if name.strip() not in NAMES:  # the others are folders of the server
            raise CaptionError(f"There is no captioner {name.strip()[:100]!r}.", f"Choose {', '.join(NAMES)}.")
    if is_file(options.picture.upscaler):
        raise OptionError("Model files of the server are not read.", "Choose one of its upscalers, lanczos or none.")
    if options.regularization.reg_folder or options.regularization.reg_pictures == "folder":
        raise OptionError(
            "Folders of the server are not read.", "Let the checkpoint make the class pictures: generate."
        )
    return options
