"""HTML pages of plugins: content negotiation, the check of a form's origin, and the page itself."""

import base64
import hashlib
import html
from collections.abc import Mapping
from urllib.parse import urlsplit

from stacflask import EndpointResponse, Request

PAGE = "text/html"
STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid #bbb;padding:1rem}"
    "button{font:inherit;padding:.5rem 1rem}"
)
POLICY = (
    "default-src 'none'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; style-src "
    f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)
"""No page loads anything or runs a script, and no other site can show it in a frame.

``data:`` is for the empty icon, because without an icon browsers request /favicon.ico.
"""


def prefers_page(request: Request) -> bool:
    """Return whether a client prefers HTML to JSON, as browsers do. ``*/*`` alone means JSON."""
    weights = dict(_weights(request.headers.get("Accept", "")))
    return weights.get(PAGE, 0.0) > weights.get("application/json", 0.0)


def _weights(accept: str) -> list[tuple[str, float]]:
    """Return the media types of an Accept header with their weights (RFC 9110, section 12.5.1)."""
    weights = []
    for part in accept.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        values = [word[2:] for word in parameters if word.startswith("q=")]
        try:
            weights.append((name, float(values[0]) if values else 1.0))
        except ValueError:
            continue
    return weights


def is_same_origin(request: Request) -> bool:
    """Return whether a page of this server made the request, by Sec-Fetch-Site or Origin, which browsers send."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    parts = urlsplit(request.base_url)
    return request.headers.get("Origin") == f"{parts.scheme}://{parts.netloc}"


def page(title: str, body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> EndpointResponse:
    """Return a page. ``title`` is text; ``body`` is HTML, in which the caller has escaped all values."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body><main><h1>{html.escape(title)}</h1>{body}</main></body></html>"
    )
    fields = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", **(headers or {})}
    return EndpointResponse(text, status, fields, media_type=PAGE)
