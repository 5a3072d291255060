"""Requests of browsers from other origins (CORS)."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
ORIGIN = {"Origin": "https://browser.example.org"}
ITEM = "/collections/collection/items/item"


def test_every_origin_may_read_responses(client: Client, publish: Publish) -> None:
    """Every origin may read responses, including errors, and the header fields that clients need."""
    publish(an_item())
    for path in ("/", "/search", ITEM, "/collections/nosuch", "/nosuch", "/search?bbox=1", f"{ITEM}/download/data"):
        response = client.get(path, headers=ORIGIN)
        # Browsers reject a response that has the field twice.
        assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"], path
        assert len(response.headers.getlist("Access-Control-Expose-Headers")) == 1
        assert "Access-Control-Allow-Credentials" not in response.headers
        exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"ETag", "Location", "Link", "Content-Range", "Accept-Ranges", "Content-Disposition"} <= exposed
        assert {"Repr-Digest", "Retry-After", "WWW-Authenticate", "RateLimit", "X-Request-ID"} <= exposed


@pytest.mark.parametrize(
    ("path", "method"), [("/search", "POST"), (ITEM, "PUT"), (ITEM, "PATCH"), (ITEM, "GET"), (ITEM, "DELETE")]
)
def test_a_preflight_lists_methods_and_fields(editor: Client, publish: Publish, path: str, method: str) -> None:
    """A preflight response lists the methods, and the fields for credentials, conditions and ranges."""
    requested = "authorization, content-type, if-match, if-none-match, range, prefer"
    headers = {**ORIGIN, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": requested}
    response = editor.options(path, headers=headers)
    assert response.status_code == 200
    assert method in response.headers["Access-Control-Allow-Methods"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert set(requested.split(", ")) <= set(allowed)


def test_preflight_needs_no_credentials(plug: Callable[..., Client], publish: Publish) -> None:
    """Browsers send preflights without credentials, so no plugin is called."""
    from stacflask import hookimpl

    class Broken:
        @hookimpl
        def authenticate(self) -> None:
            raise AssertionError("called")

    headers = {**ORIGIN, "Access-Control-Request-Method": "GET"}
    assert plug(Broken()).options(ITEM, headers=headers).status_code == 200


def test_other_origins_may_read_server_errors(plug: Callable[..., Client], publish: Publish) -> None:
    """Browsers of other origins may read a response with status 500."""
    from stacflask import hookimpl

    class Broken:
        @hookimpl
        def authenticate(self) -> None:
            raise RuntimeError("broken")

    response = plug(Broken()).get("/search", headers=ORIGIN)
    assert (response.status_code, response.headers.getlist("Access-Control-Allow-Origin")) == (500, ["*"])


def test_a_setting_restricts_origins(plug: Callable[..., Client], publish: Publish) -> None:
    """A setting restricts the origins. Responses then depend on the origin and have it in Vary."""
    client = plug(environ={"STACFLASK_CORS_ORIGINS": "https://browser.example.org, https://other.example.org"})
    for path in ("/", "/nosuch"):
        response = client.get(path, headers=ORIGIN)
        assert response.headers.getlist("Access-Control-Allow-Origin") == ["https://browser.example.org"]
        assert "Origin" in response.vary
    foreign = client.get("/", headers={"Origin": "https://evil.example.org"})
    assert "Access-Control-Allow-Origin" not in foreign.headers
    assert "Origin" in foreign.vary


def test_the_origin_null_is_not_echoed(plug: Callable[..., Client], publish: Publish) -> None:
    """The origin "null" is never echoed."""
    for environ in ({}, {"STACFLASK_CORS_ORIGINS": "https://browser.example.org"}):
        response = plug(environ=environ).get("/", headers={"Origin": "null"})
        assert response.headers.get("Access-Control-Allow-Origin") in (None, "*")
