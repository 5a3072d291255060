"""Links to the pages before and after: the request at hand with another token, and nothing of the policy in them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from flask import request

from stacflask.api import address
from stacflask.api.render import GEOJSON, Link, link

if TYPE_CHECKING:
    from stacflask.values import Page


def links(page: Page, media_type: str = GEOJSON) -> list[Link]:
    """Link to the neighbours of a page, in the way that the page itself was asked for."""
    make = _posted if request.method == "POST" else _got
    neighbours = (("prev", page.prev), ("next", page.next))
    return [make(rel, token, media_type) for rel, token in neighbours if token is not None]


def _got(rel: str, token: str, media_type: str) -> Link:
    path, _, query = address.asked_url().partition("?")
    kept = [part for part in query.split("&") if part and unquote(part.partition("=")[0]) != "token"]
    return link(rel, f"{path}?{'&'.join([*kept, f'token={token}'])}", media_type, method="GET")


def _posted(rel: str, token: str, media_type: str) -> Link:
    return link(rel, address.asked_url(), media_type, method="POST", body={"token": token}, merge=True)
