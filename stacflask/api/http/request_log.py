"""What surrounds every request: its id and first checks before it, header fields, compression and the log after it."""

from __future__ import annotations

import logging
import os
import re
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Flask, Response, abort, g, request
from flask_compress import Compress
from flask_cors import CORS

from stacflask import current
from stacflask.api.http import public_url
from stacflask.api.http.media_types import GEOJSON, HTML, JSON, OPENAPI, SCHEMA
from stacflask.api.http.path_tokens import PathTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Request

    from stacflask.settings import Settings

log = logging.getLogger(__name__)

EXPOSED = [
    *("ETag", "Location", "Link", "Content-Range", "Accept-Ranges", "Content-Disposition", "Content-Length"),
    *("Repr-Digest", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "X-Request-ID"),
    "X-Refused-Assets",
]
ALLOWED = [
    *("Authorization", "Content-Type", "If-Match", "If-None-Match", "If-Range", "Range", "Prefer", "X-Request-ID"),
    "X-Signed-Asset-Urls",
]
SAFE = ("GET", "HEAD", "OPTIONS")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ANYBODY = "*"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
SECRET_NAMES = ("token", "secret")
"""Names of parts of a path that are not logged."""


def register(app: Flask, settings: Settings, known_by: Sequence[str]) -> None:
    """Do for every request of the application what is done for all.

    ``known_by``: header fields besides Authorization by which people are known.
    """
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body,
        COMPRESS_REGISTER=False,
        COMPRESS_MIMETYPES=[JSON, GEOJSON, SCHEMA, OPENAPI.partition(";")[0], HTML],
        COMPRESS_ALGORITHM=["gzip"],
        COMPRESS_LEVEL=4,
        # Weighed already, and without compressing first.
        COMPRESS_EVALUATE_CONDITIONAL_REQUEST=False,
    )
    app.wsgi_app = PathTokens(app.wsgi_app)  # type: ignore[method-assign]
    app.before_request(partial(_begin, min(settings.max_body, settings.max_search_body)))
    if settings.replica_url:
        app.before_request(_begin_reading)
        app.teardown_request(_end_reading)
    anybody = ANYBODY in settings.cors_origins
    CORS(
        app,
        origins=list(settings.cors_origins),
        send_wildcard=anybody,
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        methods=METHODS,
        max_age=3600,
        # Errors leave by the same way out as all else, and would have the fields twice.
        intercept_exceptions=False,
    )
    # After CORS, and so before it on the way out, where the last comes first.
    app.after_request(_Finish(Compress(app), known_by, anybody=anybody))


def _begin(most: int) -> None:
    """Check a request and note what all that handles it needs. ``most``: bytes of a body that changes nothing."""
    asked = current.http_request()
    environ = asked.environ
    given = environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
    g.trace_id = _trace_id(environ.get("HTTP_TRACEPARENT", ""))
    g.began = time.perf_counter()
    g.client = public_url.client()
    # PostgreSQL's text cannot hold a NUL, so nothing is called so.
    if "\0" in environ["PATH_INFO"] or "%00" in environ.get("QUERY_STRING", ""):
        abort(400, "NUL is not a character of any name here.")
    if not asked.host:
        abort(400, "Host: expected a name or address, and perhaps a port.")
    if not _may_change(asked):  # parsing a large body costs far more than sending it
        asked.max_content_length = most
    public_url.base_url()  # said now, because plugins that ask for it stand on a floor below


def _may_change(asked: Request) -> bool:
    """Whether a request is for the Transaction extensions or for a plugin's endpoint, which has no blueprint."""
    return asked.blueprint in (None, "transactions")


def _begin_reading() -> None:
    asked = current.http_request()
    # What a plugin's endpoint changes, it decides by what it reads.
    current.catalog().database.begin_request(changing=asked.method not in SAFE and _may_change(asked))


def _end_reading(_: BaseException | None) -> None:
    current.catalog().database.end_request()


def _trace_id(traceparent: str) -> str | None:
    """Return the trace that a caller counts the request to (W3C Trace Context), if it says so in its form."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == "ff" or not int(found[2], 16) or not int(found[3], 16):
        return None
    # Later versions may add to what version 00 has.
    return None if found[1] == "00" and found[4] else found[2]


class _Finish:
    """Compresses an answer, adds what all answers say, and logs it."""

    def __init__(self, compress: Compress, known_by: Sequence[str], *, anybody: bool) -> None:
        self._compress = compress
        # What is seen depends on who asks: no cache may hand one's answer to another.
        self._vary = ["Accept-Encoding", "Authorization", *known_by, *([] if anybody else ["Origin"])]
        # The same for every origin, so flask-cors need not weigh it; it leaves alone what says this already.
        allowed = [("Access-Control-Allow-Origin", ANYBODY), ("Access-Control-Expose-Headers", ", ".join(EXPOSED))]
        self._allowed = allowed if anybody else []

    def __call__(self, response: Response) -> Response:
        if not response.direct_passthrough and _takes_gzip():
            response = self._compress.after_request(response)
        asked, headers = current.http_request(), response.headers
        if "Vary" in headers:
            response.vary.update(self._vary)
        else:
            headers["Vary"] = ", ".join(self._vary)
        headers["X-Request-ID"] = g.request_id
        headers["X-Content-Type-Options"] = "nosniff"
        # A download link stands in an address; other sites need not learn of any.
        headers["Referrer-Policy"] = "same-origin"
        headers.setdefault("Cache-Control", "private, no-cache")
        if asked.method != "OPTIONS":
            headers.extend(self._allowed)
        rule, seconds = asked.url_rule, time.perf_counter() - g.began
        current.gate().response_ready(rule.rule if rule else "", asked.method, response.status_code, seconds)
        _log(response, seconds)
        return response


def _takes_gzip() -> bool:
    # Flask-Compress would compress for who says "gzip;q=0", too.
    return "HTTP_ACCEPT_ENCODING" in request.environ and bool(request.accept_encodings.quality("gzip"))


def _log(response: Response, seconds: float) -> None:
    asked = current.http_request()
    # Whoever watches over the process asks every few seconds.
    watching = asked.path.startswith("/health") and response.status_code < HTTPStatus.BAD_REQUEST
    # For the server's own log of requests, which cannot know what in a path is secret.
    path = asked.environ["stacflask.path"] = _path(asked)
    log.log(
        logging.DEBUG if watching else logging.INFO,
        "request answered",
        extra={
            "method": asked.method,
            "path": path,
            "route": asked.url_rule.rule if asked.url_rule else None,
            "status": response.status_code,
            "bytes": _length(asked, response),
            "duration": round(seconds, 4),
            "client": g.client,
            "principal": getattr(g.get("principal"), "id", None),
        },
    )


def _path(asked: Request) -> str:
    """Return the path that was asked for, without what in it gives access."""
    path = asked.path
    for name, value in (asked.view_args or {}).items():
        if name in SECRET_NAMES and value:
            path = path.replace(str(value), "***")
    return quote(path)


def _length(asked: Request, response: Response) -> int | None:
    """Return the length of the body that follows; None if it is not known before it has been sent."""
    if asked.method == "HEAD" or response.status_code in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return 0
    length = response.content_length  # set by werkzeug for a body that is here
    return length if length is not None or response.is_streamed else response.calculate_content_length()
