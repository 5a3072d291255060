"""Links to the pages before and after: the request with another token, and nothing of the policy in them.

A link by POST has the whole body of the request, because many clients do not merge what a link says into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import orjson
from flask import request
from msgspec import Raw
from werkzeug.exceptions import RequestURITooLarge

from stacflask.api.documents import signed_hrefs
from stacflask.api.documents.stac_links import Link, link
from stacflask.api.http import public_url
from stacflask.api.http.media_types import GEOJSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacflask.model.page import Page

    PostBody = Callable[[], dict[str, Any]]

LONGEST_URL = 8_000
"""Characters; ``gunicorn.conf.py`` refuses a request line that is not much longer."""

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


def links(page: Page, media_type: str = GEOJSON, as_post: PostBody | None = None) -> list[Link]:
    """Link to the neighbours of a page, by the method of the request.

    ``as_post`` returns the request as the body of a search by POST, for URLs that would be too long.
    Raises RequestURITooLarge: a URL would be too long, and there is no such body.
    """
    neighbours = ((rel, token) for rel, token in (("prev", page.prev), ("next", page.next)) if token is not None)
    if request.method == "POST":
        return [_posted(rel, token, media_type) for rel, token in neighbours]
    return [_got(rel, token, media_type, as_post) for rel, token in neighbours]


def _got(rel: str, token: str, media_type: str, as_post: PostBody | None) -> Link:
    path, _, query = public_url.request_url().partition("?")
    kept = [part for part in query.split("&") if part and unquote(part.partition("=")[0]) != "token"]
    url = f"{path}?{'&'.join([*kept, f'token={token}'])}"
    if len(url) <= LONGEST_URL:
        return link(rel, url, media_type, method="GET")
    if as_post is None:
        raise RequestURITooLarge(
            f"The URL of the {rel} page has more than {LONGEST_URL} characters. Shorten the query or raise limit."
        )
    body = {**as_post(), "token": token}
    there = f"{public_url.base_url()}/search{signed_hrefs.asked()}"
    return link(rel, there, media_type, method="POST", body=orjson.Fragment(_encode(body)))


def _posted(rel: str, token: str, media_type: str) -> Link:
    body = _with_token(request.get_data(), token)
    return link(rel, public_url.request_url(), media_type, method="POST", body=orjson.Fragment(body))


def body_of_next(token: str) -> orjson.Fragment:
    """Return the body of the request, whose member ``search`` is a search, with the token of the next page in it."""
    members = _members(request.get_data())
    search = Raw(_with_token(bytes(members["search"]), token))
    return orjson.Fragment(_encode({**members, "search": search}))


def _with_token(search: bytes, token: str) -> bytes:
    """Return the text of a search with this token; its numbers keep all of their digits."""
    return _encode({**_members(search), "token": token})
