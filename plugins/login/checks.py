"""Checks of requests by browsers: the origin of changes, and the path to open after the login."""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from stacflask import BadQuery, Decision, Refused, Request

from .._common.pages import is_same_origin

HOME = "/api.html"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(request: Request) -> None:
    """Raise Refused for a change that another site may have made the browser send."""
    if request.method not in SAFE_METHODS and not is_same_origin(request):
        detail = "A change with a session cookie must come from a page of this server. Programs must send a token."
        raise Refused(
            Decision.deny("cross-site change with a cookie", detail=detail, code="CrossSite"), anonymous=False
        )


def next_path(query: Mapping[str, str]) -> str:
    """Return the path to open after the login, which is a path of this API. Raises BadQuery."""
    path = query.get("next", HOME)
    elsewhere = not path.startswith("/") or path.startswith("//") or "\\" in path or _has_dot_segments(path)
    if elsewhere or not path.isprintable():
        raise BadQuery("next", "expected a path of this API, such as /api.html")
    return quote(path, safe="/?#&=%:@!$'()*+,;~-._")


def _has_dot_segments(path: str) -> bool:
    """Return whether a path has dot segments, which browsers also remove if they are percent-encoded."""
    return any(unquote(segment) in (".", "..") for segment in re.split("[?#]", path)[0].split("/"))
