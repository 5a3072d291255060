"""Tests of all routes of the application: no route shows or delivers what a policy hides or denies."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from stacflask import Decision, Endpoint, EndpointResponse, Location, Principal, Redirect, Stream, hookimpl
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Build = Callable[..., Flask]
SECRET = "s3cret-ä"
VALUES = {
    "collection_id": SECRET,
    "item_id": SECRET,
    "asset_id": SECRET,
    "name": "swagger-ui.css",
    "period_name": "2024",
}
BODIES: dict[str, Any] = {"POST": {}, "PUT": {}, "PATCH": {}}
READ_BY_POST = ("/search", "/aggregate", "/downloads")
MODIFIERS = ["", "?delivery=stream", "?limit=1000", "?force=true"]


class Everything:
    """Allows everything, and has every object. Subclasses hide and deny."""

    def __init__(self) -> None:
        self.delivered = 0

    @hookimpl
    def authenticate(self) -> Principal:
        """Return a principal."""
        return Principal("me", scheme="test")

    @hookimpl
    def authorize(self) -> Decision:
        """Return a consent."""
        return Decision.allow("test")

    @hookimpl
    def authorize_change(self) -> Decision:
        """Return a consent."""
        return Decision.allow("test")

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Resolve every asset."""
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        """Deliver every asset."""
        self.delivered += 1
        if streamed:
            return Stream(lambda first, length: iter([SECRET.encode()[first : first + length]]), len(SECRET.encode()))
        return Redirect(f"https://store.example.org/{quote(SECRET)}", timedelta(minutes=15))

    @hookimpl
    def extend_api(self) -> list[Endpoint]:
        """Add an endpoint of a plugin."""
        return [Endpoint("GET", "/plugins/{name}", lambda _: EndpointResponse({}), "Show.", {"type": "object"})]


class Hides(Everything):
    """Hides all items and collections."""

    @hookimpl
    def restrict(self) -> bool:
        """Hide everything."""
        return False


class HidesItems(Everything):
    """Hides all items, and shows their collections."""

    @hookimpl
    def restrict(self, of: str) -> bool | None:
        """Hide the items."""
        return False if of == "items" else None


class Refuses:
    """Denies every download and change, although another plugin consents."""

    @hookimpl
    def authorize(self) -> Decision:
        """Return a denial."""
        return Decision.deny("test")

    @hookimpl
    def authorize_change(self) -> Decision:
        """Return a denial."""
        return Decision.deny("test")


@pytest.fixture(autouse=True)
def _secrets(publish: Publish) -> None:
    document = {
        "assets": {SECRET: {"href": f"s3://{SECRET}/data", "title": SECRET}},
        "title": SECRET,
        "links": [{"rel": "via", "href": f"https://example.org/{SECRET}"}],
    }
    publish(a_collection(SECRET, keywords=[SECRET], **document), an_item(SECRET, SECRET, **document))


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Return the method and path of each route, with the secret names in it."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        path = adapter.build(rule.endpoint, {name: VALUES[name] for name in rule.arguments})
        for method in sorted(rule.methods or ()):
            yield method, path


def request(app: Flask, method: str, path: str) -> Any:
    body = {"json": BODIES[method]} if method in BODIES else {}
    return app.test_client().open(path, method=method, **body)


def shows_secret(response: Any) -> bool:
    """Return whether a response contains the secret, outside of the requested names and path."""
    requested = {quote(SECRET), SECRET}
    text = response.data.decode(errors="replace") + "".join(
        f"{name}: {value}\n" for name, value in response.headers.items()
    )
    path = response.request.path
    for name in requested:
        text = text.replace(f"http://localhost{quote(path)}", "").replace(path, "").replace(repr(name), "")
    return any(name in text for name in requested) or b"s3cret" in response.data.replace(repr(SECRET).encode(), b"")


def test_the_secret_is_found_without_a_policy(build: Build) -> None:
    """Without a policy, the same requests find the secret."""
    app = build(Everything())
    telling = {path for method, path in routes(app) if method == "GET" and shows_secret(request(app, method, path))}
    item = f"/collections/{quote(SECRET)}/items/{quote(SECRET)}"
    assert {"/", "/collections", "/search", item, f"{item}/download/{quote(SECRET)}"} <= telling


@pytest.mark.parametrize("policy", [Hides, HidesItems])
def test_no_route_shows_hidden_records(build: Build, policy: type[Everything]) -> None:
    """With a policy that hides records, every route responds as if they did not exist, and delivers nothing."""
    plugin = policy()
    app = build(plugin)
    for method, path in routes(app):
        shown_anyway = policy is HidesItems and "items" not in path and path != "/search"
        if shown_anyway or (policy is HidesItems and method == "POST"):
            continue
        for modifier in MODIFIERS:
            answer = request(app, method, path + modifier)
            if quote(SECRET) in path and method != "OPTIONS":
                empty_list = policy is HidesItems and path.endswith("/items")
                assert (answer.status_code == 404) != empty_list, (method, path + modifier)
            assert not shows_secret(answer) or policy is HidesItems, (method, path + modifier, answer.text)
    assert plugin.delivered == 0


def test_hidden_and_missing_records_look_the_same(build: Build) -> None:
    """Responses for hidden records are the same as for missing ones."""
    app = build(Hides())
    for method, path in routes(app):
        if quote(SECRET) in path:
            hidden, absent = request(app, method, path), request(app, method, path.replace(quote(SECRET), "nosuch"))
            assert hidden.status_code == absent.status_code
            assert hidden.text.replace(repr(SECRET), "'nosuch'") == absent.text


def test_no_route_delivers_denied_assets(build: Build) -> None:
    """With a policy that denies, no route delivers or changes anything, even if another plugin consents."""
    plugin = Everything()
    app = build(plugin, Refuses())
    before = build(Everything()).test_client().get("/search").data
    for method, path in routes(app):
        for modifier in MODIFIERS:
            answer = request(app, method, path + modifier)
            if "download" in path and path != "/downloads" and method != "OPTIONS":
                assert answer.status_code == 403, (method, path)
            if method in ("POST", "PUT", "PATCH", "DELETE") and not path.endswith(READ_BY_POST):
                assert answer.status_code == 403, (method, path)
    assert plugin.delivered == 0
    assert build(Everything()).test_client().get("/search").data == before


def test_failing_policies_show_nothing(build: Build) -> None:
    """With a policy that raises an exception, no route shows or delivers data."""

    class Breaks(Everything):
        @hookimpl
        def restrict(self) -> bool:
            raise RuntimeError(SECRET)

    plugin = Breaks()
    app = build(plugin)
    for method, path in routes(app):
        answer = request(app, method, path)
        assert not shows_secret(answer), (method, path)
        if quote(SECRET) in path and method != "OPTIONS":
            assert answer.status_code == 500, (method, path)
    assert plugin.delivered == 0


def test_wrong_credentials_show_nothing(build: Build) -> None:
    """With wrong credentials, no route shows or delivers data."""
    from stacflask import BadCredentials

    class Wrong(Everything):
        @hookimpl
        def authenticate(self) -> Principal:
            raise BadCredentials("no such key")

    app = build(Wrong())
    for method, path in routes(app):
        answer = request(app, method, path)
        assert not shows_secret(answer), (method, path)
        if quote(SECRET) in path and method != "OPTIONS":
            assert answer.status_code == 401, (method, path)


def test_every_route_supports_head_and_options(build: Build) -> None:
    """OPTIONS returns the methods, also for browsers of other origins. Routes with GET have HEAD.

    HEAD has the status of GET except for redirects, no body, and the same header fields.
    """
    app = build(Everything())
    for method, path in routes(app):
        preflight = {"Origin": "https://browser.example.org", "Access-Control-Request-Method": method}
        options = app.test_client().options(path, headers=preflight)
        assert (options.status_code, method in options.headers["Allow"]) == (200, True), path
        assert options.headers["Access-Control-Allow-Origin"] == "*", path
        assert method in options.headers["Access-Control-Allow-Methods"], path
        if method == "GET":
            get, head = request(app, "GET", path), request(app, "HEAD", path)
            assert (head.status_code, head.data) == (200, b""), path
            if get.status_code == 200:
                differing = {"X-Request-ID", "Date"}
                fields = [{k: v for k, v in one.headers.items() if k not in differing} for one in (get, head)]
                assert fields[0] == fields[1], path


def test_every_error_has_the_same_form(build: Build) -> None:
    """Every 4xx and 5xx, including those of the framework, is JSON with a code and a description, and is not cached."""
    app = build(Everything())
    seen = set()
    for path in [*{path for _, path in routes(app)}, "/nosuch", "/collections/a/b/c/d"]:
        for other in ("GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
            for url in (path, path.replace(quote(SECRET), "nosuch"), path + "?bbox=x&limit=x&delivery=x&force=x"):
                answer = app.test_client().open(url, method=other, data=b"{")
                if answer.status_code >= 400:
                    seen.add(answer.status_code)
                    assert answer.content_type == "application/json", (other, url)
                    assert {"code", "description"} <= answer.json.keys(), (other, url)
                    assert answer.headers["Cache-Control"] == "no-store"
                assert answer.status_code < 500, (other, url, answer.text)
                assert answer.headers["X-Request-ID"]
                if answer.status_code == 405:
                    assert "GET" in answer.headers["Allow"] or "POST" in answer.headers["Allow"]
    assert {400, 404, 405, 415} <= seen


def test_every_response_is_private(build: Build) -> None:
    """Shared caches store no response, no response is used for another user, and other sites receive no URL."""
    app = build(Everything())
    for method, path in routes(app):
        answer = request(app, method, path)
        assert "Authorization" in answer.vary, (method, path)
        assert answer.headers["Referrer-Policy"] == "same-origin", (method, path)
        if "static" not in path:
            assert answer.headers["Cache-Control"].partition(",")[0] in ("private", "no-store"), (method, path)
