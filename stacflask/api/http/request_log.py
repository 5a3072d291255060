"""Work for every request: id and first checks before it; header fields, compression and log after it."""

import logging
import os
import re
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, Request, Response, abort, g, request
from flask_compress import Compress
from flask_cors import CORS

from stacflask import current
from stacflask.api.http import public_url
from stacflask.api.http.media_types import GEOJSON, HTML, JSON, OPENAPI, SCHEMA
from stacflask.api.http.path_tokens import PathTokens
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
ANY_ORIGIN = "*"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
SECRET_NAMES = ("token", "secret")
"""Path variables whose values are not logged."""


def register(app: Flask, settings: Settings, credential_headers: Sequence[str]) -> None:
    """Register the functions that run before and after every request.

    ``credential_headers``: header fields with credentials, besides Authorization.
    """
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body,
        COMPRESS_REGISTER=False,
        COMPRESS_MIMETYPES=[JSON, GEOJSON, SCHEMA, OPENAPI.partition(";")[0], HTML],
        COMPRESS_ALGORITHM=["gzip"],
        COMPRESS_LEVEL=4,
        # Conditional requests are handled before compression.
        COMPRESS_EVALUATE_CONDITIONAL_REQUEST=False,
    )
    app.wsgi_app = PathTokens(app.wsgi_app)  # type: ignore[method-assign]
    app.before_request(partial(_begin, min(settings.max_body, settings.max_search_body)))
    if settings.replica_url:
        app.before_request(_begin_reading)
        app.teardown_request(_end_reading)
    any_origin = ANY_ORIGIN in settings.cors_origins
    CORS(
        app,
        origins=list(settings.cors_origins),
        send_wildcard=any_origin,
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        methods=METHODS,
        max_age=3600,
        # Error responses pass through after_request as well, and would have the fields twice.
        intercept_exceptions=False,
    )
    # Registered after CORS and therefore called before it: Flask calls the last registered function first.
    app.after_request(_Finish(Compress(app), credential_headers, any_origin=any_origin))


def _begin(max_body_bytes: int) -> None:
    """Check a request, and set its id, start time and client. ``max_body_bytes``: for requests that change nothing."""
    http_request = current.http_request()
    environ = http_request.environ
    sent_id = environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else os.urandom(16).hex()
    g.trace_id = environ.get("stacflask.trace_id") or _trace_id(environ.get("HTTP_TRACEPARENT", ""))
    g.began = time.perf_counter()
    g.client = public_url.client()
    # PostgreSQL's text type cannot contain NUL, so no name can.
    if "\0" in environ["PATH_INFO"] or "%00" in environ.get("QUERY_STRING", ""):
        abort(400, "URL: expected a path and query without NUL (%00).")
    if not http_request.host:
        abort(400, "Host: expected a host name or address, with an optional port.")
    if not _may_change(http_request):  # parsing a large body costs far more than sending it
        http_request.max_content_length = max_body_bytes
    public_url.base_url()  # stored in g for plugins, because ``current`` cannot import this package


def _may_change(http_request: Request) -> bool:
    """Return whether a request is for the Transaction extensions or a plugin's endpoint, which has no blueprint."""
    return http_request.blueprint in (None, "transactions")


def _begin_reading() -> None:
    http_request = current.http_request()
    # An endpoint of a plugin may base its changes on what it reads, so it must not read from the replica.
    current.catalog().database.begin_request(changing=http_request.method not in SAFE and _may_change(http_request))


def _end_reading(_: BaseException | None) -> None:
    current.catalog().database.end_request()


def _trace_id(traceparent: str) -> str | None:
    """Return the trace id of a valid traceparent (W3C Trace Context)."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == "ff" or not int(found[2], 16) or not int(found[3], 16):
        return None
    # Later versions may append to the form of version 00.
    return None if found[1] == "00" and found[4] else found[2]


class _Finish:
    """Compresses a response, adds the header fields of all responses, and logs the request."""

    def __init__(self, compress: Compress, credential_headers: Sequence[str], *, any_origin: bool) -> None:
        self._compress = compress
        # Responses depend on the principal, so a cache must not return one user's response to another.
        self._vary = ["Accept-Encoding", "Authorization", *credential_headers, *([] if any_origin else ["Origin"])]
        # The same for every origin, so flask-cors need not compute it (4 to 8% of the processor time of an item); it
        # skips responses that have these fields.
        allowed = [("Access-Control-Allow-Origin", ANY_ORIGIN), ("Access-Control-Expose-Headers", ", ".join(EXPOSED))]
        self._cors_headers = allowed if any_origin else []

    def __call__(self, response: Response) -> Response:
        if not response.direct_passthrough and _accepts_gzip():
            response = self._compress.after_request(response)
        http_request, headers = current.http_request(), response.headers
        if "Vary" in headers:
            response.vary.update(self._vary)
        else:
            headers["Vary"] = ", ".join(self._vary)
        headers["X-Request-ID"] = g.request_id
        headers["X-Content-Type-Options"] = "nosniff"
        # A URL can contain a download credential, which other sites must not receive as a referrer.
        headers["Referrer-Policy"] = "same-origin"
        headers.setdefault("Cache-Control", "private, no-cache")
        if http_request.method != "OPTIONS":
            headers.extend(self._cors_headers)
        rule, seconds = http_request.url_rule, time.perf_counter() - g.began
        gate, queue_seconds = current.gate(), http_request.environ.get("stacflask.queue_seconds")
        gate.response_ready(rule.rule if rule else "", http_request.method, response.status_code, seconds)
        if queue_seconds is not None:
            gate.record_metric("queue_seconds", queue_seconds)
        _log(response, seconds)
        return response


def _accepts_gzip() -> bool:
    # Flask-Compress would also compress for clients that send "gzip;q=0".
    return "HTTP_ACCEPT_ENCODING" in request.environ and bool(request.accept_encodings.quality("gzip"))


def _log(response: Response, seconds: float) -> None:
    http_request = current.http_request()
    # Monitoring requests the health of a process every few seconds.
    is_health_check = http_request.path.startswith("/health") and response.status_code < HTTPStatus.BAD_REQUEST
    # Also for the server's access log, which cannot recognise secrets in a path.
    path = http_request.environ["stacflask.path"] = _path_without_secrets(http_request)
    log.log(
        logging.DEBUG if is_health_check else logging.INFO,
        "request answered",
        extra={
            "method": http_request.method,
            "path": path,
            "route": http_request.url_rule.rule if http_request.url_rule else None,
            "status": response.status_code,
            "bytes": _body_length(http_request, response),
            "duration": round(seconds, 4),
            "client": g.client,
            "principal": getattr(g.get("principal"), "id", None),
        },
    )


def _path_without_secrets(http_request: Request) -> str:
    """Return the path of the request with its credentials masked."""
    path = http_request.path
    for name, value in (http_request.view_args or {}).items():
        if name in SECRET_NAMES and value:
            path = path.replace(str(value), "***")
    return quote(path)


def _body_length(http_request: Request, response: Response) -> int | None:
    """Return the length of the body in bytes; None if it is unknown until the body has been sent."""
    if http_request.method == "HEAD" or response.status_code in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return 0
    length = response.content_length  # set by werkzeug for a body in memory
    return length if length is not None or response.is_streamed else response.calculate_content_length()
