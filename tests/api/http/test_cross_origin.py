"""Browsers of other origins (CORS)."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
ORIGIN = {"Origin": "https://browser.example.org"}
ITEM = "/collections/collection/items/item"


def test_answers_may_be_read(client: Client, publish: Publish) -> None:
    """Every origin may read answers, errors too, and the header fields that a client needs."""
    publish(an_item())
    for path in ("/", "/search", ITEM, "/collections/nosuch", "/nosuch", "/search?bbox=1", f"{ITEM}/download/data"):
        answer = client.get(path, headers=ORIGIN)
        # Browsers take two fields of the same value for none.
        assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"], path
        assert len(answer.headers.getlist("Access-Control-Expose-Headers")) == 1
        assert "Access-Control-Allow-Credentials" not in answer.headers
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"ETag", "Location", "Link", "Content-Range", "Accept-Ranges", "Content-Disposition"} <= exposed
        assert {"Repr-Digest", "Retry-After", "WWW-Authenticate", "RateLimit", "X-Request-ID"} <= exposed


@pytest.mark.parametrize(
    ("path", "method"), [("/search", "POST"), (ITEM, "PUT"), (ITEM, "PATCH"), (ITEM, "GET"), (ITEM, "DELETE")]
)
def test_preflight(editor: Client, publish: Publish, path: str, method: str) -> None:
    """A preflight is answered with what may be sent: methods, and the fields for credentials, conditions and ranges."""
    asked = "authorization, content-type, if-match, if-none-match, range, prefer"
    headers = {**ORIGIN, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": asked}
    answer = editor.options(path, headers=headers)
    assert answer.status_code == 200
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert set(asked.split(", ")) <= set(allowed)


def test_preflight_needs_no_credentials(plug: Callable[..., Client], publish: Publish) -> None:
    """Browsers send a preflight without credentials: no plugin is asked."""
    from stacflask import hookimpl

    class Broken:
        @hookimpl
        def authenticate(self) -> None:
            raise AssertionError("asked")

    headers = {**ORIGIN, "Access-Control-Request-Method": "GET"}
    assert plug(Broken()).options(ITEM, headers=headers).status_code == 200


def test_what_breaks_may_be_read(plug: Callable[..., Client], publish: Publish) -> None:
    """A broken server says so to browsers of other origins, too."""
    from stacflask import hookimpl

    class Broken:
        @hookimpl
        def authenticate(self) -> None:
            raise RuntimeError("broken")

    answer = plug(Broken()).get("/search", headers=ORIGIN)
    assert (answer.status_code, answer.headers.getlist("Access-Control-Allow-Origin")) == (500, ["*"])


def test_origins_may_be_named(plug: Callable[..., Client], publish: Publish) -> None:
    """A setting narrows the origins; the answer then depends on the origin, and says so."""
    client = plug(environ={"STACFLASK_CORS_ORIGINS": "https://browser.example.org, https://other.example.org"})
    for path in ("/", "/nosuch"):
        answer = client.get(path, headers=ORIGIN)
        assert answer.headers.getlist("Access-Control-Allow-Origin") == ["https://browser.example.org"]
        assert "Origin" in answer.vary
    foreign = client.get("/", headers={"Origin": "https://evil.example.org"})
    assert "Access-Control-Allow-Origin" not in foreign.headers
    assert "Origin" in foreign.vary


def test_null_is_no_friend(plug: Callable[..., Client], publish: Publish) -> None:
    """The origin "null" is never echoed."""
    for environ in ({}, {"STACFLASK_CORS_ORIGINS": "https://browser.example.org"}):
        answer = plug(environ=environ).get("/", headers={"Origin": "null"})
        assert answer.headers.get("Access-Control-Allow-Origin") in (None, "*")
