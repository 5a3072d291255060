"""Links to the previous and next page: the same request with another token.

A link by POST has the complete body of the request, because many clients do not merge the link's body into theirs.
"""

from collections.abc import Callable
from typing import Any
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
from stacflask.model.page import Page

PostBody = Callable[[], dict[str, Any]]

MAX_URL_CHARACTERS = 8_000
"""Slightly below the longest request line that ``gunicorn.conf.py`` permits."""

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


def links(page: Page, media_type: str = GEOJSON, as_post: PostBody | None = None) -> list[Link]:
    """Return links to the previous and next page, with the method of the request.

    ``as_post`` returns the request as the body of a search by POST, for URLs that would be too long.
    Raises RequestURITooLarge if a URL would be too long and ``as_post`` is None.
    """
    neighbours = ((rel, token) for rel, token in (("prev", page.prev), ("next", page.next)) if token is not None)
    if request.method == "POST":
        return [_post_link(rel, token, media_type) for rel, token in neighbours]
    return [_get_link(rel, token, media_type, as_post) for rel, token in neighbours]


def _get_link(rel: str, token: str, media_type: str, as_post: PostBody | None) -> Link:
    path, _, query = public_url.request_url().partition("?")
    kept = [part for part in query.split("&") if part and unquote(part.partition("=")[0]) != "token"]
    url = f"{path}?{'&'.join([*kept, f'token={token}'])}"
    if len(url) <= MAX_URL_CHARACTERS:
        return link(rel, url, media_type, method="GET")
    if as_post is None:
        raise RequestURITooLarge(
            f"The URL of the {rel} page has more than {MAX_URL_CHARACTERS} characters. "
            "Shorten the query or raise limit."
        )
    body = {**as_post(), "token": token}
    url = f"{public_url.base_url()}/search{signed_hrefs.query_string()}"
    return link(rel, url, media_type, method="POST", body=orjson.Fragment(_encode(body)))


def _post_link(rel: str, token: str, media_type: str) -> Link:
    body = _with_token(request.get_data(), token)
    return link(rel, public_url.request_url(), media_type, method="POST", body=orjson.Fragment(body))


def body_of_next(token: str) -> orjson.Fragment:
    """Return the body of the request with the token of the next page in its member ``search``."""
    members = _members(request.get_data())
    search = Raw(_with_token(bytes(members["search"]), token))
    return orjson.Fragment(_encode({**members, "search": search}))


def _with_token(search: bytes, token: str) -> bytes:
    """Return the JSON of a search with this token. Numbers keep all of their digits."""
    return _encode({**_members(search), "token": token})
