"""Who may ask, and for what: the WebUI's own words on its API, obeyed by ours."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the WebUI allows. Read at each request, so a subclass may answer from live settings."""

    enabled: bool  # --api
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)  # --api-auth: user -> password
    allow_url_requests: bool = True  # api_enable_requests
    forbid_local_requests: bool = True  # api_forbid_local_requests
    user_agent: str = ""  # api_useragent
    max_picture_mib: int = 64
    endpoint: str = ""  # the person's own captioning server; nobody else may name one
    endpoint_model: str = ""

    def admits(self, authorization: str) -> bool:
        """Whether a request with this Authorization header may pass: HTTP Basic, or anyone without --api-auth."""
        if not self.credentials:
            return True
        user, password = _basic(authorization)
        # One comparison for each user, in a time that tells nothing of where two words differ.
        matches = [
            secrets.compare_digest(user.encode(), known.encode())
            & secrets.compare_digest(password.encode(), word.encode())
            for known, word in self.credentials.items()
        ]
        return any(matches)


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        text = base64.b64decode(coded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password
