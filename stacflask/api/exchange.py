"""What surrounds every request: its id and first checks before it, header fields, compression and the log after it."""

from __future__ import annotations

import logging
import re
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Flask, Response, abort, g, request
from flask_compress import Compress
from flask_cors import CORS

from stacflask import current
from stacflask.api import address
from stacflask.api.landing import HTML, OPENAPI
from stacflask.api.render import GEOJSON, JSON, SCHEMA

if TYPE_CHECKING:
    from stacflask.settings import Settings

log = logging.getLogger(__name__)

EXPOSED = [
    *("ETag", "Location", "Link", "Content-Range", "Accept-Ranges", "Content-Disposition", "Content-Length"),
    *("Repr-Digest", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "X-Request-ID"),
]
ALLOWED = ["Authorization", "Content-Type", "If-Match", "If-None-Match", "If-Range", "Range", "Prefer", "X-Request-ID"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ANYBODY = "*"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def surround(app: Flask, settings: Settings, *, cookies: bool) -> None:
    """Do for every request of the application what is done for all. ``cookies``: people may be known by one."""
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body,
        COMPRESS_REGISTER=False,
        COMPRESS_MIMETYPES=[JSON, GEOJSON, SCHEMA, OPENAPI.partition(";")[0], HTML],
        COMPRESS_ALGORITHM=["gzip"],
        COMPRESS_LEVEL=4,
        # Weighed already, and without compressing first.
        COMPRESS_EVALUATE_CONDITIONAL_REQUEST=False,
    )
    app.before_request(_begin)
    compress = Compress(app)
    dependent = _dependent(settings, cookies=cookies)
    app.after_request(lambda response: _finish(response, compress, dependent))
    CORS(
        app,
        origins=list(settings.cors_origins),
        send_wildcard=ANYBODY in settings.cors_origins,
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        methods=METHODS,
        max_age=3600,
    )


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.began = time.perf_counter()
    g.client = address.client()
    # PostgreSQL's text cannot hold a NUL, so nothing is called so.
    if "\0" in request.path or "%00" in request.query_string.decode("latin-1"):
        abort(400, "NUL is not a character of any name here.")
    if not request.host:
        abort(400, "Host: expected a name or address, and perhaps a port.")
    address.base_url()  # said now, because plugins that ask for it stand on a floor below


def _finish(response: Response, compress: Compress, dependent: list[str]) -> Response:
    # Flask-Compress would compress for who says "gzip;q=0", too.
    if not response.direct_passthrough and request.accept_encodings.quality("gzip"):
        response = compress.after_request(response)
    response.vary.update(dependent)
    response.headers["X-Request-ID"] = g.request_id
    response.headers.setdefault("Cache-Control", "private, no-cache")
    seconds = time.perf_counter() - g.began
    current.gate().answered(
        request.url_rule.rule if request.url_rule else "", request.method, response.status_code, seconds
    )
    _log(response, seconds)
    return response


def _dependent(settings: Settings, *, cookies: bool) -> list[str]:
    """Say what answers depend on. What is seen does on who asks: no cache may hand one's answer to another."""
    origins = [] if ANYBODY in settings.cors_origins else ["Origin"]
    return ["Accept-Encoding", "Authorization", *(["Cookie"] if cookies else []), *origins]


def _log(response: Response, seconds: float) -> None:
    # Whoever watches over the process asks every few seconds.
    watching = request.path.startswith("/health") and response.status_code < HTTPStatus.BAD_REQUEST
    log.log(
        logging.DEBUG if watching else logging.INFO,
        "%s %s %s",
        request.method,
        quote(request.path),
        response.status_code,
        extra={
            "status": response.status_code,
            "principal": getattr(g.get("principal"), "id", None),
            "ms": round(seconds * 1000, 1),
        },
    )
