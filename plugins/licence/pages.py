"""Pages for people: who asks for one, and what makes a form of ours safe to take."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stacflask import EndpointResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stacflask import Request

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
"""Nothing is fetched and no script runs, whatever a page shows; and no other site frames it to have it clicked on.

``data:`` is for the icon, which is empty: without one browsers ask for /favicon.ico.
"""


def prefers_page(request: Request) -> bool:
    """Whether who asks would rather have a page than JSON, as browsers do; programs that take anything would not."""
    wishes = dict(_wishes(request.headers.get("Accept", "")))
    return wishes.get(PAGE, 0.0) > wishes.get("application/json", 0.0)


def _wishes(accept: str) -> list[tuple[str, float]]:
    wishes = []
    for part in accept.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        weights = [word[2:] for word in parameters if word.startswith("q=")]
        try:
            wishes.append((name, float(weights[0]) if weights else 1.0))
        except ValueError:
            continue
    return wishes


def is_our_own(request: Request) -> bool:
    """Whether a page of ours made the request, as browsers tell; what says nothing is no browser of today."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    parts = urlsplit(request.base_url)
    return request.headers.get("Origin") == f"{parts.scheme}://{parts.netloc}"


def page(title: str, body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> EndpointResponse:
    """Give a page. ``title`` is text; ``body`` is HTML, in which all that others wrote is escaped already."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body><main><h1>{html.escape(title)}</h1>{body}</main></body></html>"
    )
    fields = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", **(headers or {})}
    return EndpointResponse(text, status, fields, media_type=PAGE)
