"""Hooks: each is documented with its arguments, is called from one place, and behaves as specified."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from shapely.geometry import shape

from stacflask import (
    ANONYMOUS,
    Asset,
    BadCredentials,
    ByteRange,
    Challenge,
    Change,
    Cookie,
    Decision,
    DownloadDecision,
    Endpoint,
    EndpointResponse,
    Interval,
    Location,
    Offline,
    Order,
    Principal,
    Redirect,
    Request,
    RequestInfo,
    Services,
    SettingError,
    SignedQueries,
    Stream,
    StreamResult,
    Unavailable,
    hookimpl,
    hookspecs,
)
from stacflask.cli import run
from stacflask.gate import Gate, combine_decisions
from stacflask.model.decision import Grant
from stacflask.pluginmanager import loading
from stacflask.testing import Plug, Publish, a_collection, an_item
from tests.waiting import waiting_for

ROOT = Path(__file__).parents[2]
DOWNLOAD = "/collections/collection/items/item/download/data"
ME = Principal("me", scheme="test")


INSIDE, OUTSIDE = ({"X-Forwarded-For": address} for address in ("192.0.2.1", "203.0.113.9"))
TRUST = {"STACFLASK_TRUSTED_PROXIES": "127.0.0.0/8"}


def specs() -> dict[str, list[str]]:
    """Return the arguments of each hook, from the source of the specifications."""
    tree = ast.parse((ROOT / "stacflask" / "hookspecs.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {function.name: [argument.arg for argument in function.args.args] for function in functions}


SPECS = specs()


@pytest.mark.parametrize("hook", SPECS)
def test_each_hook_is_documented_with_its_arguments(hook: str) -> None:
    """docs/hooks.md has a heading with the exact signature of each hook."""
    assert f"### `{hook}({', '.join(SPECS[hook])})`" in (ROOT / "docs" / "hooks.md").read_text()


def test_docs_have_no_unknown_hooks() -> None:
    """docs/hooks.md has no heading for a hook that was renamed or removed."""
    named = re.findall(r"^### `(\w+)\(", (ROOT / "docs" / "hooks.md").read_text(), re.MULTILINE)
    assert set(named) == SPECS.keys()


@pytest.mark.parametrize("hook", SPECS)
def test_each_hook_has_a_test_here(hook: str) -> None:
    """This module has a test for each hook, named after the hook."""
    assert any(name.startswith(f"test_{hook}_") for name in globals())


def calls(hook: str) -> Iterator[str]:
    for path in sorted((ROOT / "stacflask").rglob("*.py")):
        yield from re.findall(rf"\bhook\.{hook}\b(?!\.get_hookimpls)", path.read_text())


# The server and the command line are separate programs. Each of them calls ``startup`` itself. The functions of
# ``transform`` are called one by one, because each gets the result of the previous one.
@pytest.mark.parametrize("hook", sorted(SPECS.keys() - {"startup", "transform"}))
def test_each_hook_is_called_from_one_place(hook: str) -> None:
    """The source calls each hook in exactly one place."""
    assert len(list(calls(hook))) == 1


class Authenticates:
    """Authenticates every request as ``me``."""

    @hookimpl
    def authenticate(self) -> Principal:
        return ME


class Consents:
    """Allows every download."""

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.allow("test", headers={"X-Consent": "yes"})


class Store:
    """Resolves and delivers every asset, and records the calls."""

    def __init__(self) -> None:
        self.called: list[str] = []

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        self.called.append("resolve")
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        from datetime import timedelta

        self.called.append("deliver")
        if streamed:
            return Stream(lambda first, length: iter([b"0123456789"[first : first + length]]), 10, '"tag"')
        return Redirect("https://store.example.org/signed", timedelta(minutes=15))


# --- Startup ---------------------------------------------------------------------------------------------------------


def test_startup_passes_storage(plug: Plug) -> None:
    """A plugin can use its own tables through the services that ``startup`` passes."""

    class Stateful:
        @hookimpl
        def startup(self, services: Any) -> None:
            self.rows = services.storage.rows("SELECT :one AS one", one=1)

    plugin = Stateful()
    plug(plugin)
    assert plugin.rows == [{"one": 1}]


def test_extend_api_adds_a_documented_endpoint(plug: Plug) -> None:
    """The handler of an endpoint receives principal, values and body. The OpenAPI document describes the endpoint."""

    class Echo:
        @hookimpl
        def extend_api(self) -> list[Endpoint]:
            def handler(call: Any) -> EndpointResponse:
                return EndpointResponse({"who": call.principal.id, "name": call.values["name"], "body": call.body}, 201)

            return [Endpoint("POST", "/echo/{name}", handler, "Echo.", {"type": "object"}, {"type": "object"}, 201)]

    client = plug(Echo(), Authenticates())
    answer = client.post("/echo/x", json={"a": 1})
    assert (answer.status_code, answer.json) == (201, {"who": "me", "name": "x", "body": {"a": 1}})
    assert "/echo/{name}" in client.get("/api").json["paths"]
    assert client.post("/echo/x", data="{").status_code == 400


def test_extend_api_requires_the_scope_of_an_endpoint(plug: Plug) -> None:
    """A limited credential needs the scope of an endpoint; by default read for GET, and write for other methods."""

    class Three:
        @hookimpl
        def authenticate(self, request: Request) -> Principal:
            return Principal("me", scheme="test", scopes=frozenset(request.headers["Scopes"].split()))

        @hookimpl
        def extend_api(self) -> list[Endpoint]:
            def handler(_: Any) -> EndpointResponse:
                return EndpointResponse({})

            return [
                Endpoint("GET", "/one", handler, "One.", {}),
                Endpoint("POST", "/two", handler, "Two.", {}),
                Endpoint("POST", "/three", handler, "Three.", {}, scope="download"),
            ]

    client = plug(Three())
    requests = [("GET", "/one"), ("POST", "/two"), ("POST", "/three")]
    for scope, statuses in {
        "read": [200, 403, 403],
        "write": [403, 200, 403],
        "download": [403, 403, 200],
        "read write download": [200, 200, 200],
    }.items():
        answers = [client.open(path, method=method, headers={"Scopes": scope}) for method, path in requests]
        assert [answer.status_code for answer in answers] == statuses
        assert {answer.json.get("code") for answer in answers} <= {None, "InsufficientScope"}
    assert "403" in client.get("/api", headers={"Scopes": "read"}).json["paths"]["/one"]["get"]["responses"]


def test_extend_api_responses_can_be_pages_with_cookies(plug: Plug) -> None:
    """An endpoint can redirect, set cookies, return HTML, read query and cookies, and skip authentication."""

    class Pages:
        @hookimpl
        def authenticate(self) -> None:
            raise BadCredentials("never")

        @hookimpl
        def extend_api(self) -> list[Endpoint]:
            def enter(call: Any) -> EndpointResponse:
                where = f"{call.base_url}{call.request.query['next']}"
                return EndpointResponse.redirect(where, [Cookie("a", "1", 60), Cookie("b", "", 0, "/b", secure=False)])

            def page(call: Any) -> EndpointResponse:
                return EndpointResponse(f"<p>{call.request.cookies['a']}", media_type="text/html")

            html: Any = {"media_type": "text/html", "public": True}
            return [
                Endpoint("GET", "/in", enter, "In.", {}, status=303, query={"next": "Target."}, public=True),
                Endpoint("GET", "/page", page, "Page.", {"type": "string"}, **html),
                Endpoint("GET", "/data", page, "Data.", {"type": "string"}),
            ]

    client = plug(Pages(), environ={"STACFLASK_STRICT_PARAMETERS": "yes"})
    entered = client.get("/in?next=/page")
    assert (entered.status_code, entered.headers["Location"]) == (303, "http://localhost/page")
    cookies = [set(cookie.split("; ")) for cookie in entered.headers.getlist("Set-Cookie")]
    assert {"a=1", "Secure", "HttpOnly", "Max-Age=60", "Path=/", "SameSite=Lax"} < cookies[0]
    assert {"b=", "HttpOnly", "Max-Age=0", "Path=/b", "SameSite=Lax"} < cookies[1]
    assert "Secure" not in cookies[1]
    page = client.get("/page", headers={"Cookie": "a=1"})
    assert (page.text, page.content_type) == ("<p>1", "text/html; charset=utf-8")
    assert client.get("/in?back=/page").status_code == 400
    assert client.get("/data").status_code == 401


def test_check_setup_is_printed_by_check(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`stacflask check` prints the notes of all plugins, the leftmost plugin first."""
    folder = Path(__file__).parents[1]
    environ = {
        "DATABASE_URL": database_url,
        "STACFLASK_PLUGINS": "collection_groups,local_files",
        "STACFLASK_LOCAL_FILES_ROOTS": json.dumps({str(folder): "*"}),
    }
    assert run(["check"], environ) == 0
    first, second = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert "STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES" in first
    assert f"STACFLASK_LOCAL_FILES_ROOTS: {folder}" in second


def test_extend_cli_adds_a_command() -> None:
    """The commands of all plugins are added."""

    class Commands:
        @hookimpl
        def extend_cli(self) -> list[click.Command]:
            return [click.Command("mine")]

    (commands,) = loading.manage({"commands": Commands()}).hook.extend_cli()
    assert [command.name for command in commands] == ["mine"]


# --- Authentication --------------------------------------------------------------------------------------------------


def test_authenticate_uses_the_leftmost_result(plug: Plug) -> None:
    """The first plugin that returns a principal decides. Plugins further right are not called."""
    called = []

    def plugin(name: str, answer: Principal | None) -> object:
        class Authenticator:
            @hookimpl
            def authenticate(self) -> Principal | None:
                called.append(name)
                return answer

        return Authenticator()

    manager = loading.manage({"a": plugin("a", None), "b": plugin("b", ME), "c": plugin("c", ANONYMOUS)})
    assert Gate(manager).authenticate(None) is ME  # type: ignore[arg-type]
    assert called == ["a", "b"]


def test_authenticate_wrong_credentials_are_401_everywhere(plug: Plug) -> None:
    """Wrong credentials of a plugin's kind are refused, even for public resources."""

    class Wrong:
        @hookimpl
        def authenticate(self) -> None:
            raise BadCredentials("no such key")

    answer = plug(Wrong(), Authenticates()).get("/collections")
    assert (answer.status_code, answer.json["code"]) == (401, "InvalidCredentials")


def test_challenge_in_a_header_is_in_vary(plug: Plug) -> None:
    """If a header field has credentials, caches must not share responses between users."""

    class Proxied:
        @hookimpl
        def challenge(self) -> list[Challenge]:
            return [Challenge("", "proxy", {"type": "apiKey", "in": "header", "name": "X-Remote-User"})]

    assert "X-Remote-User" in plug(Proxied()).get("/collections").vary
    assert "X-Remote-User" not in plug(Authenticates()).get("/collections").vary


def test_challenge_is_sent_and_documented(plug: Plug) -> None:
    """A challenge is sent in WWW-Authenticate, with the error of a wrong token, and is in the OpenAPI document."""

    class Bearer:
        @hookimpl
        def authenticate(self, request: Any) -> None:
            if request.credentials("Bearer"):
                raise BadCredentials("expired")

        @hookimpl
        def challenge(self) -> list[Challenge]:
            return [Challenge('Bearer realm="r"', "token", {"type": "http", "scheme": "bearer"})]

    client = plug(Bearer())
    answer = client.get("/collections", headers={"Authorization": "Bearer x"})
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="r", error="invalid_token", error_description="expired"'
    )
    assert client.get("/api").json["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_refresh_principal_returns_current_groups(plug: Plug) -> None:
    """``services.refresh_principal`` returns the current principal from the plugin of its scheme."""

    class Keys:
        @hookimpl
        def refresh_principal(self, principal: Principal) -> Principal | None:
            return replace(principal, groups=frozenset({"new"})) if principal.scheme == "test" else None

    class Links:
        @hookimpl
        def startup(self, services: Any) -> None:
            self.refresh_principal = services.refresh_principal

    links, then = Links(), datetime.now(UTC)
    plug(links, Keys())
    assert links.refresh_principal(replace(ME, groups=frozenset({"old"})), then).groups == {"new"}
    assert links.refresh_principal(replace(ME, scheme="other"), then) is None


class Directory:
    """Adds the groups of a directory to users, and a group to clients of the campus."""

    groups: frozenset[str] = frozenset({"staff"})

    @hookimpl
    def principal_groups(self, principal: Principal, request_info: RequestInfo) -> frozenset[str] | None:
        campus = {"campus"} if request_info.address == "192.0.2.1" else set()
        return frozenset(campus) if principal.anonymous else self.groups | campus


class NotesPrincipals:
    """Records the principals of ``restrict``."""

    def __init__(self) -> None:
        self.principals: list[Principal] = []

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> None:
        if of == "items":
            self.principals.append(principal)


def test_principal_groups_are_added_to_the_own_groups(plug: Plug) -> None:
    """The groups that plugins return are added to those that the authenticating plugin returned, in each request."""

    class Members:
        @hookimpl
        def authenticate(self, request: Request) -> Principal | None:
            return replace(ME, groups=frozenset({"members", "staff"})) if request.headers.get("User") else None

    notes = NotesPrincipals()
    client = plug(Members(), Directory(), notes, environ=TRUST)
    for headers in ({"User": "me", **INSIDE}, {"User": "me", **OUTSIDE}, INSIDE, OUTSIDE):
        client.get("/search", headers=headers)
    groups = [(set(principal.groups), set(principal.own_groups)) for principal in notes.principals]
    assert groups == [
        ({"members", "staff", "campus"}, {"members", "staff"}),
        ({"members", "staff"}, {"members", "staff"}),
        ({"campus"}, set()),
        (set(), set()),
    ]
    assert [principal.anonymous for principal in notes.principals] == [False, False, True, True]


def test_principal_groups_are_current_for_a_refreshed_principal(plug: Plug) -> None:
    """A refreshed principal has the further groups of now, and none that a plugin added before."""

    class Unchanged:
        @hookimpl
        def refresh_principal(self, principal: Principal) -> Principal:
            assert principal.groups == {"members"}
            return principal

        @hookimpl
        def startup(self, services: Services) -> None:
            self.refresh = services.refresh_principal

    identity, directory = Unchanged(), Directory()
    plug(identity, directory)
    before = identity.refresh(replace(ME, groups=frozenset({"members"})), datetime.now(UTC))
    assert before is not None
    assert before.groups == {"members", "staff"}
    directory.groups = frozenset({"guests"})
    after = identity.refresh(before, datetime.now(UTC))
    assert after is not None
    assert after.groups == {"members", "guests"}


def test_challenge_by_cookie_is_in_vary(plug: Plug) -> None:
    """If a cookie has credentials, caches must not share responses between users."""

    class Cookies:
        @hookimpl
        def challenge(self) -> list[Challenge]:
            return [Challenge("", "session", {"type": "apiKey", "in": "cookie", "name": "session"})]

    assert "Cookie" in plug(Cookies()).get("/collections").vary
    assert "Cookie" not in plug().get("/collections").vary


class Tokens:
    """Accepts one kind of bearer token, and raises an error for other credentials."""

    @hookimpl
    def authenticate(self, request: Any) -> Principal | None:
        if request.credentials("Bearer") == "narrow":
            return Principal("me", scheme="test", scopes=frozenset({"read"}))
        raise BadCredentials('It has "expired".')

    @hookimpl
    def challenge(self) -> list[Challenge]:
        return [
            Challenge('Bearer realm="r"', "token", {"type": "http", "scheme": "bearer"}),
            Challenge('Bearer realm="r"', "other", {"type": "http", "scheme": "bearer"}),
            Challenge('Basic realm="r"', "password", {"type": "http", "scheme": "basic"}),
        ]


@pytest.mark.parametrize(
    ("authorization", "challenges"),
    [
        (
            "Bearer x",
            ['Bearer realm="r", error="invalid_token", error_description="It has expired."', 'Basic realm="r"'],
        ),
        ("Basic x", ['Bearer realm="r"', 'Basic realm="r"']),
    ],
)
def test_challenge_has_the_error_of_the_used_scheme(plug: Plug, authorization: str, challenges: list[str]) -> None:
    """Only a client that sent a bearer token gets its error (RFC 6750, 3). Each challenge is sent once."""
    answer = plug(Tokens()).get("/collections", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json["description"]) == (401, 'It has "expired".')
    assert answer.headers.getlist("WWW-Authenticate") == challenges


def test_challenge_has_the_missing_scope(plug: Plug, publish: Publish) -> None:
    """A valid token without the needed scope is a 403, with the scope in a challenge."""
    publish(an_item())
    answer = plug(Tokens(), Consents(), Store()).get(DOWNLOAD, headers={"Authorization": "Bearer narrow"})
    assert (answer.status_code, answer.json["code"]) == (403, "InsufficientScope")
    (challenge,) = answer.headers.getlist("WWW-Authenticate")
    assert challenge.startswith('Bearer realm="r", error="insufficient_scope", scope="download", error_description="')


# --- Visibility ------------------------------------------------------------------------------------------------------


def test_restrict_only_restricts_further(plug: Plug, publish: Publish) -> None:
    """Conditions of several plugins are joined by AND. Items of hidden collections are hidden."""
    publish(a_collection("one"), a_collection("two"), an_item("a", "one"), an_item("b", "one"), an_item("c", "two"))

    class OnlyOne:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "id"}, "one"]} if of == "collections" else None

    class NotB:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "<>", "args": [{"property": "id"}, "b"]} if of == "items" else None

    client = plug(OnlyOne(), NotB())
    assert [item["id"] for item in client.get("/search").json["features"]] == ["a"]
    assert [collection["id"] for collection in client.get("/collections").json["collections"]] == ["one"]
    assert client.get("/collections/one/items/b").status_code == 404
    assert client.get("/collections/two/items/c").status_code == 404


def test_restrict_by_address_applies_to_one_request(plug: Plug, publish: Publish) -> None:
    """A restriction can depend on the address that the application trusts. No other request of the user gets it."""
    publish(an_item())

    class Inside:
        @hookimpl
        def restrict(self, request_info: RequestInfo) -> bool | None:
            return None if request_info.address.startswith("192.0.2.") else False

    client = plug(Inside(), Authenticates(), environ=TRUST)
    answers = [client.get("/search", headers=headers) for headers in (INSIDE, OUTSIDE, INSIDE)]
    assert [len(answer.json["features"]) for answer in answers] == [1, 0, 1]
    etag = answers[0].headers.get("ETag", '"none"')
    assert client.get("/collections/collection", headers={**OUTSIDE, "If-None-Match": etag}).status_code == 404
    assert client.get(DOWNLOAD, headers=OUTSIDE).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "paths"),
    [
        ("collections", ("/search", "/collections", "/collections/collection", DOWNLOAD)),
        ("items", ("/search", "/collections/collection/items", "/collections/collection/items/item", DOWNLOAD)),
    ],
)
def test_restrict_with_an_invalid_condition_hides_all(
    plug: Plug, publish: Publish, wrong: str, paths: tuple[str, ...]
) -> None:
    """An invalid condition of a plugin is a 500, not an error of the query. The response does not show it."""
    publish(an_item())

    class Mistaken:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "no such operator", "args": []} if of == wrong else None

    client = plug(Mistaken())
    for path in paths:
        answer = client.get(path)
        assert (answer.status_code, answer.json["code"]) == (500, "ServerError"), path
        assert "no such operator" not in answer.text


# --- Download --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decisions", "allowed", "reason"),
    [
        ([], False, "no plugin consented"),
        ([Decision.allow("a")], True, "a"),
        ([Decision.abstain("a")], False, "no plugin consented"),
        ([Decision.abstain("a"), Decision.allow("b")], True, "b"),
        ([Decision.allow("a"), Decision.deny("b")], False, "b"),
        ([Decision.deny("a"), Decision.allow("b"), Decision.allow("c")], False, "a"),
        ([Decision.deny("a"), Decision.deny("b")], False, "a"),
    ],
)
def test_authorize_denials_override_consents(decisions: list[Decision], allowed: bool, reason: str) -> None:
    """One denial overrides any number of consents. Without a consent, the asset is denied."""
    combined = combine_decisions(decisions)
    assert (combined.allowed, combined.reason) == (allowed, reason)


def test_authorize_many_replaces_authorize() -> None:
    """``authorize`` is not called for many assets if a plugin has ``authorize_many``. Each asset has its own result."""
    called = []

    class Slow:
        @hookimpl
        def authorize(self) -> None:
            called.append("slow")

        @hookimpl
        def authorize_many(self, assets: Any) -> list[Decision | None]:
            return [Decision.deny("even") if int(asset.key) % 2 == 0 else None for asset in assets]

    class Quick:
        @hookimpl
        def authorize(self, asset: Any) -> Decision | None:
            called.append(asset.key)
            return None if asset.key == "3" else Decision.allow("odd")

    assets = [Asset("c", "i", key, "s3://b/k") for key in "0123"]
    manager = loading.manage({"slow": Slow(), "quick": Quick()})
    results = Gate(manager).authorize_each(ME, assets)
    reasons = [(result.decision if isinstance(result, Grant) else result).reason for result in results]
    assert reasons == ["even", "odd", "even", "no plugin consented"]
    assert called == ["0", "1", "2", "3"]
    limited = replace(ME, scopes=frozenset({"read"}))
    assert not any(isinstance(result, Grant) for result in Gate(manager).authorize_each(limited, assets))
    assert Gate(manager).authorize_each(ME, []) == []


def test_authorize_many_as_a_wrapper_does_not_replace_authorize() -> None:
    """A plugin that only wraps ``authorize_many`` is called by ``authorize`` for each asset."""

    class Watches:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.deny("never")

        @hookimpl(wrapper=True)
        def authorize_many(self) -> Any:
            return (yield)

    class Quick:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("always")

    gate = Gate(loading.manage({"watches": Watches(), "quick": Quick()}))
    (result,) = gate.authorize_each(ME, [Asset("c", "i", "k", "s3://b/k")])
    assert (result.decision if isinstance(result, Grant) else result).reason == "never"


def test_authorize_many_of_bundled_plugins_agrees_with_authorize(storage: Any, database: Any) -> None:
    """``authorize_many`` of the quota and licence plugins returns the decisions of ``authorize``."""
    from plugins._common.free_assets import FreeAssets
    from plugins.licence import Licences
    from plugins.quota import Quota

    quota, licences = Quota(cache=0), Licences(FreeAssets(frozenset({"thumbnail"})), cache=0)
    for plugin in (quota, licences):
        plugin.startup(Services(storage))
    assets = [
        Asset(collection, "i", key, "s3://b/k", "image/png", size=size, roles=roles)
        for collection in ("free", "bound")
        for key, size, roles in (("a", 1, ("data",)), ("b", 0, ("thumbnail",)), ("c", None, ()))
    ]
    licences.table.add(id="l", version="1", title="L", text="text", url=None)
    licences.table.require("bound", "l")
    me = replace(ME, groups=frozenset({"members"}))
    for downloads in (None, 5, 1):
        quota.table.set("members", downloads, None if downloads is None else 10**9, 3600)
        if downloads == 1:
            quota.charge(me, assets[0], ByteRange(0, 1))
        for plugin in (quota, licences):
            one_by_one = [plugin.authorize(me, asset) for asset in assets]
            at_once = plugin.authorize_many(me, assets)
            assert [one and (one.allowed, one.reason) for one in at_once] == [
                one and (one.allowed, one.reason) for one in one_by_one
            ]


def test_transform_changes_the_bytes(plug: Plug, publish: Publish) -> None:
    """A plugin that demands the stream returns other bytes than the store."""
    publish(an_item())

    class Transforms(Store):
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("test", stream=True)

        @hookimpl
        def transform(self, principal: Principal, asset: Asset, stream: Stream) -> Stream:
            mark = f"{principal.id} {asset.key} ".encode()
            return stream.transformed(lambda chunks: iter([mark, *chunks]))

    stored = plug(Store(), Consents()).get(f"{DOWNLOAD}?delivery=stream").data
    assert plug(Transforms()).get(DOWNLOAD).data == b"anonymous data " + stored


def test_presign_makes_hrefs_that_need_no_credentials(plug: Plug, publish: Publish) -> None:
    """For signed hrefs, the store returns a temporary URL, and each is charged."""
    publish(an_item())
    charged = []

    class Signs(Store):
        @hookimpl
        def presign(self, assets: Any, locations: Any) -> list[Redirect]:
            return [
                Redirect(f"https://store.example.org/{asset.key}?{location.path}", timedelta(minutes=15))
                for asset, location in zip(assets, locations, strict=True)
            ]

        @hookimpl
        def charge(self, asset: Any) -> None:
            charged.append(asset.key)

    asset = plug(Signs(), Consents()).get("/search?hrefs=signed").json["features"][0]["assets"]["data"]
    assert asset["href"].startswith("https://store.example.org/data?s3://")
    assert datetime.fromisoformat(asset["href:expires"]) > datetime.now(UTC)
    assert charged == ["data"]


def test_storage_href_is_stored_for_a_temporary_address(plug: Plug, publish: Publish) -> None:
    """A URL with a query that a plugin recognizes is stored as its storage URL."""

    class Store:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

        @hookimpl
        def storage_href(self, href: str) -> str | None:
            return "s3://bucket/key" if href == "https://store.example/key?signature=1" else None

    publish(an_item())
    client = plug(Store())
    for href, shown in [
        ("https://store.example/key?signature=1", f"http://localhost{DOWNLOAD}"),
        ("https://other.example/key?signature=1", "https://other.example/key?signature=1"),
    ]:
        document = an_item(assets={"data": {"href": href}})
        assert client.put("/collections/collection/items/item", json=document).status_code == 204
        assert client.get("/collections/collection/items/item").json["assets"]["data"]["href"] == shown


def test_each_asset_is_presigned_by_its_own_store() -> None:
    """Plugins presign the assets of their stores. An asset that none presigns has no URL."""

    class Presigns:
        def __init__(self, name: str) -> None:
            self.__name__ = name

        @hookimpl
        def resolve(self, asset: Any) -> Location | None:
            return Location(asset.key, "") if asset.key == self.__name__ else None

        @hookimpl
        def presign(self, locations: Any) -> list[Redirect | None]:
            url = f"https://{self.__name__}.example.org/"
            return [Redirect(url, timedelta(1)) if location.store == self.__name__ else None for location in locations]

    assets = [Asset("c", "i", key, "x") for key in ("second", "none", "first", "second")]
    gate = Gate(loading.manage({"first": Presigns("first"), "second": Presigns("second"), "consents": Consents()}))
    grants = [one for one in gate.authorize_each(ME, assets) if isinstance(one, Grant)]
    urls = [redirect and redirect.url for redirect in gate.presign(grants)]
    assert urls == ["https://second.example.org/", None, "https://first.example.org/", "https://second.example.org/"]


def test_presign_and_resolve_can_be_wrapped() -> None:
    """A wrapper of ``resolve`` is called for each of many assets, one of ``presign`` for all of them."""

    class Signs:
        @hookimpl
        def resolve(self, asset: Any) -> Location:
            return Location("store", asset.key)

        @hookimpl
        def presign(self, locations: Any) -> list[Redirect]:
            urls = [f"https://store.example.org/{location.path}" for location in locations]
            return [Redirect(url, timedelta(minutes=15)) for url in urls]

    class Wraps:
        @hookimpl(wrapper=True)
        def resolve(self, asset: Any) -> Any:
            found = yield
            return None if asset.key == "hidden" else found

        @hookimpl(wrapper=True)
        def presign(self, locations: Any) -> Any:
            ((redirect,),) = yield
            return [[replace(redirect, url=f"{redirect.url}?{locations[0].store}")]]

    assets = [Asset("c", "i", key, "s3://b/k") for key in ("shown", "hidden")]
    gate = Gate(loading.manage({"signs": Signs(), "wraps": Wraps(), "consents": Consents()}))
    grants = [one for one in gate.authorize_each(ME, assets) if isinstance(one, Grant)]
    signed = gate.presign(grants)
    assert [redirect and redirect.url for redirect in signed] == ["https://store.example.org/shown?store", None]


def test_sign_queries_makes_download_urls_that_need_no_headers(plug: Plug, publish: Publish) -> None:
    """A counted asset is not presigned: it keeps its download URL, with a signed query of a plugin."""
    publish(an_item())

    class Counts(Store):
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.abstain("counted", counted=True)

        @hookimpl
        def presign(self) -> list[Redirect]:
            raise AssertionError

        @hookimpl
        def charge(self) -> None:
            raise AssertionError

    class Signs:
        @hookimpl
        def sign_queries(self, assets: Any) -> SignedQueries:
            return SignedQueries([f"ticket={asset.key}" for asset in assets], timedelta(minutes=15))

    counts = Counts()
    asset = plug(counts, Consents(), Signs()).get("/search?hrefs=signed").json["features"][0]["assets"]["data"]
    assert asset["href"] == f"http://localhost{DOWNLOAD}?ticket=data"
    assert datetime.fromisoformat(asset["href:expires"]) > datetime.now(UTC)
    plain = plug(counts, Consents()).get("/search?hrefs=signed").json["features"][0]["assets"]["data"]
    assert (plain["href"], plain.get("href:expires")) == (f"http://localhost{DOWNLOAD}", None)


def test_authorize_consent_has_all_headers() -> None:
    """A combined consent has the header fields of all decisions, and is counted if one of them is."""
    combined = combine_decisions(
        [Decision.allow("a", headers={"A": "1"}), Decision.abstain("b", headers={"B": "2"}, counted=True)]
    )
    assert (combined.headers, combined.counted) == ({"A": "1", "B": "2"}, True)


def test_authorize_denial_ends_the_download(plug: Plug, publish: Publish) -> None:
    """After a denial, no store is called. The response has the detail but not the reason."""
    publish(an_item())
    store = Store()

    class Denies:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.deny("the reason", detail="The detail.", code="Mine", link="/terms", extra={"more": 1})

    answer = plug(Authenticates(), Consents(), Denies(), store).get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"], answer.json["description"]) == (
        403,
        "Mine",
        "The detail. See http://localhost/terms.",
    )
    assert answer.json["more"] == 1
    assert answer.json["links"][0]["href"] == "http://localhost/terms"
    assert "the reason" not in answer.text
    assert store.called == []


@pytest.mark.parametrize("many", [False, True])
def test_authorize_by_address_decides_in_every_form_of_download(many: bool, plug: Plug, publish: Publish) -> None:
    """A rule by address decides on downloads, archives, manifests and signed pages, each for its own request."""
    publish(an_item())

    class Inside:
        @hookimpl
        def authorize(self, request_info: RequestInfo) -> Decision:
            return Decision.allow("inside") if request_info.address == "192.0.2.1" else Decision.deny("outside")

    class InsideMany(Inside):
        @hookimpl
        def authorize_many(self, assets: Any, request_info: RequestInfo) -> list[Decision]:
            return [self.authorize(request_info) for _ in assets]

    class Signs(Store):
        @hookimpl
        def presign(self, assets: Any) -> list[Redirect]:
            return [Redirect("https://store.example.org/signed", timedelta(minutes=15))] * len(assets)

    client = plug(InsideMany() if many else Inside(), Authenticates(), Signs(), environ=TRUST)

    def outcome(headers: dict[str, str]) -> tuple[int, int, int, bool]:
        archive = client.get("/collections/collection/items/item/download.zip", headers=headers)
        selection = {"items": [{"collection": "collection", "id": "item"}]}
        manifest = client.post("/downloads", json=selection, headers=headers).json
        signed = client.get("/search?hrefs=signed", headers=headers).json["features"][0]["assets"]["data"]
        single = client.get(DOWNLOAD, headers=headers)
        return single.status_code, archive.status_code, len(manifest["downloads"]), "href:expires" in signed

    assert [outcome(headers) for headers in (INSIDE, OUTSIDE, INSIDE)] == [
        (307, 200, 1, True),
        (403, 403, 0, False),
        (307, 200, 1, True),
    ]


SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}


class Fence:
    """Shows items that intersect the square, and allows downloads of those that are within it."""

    @hookimpl
    def restrict(self, of: str) -> Any:
        return {"op": "s_intersects", "args": [{"property": "geometry"}, SQUARE]} if of == "items" else None

    @hookimpl
    def authorize(self, asset: Asset) -> Decision:
        inside = asset.geometry is not None and shape(SQUARE).contains(shape(asset.geometry))
        return Decision.allow("inside") if inside else Decision.deny("outside")


def test_restrict_and_authorize_by_geometry(plug: Plug, publish: Publish) -> None:
    """A geofence shows items by a condition, and refuses single and listed downloads by the geometry of the asset."""
    for name, end in (("within", 1.5), ("across", 3.0)):
        line = {"type": "LineString", "coordinates": [[1.0, 1.0], [end, 1.0]]}
        publish(an_item(name, geometry=line, bbox=[1.0, 1.0, end, 1.0]))
    far = {"type": "Point", "coordinates": [50.0, 50.0]}
    publish(an_item("far", geometry=far, bbox=[50.0, 50.0, 50.0, 50.0]))
    client = plug(Fence(), Authenticates(), Store())
    names = ("within", "across", "far")
    assert {item["id"] for item in client.get("/search").json["features"]} == {"within", "across"}
    statuses = [client.get(f"/collections/collection/items/{name}/download/data").status_code for name in names]
    assert statuses == [307, 403, 404]
    selection = [{"collection": "collection", "id": name} for name in names]
    manifest = client.post("/downloads", json={"items": selection}).json
    assert [entry["item"] for entry in manifest["downloads"]] == ["within"]


def test_authorize_receives_where_and_when_an_item_is(plug: Plug, publish: Publish) -> None:
    """An asset has its item's geometry, bbox and interval, whatever its own times are. A collection has none."""
    times = {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-02T12:00:00+02:00"}
    assets = {"data": {"href": "s3://bucket/data", "datetime": "1999-01-01T00:00:00Z"}}
    publish(
        a_collection(assets=assets), an_item(properties=times, assets={**assets, "folder": {"href": "s3://bucket/f/"}})
    )
    seen: list[Asset] = []

    class Notes:
        @hookimpl
        def authorize(self, asset: Asset) -> None:
            seen.append(asset)

    client = plug(Notes())
    for path in (DOWNLOAD, f"{DOWNLOAD.removesuffix('data')}folder/file", "/collections/collection/download/data"):
        client.get(path)
    item = an_item()
    interval = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, 10, tzinfo=UTC))
    assert [(asset.geometry, asset.bbox, asset.interval) for asset in seen] == [
        *[(item["geometry"], tuple(item["bbox"]), interval)] * 2,
        (None, None, None),
    ]
    with pytest.raises(TypeError, match="read-only"):
        seen[0].geometry["coordinates"].clear()


@pytest.mark.parametrize("rel", ["help", "payment", "https://example.org/rel/request-access"])
def test_authorize_denial_says_the_relation_of_its_link(rel: str, plug: Plug, publish: Publish) -> None:
    """The relation of a denial's link is in the body, in Link and in manifests; by default it is ``help``."""
    publish(an_item())

    class Denies:
        @hookimpl
        def authorize(self) -> Decision:
            more: dict[str, Any] = {} if rel == "help" else {"rel": rel}
            return Decision.deny("no", link="/terms", **more)

    client = plug(Authenticates(), Denies())
    answer = client.get(DOWNLOAD)
    assert answer.json["links"][0]["rel"] == rel
    assert answer.headers["Link"] == f'<http://localhost/terms>; rel="{rel}"'
    manifest = client.post("/downloads", json={"items": [{"collection": "collection", "id": "item"}]}).json
    assert manifest["refused"][0]["links"][0]["rel"] == rel


def test_authorize_without_a_decision_denies(plug: Plug, publish: Publish) -> None:
    """If no plugin decides, the asset is denied: 401 for an anonymous request, else 403."""
    publish(an_item())
    assert plug(Store()).get(DOWNLOAD).status_code == 401
    assert plug(Authenticates(), Store()).get(DOWNLOAD).status_code == 403


def test_resolve_without_a_result_is_404(plug: Plug, publish: Publish) -> None:
    """An href that no plugin resolves is a 404, whose response does not contain the href."""
    publish(an_item())
    answer = plug(Consents()).get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"]) == (404, "NoStore")
    assert "s3://" not in answer.text


def test_deliver_redirects_or_streams(plug: Plug, publish: Publish) -> None:
    """GET is a redirect, unless the client requests a stream. The response has the header fields of the consent."""
    publish(an_item())
    client = plug(Consents(), Store())
    redirect = client.get(DOWNLOAD)
    assert (redirect.status_code, redirect.location) == (307, "https://store.example.org/signed")
    assert redirect.headers["X-Consent"] == "yes"
    assert redirect.headers["Cache-Control"] == "private, max-age=840"
    stream = client.get(f"{DOWNLOAD}?delivery=stream")
    assert (stream.status_code, stream.data) == (200, b"0123456789")


def test_deliver_redirects_only_to_web_urls(plug: Plug, publish: Publish) -> None:
    """An invalid URL, or one that would add header fields, is an error and is never sent."""
    publish(an_item())

    class Strange(Store):
        @hookimpl
        def deliver(self, streamed: bool) -> Redirect:
            from datetime import timedelta

            return Redirect("javascript:alert(1)\r\nSet-Cookie: a=b", timedelta(minutes=1))

    answer = plug(Consents(), Strange()).get(DOWNLOAD)
    assert answer.status_code == 500
    assert "Location" not in answer.headers


class Tape(Store):
    """Has all data on tape, not ordered yet."""

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        raise Offline(order=Order("orderable"))


class Archivist:
    """Orders data, and records the states of orders."""

    def __init__(self) -> None:
        self.ordered: list[str] = []
        self.states: list[str] = []

    @hookimpl
    def order(self, asset: Any) -> Order:
        self.ordered.append(asset.key)
        return Order("ordered", 60)

    @hookimpl
    def order_changed(self, principal: Principal, asset: Any, order: Order) -> None:
        self.states.append(f"{principal.id} {asset.key} {order.status}")


def test_order_is_called_only_for_get(plug: Plug, publish: Publish) -> None:
    """GET orders data on tape, and the response has the URL of the order. HEAD and reading the state order nothing."""
    publish(an_item())
    archivist = Archivist()
    client = plug(Authenticates(), Consents(), Tape(), archivist)
    status = DOWNLOAD.replace("/download/", "/orders/")
    assert client.head(DOWNLOAD).status_code == 202
    assert client.get(status).json["order:status"] == "orderable"
    assert archivist.ordered == []
    answer = client.get(DOWNLOAD)
    assert (answer.status_code, answer.json["order:status"], answer.headers["Retry-After"]) == (202, "ordered", "60")
    assert answer.headers["Location"] == f"http://localhost{status}"
    assert archivist.ordered == ["data"]


def test_order_without_a_plugin_is_503(plug: Plug, publish: Publish) -> None:
    """If no plugin can order the data, the client should retry only after a day."""
    publish(an_item())
    answer = plug(Consents(), Tape()).get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "Offline", "86400")


def test_order_changed_receives_each_state(plug: Plug, publish: Publish) -> None:
    """The hook is called after each 202, and each request for the state of an order."""
    publish(an_item())
    archivist = Archivist()
    client = plug(Authenticates(), Consents(), Tape(), archivist)
    client.head(DOWNLOAD)
    client.get(DOWNLOAD)
    plug(Authenticates(), Consents(), Store(), archivist).get(DOWNLOAD.replace("/download/", "/orders/"))
    assert archivist.states == ["me data orderable", "me data ordered", "me data succeeded"]


def test_charge_is_called_last_and_can_deny(plug: Plug, publish: Publish) -> None:
    """A download is charged last, with its bytes. HEAD charges nothing, and a denial sends nothing."""
    publish(an_item())
    charged = []

    class Counts:
        @hookimpl
        def charge(self, byte_range: Any) -> Decision | None:
            charged.append((byte_range.first, byte_range.length))
            return Decision.deny("used up", kind="exhausted", retry_after=7) if len(charged) > 2 else None

    store = Store()
    client = plug(Authenticates(), Consents(), Counts(), store)
    client.head(DOWNLOAD)
    assert charged == []
    client.get(DOWNLOAD)
    client.get(f"{DOWNLOAD}?delivery=stream", headers={"Range": "bytes=2-5"})
    assert charged == [(0, None), (2, 4)]
    refused = client.get(DOWNLOAD)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert "Location" not in refused.headers


def test_charge_many_charges_an_archive_or_nothing_of_it(plug: Plug, publish: Publish) -> None:
    """``charge_many`` replaces ``charge`` for an archive. A denial is a denial of each of its assets."""
    publish(an_item(assets={key: {"href": f"s3://bucket/{key}"} for key in "abc"}))
    calls: list[Any] = []

    class AtOnce:
        limit = 3

        @hookimpl
        def charge(self) -> None:
            calls.append("never")

        @hookimpl
        def charge_many(self, assets: Any, byte_ranges: Any) -> Decision | None:
            calls.append(
                [(asset.key, byte_range.length) for asset, byte_range in zip(assets, byte_ranges, strict=True)]
            )
            return None if len(assets) <= self.limit else Decision.deny("too much", kind="exhausted")

    class OneByOne:
        @hookimpl
        def charge(self, asset: Any) -> None:
            calls.append(asset.key)

    at_once, observer = AtOnce(), Observer()
    client = plug(Authenticates(), Consents(), at_once, OneByOne(), observer, Store())
    archive = DOWNLOAD.replace("/download/data", "/download.zip")
    assert client.get(archive).status_code == 200
    assert calls == [[("a", 10), ("b", 10), ("c", 10)], "a", "b", "c"]
    calls.clear()
    observer.decisions.clear()
    at_once.limit = 2
    assert client.get(archive).status_code == 429
    assert calls == [[("a", 10), ("b", 10), ("c", 10)]]
    assert sorted((one.asset.key, one.decision.reason) for one in observer.decisions) == [
        (key, "too much") for key in "abc"
    ]


def test_charge_many_as_a_wrapper_does_not_replace_charge() -> None:
    """A plugin that only wraps ``charge_many`` is called by ``charge`` for each asset."""
    charged: list[str] = []

    class Watches:
        @hookimpl
        def charge(self, asset: Any) -> None:
            charged.append(asset.key)

        @hookimpl(wrapper=True)
        def charge_many(self) -> Any:
            return (yield)

    gate = Gate(loading.manage({"watches": Watches(), "consents": Consents()}))
    grants = [gate.authorize(ME, Asset("c", "i", key, "s3://b/k")) for key in "ab"]
    assert len(list(gate.charge_many(grants, [ByteRange(0, 1)] * 2, "stream"))) == 2
    assert charged == ["a", "b"]


def test_charge_is_not_called_without_bytes(plug: Plug, publish: Publish) -> None:
    """304, 412 and 416 cost nothing."""
    publish(an_item())

    class Counts:
        @hookimpl
        def charge(self) -> Decision:
            return Decision.deny("must not be called")

    client = plug(Consents(), Counts(), Store())
    for headers, status in (
        ({"If-None-Match": '"tag"'}, 304),
        ({"If-Match": '"other"'}, 412),
        ({"Range": "bytes=10-"}, 416),
    ):
        assert client.get(f"{DOWNLOAD}?delivery=stream", headers=headers).status_code == status


@pytest.mark.parametrize(
    "hook", ["authenticate", "restrict", "authorize", "resolve", "deliver", "charge", "download_decided"]
)
def test_a_plugin_that_fails_stops_the_download(plug: Plug, publish: Publish, hook: str) -> None:
    """If any hook of a download fails, neither a URL nor bytes are sent."""
    publish(an_item())

    def breaks(self: object) -> None:
        raise RuntimeError("broken")

    broken = type("Broken", (), {hook: hookimpl(breaks)})()
    answer = plug(broken, Consents(), Store()).get(DOWNLOAD)
    assert answer.status_code == 500
    assert "Location" not in answer.headers


def test_unavailable_has_a_retry_time(plug: Plug, publish: Publish) -> None:
    """A plugin that cannot decide at present leads to a 503 with Retry-After."""
    publish(an_item())

    class Away:
        @hookimpl
        def authorize(self) -> None:
            raise Unavailable("The licence server is away.", retry_after=30)

    answer = plug(Away(), Consents(), Store()).get(DOWNLOAD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_order_states_are_added_to_an_item(plug: Plug, publish: Publish) -> None:
    """The states of orders are added to the assets of an item. An item without orders is unchanged."""
    publish(an_item(), an_item("plain"))

    class States:
        def __init__(self, status: str) -> None:
            self.status = status

        @hookimpl
        def order_states(self, collection: str, item: str) -> dict[str, str] | None:
            return {"data": self.status, "gone": "shipping"} if item == "item" else None

    client = plug(States("shipping"), type("Second", (States,), {})("succeeded"))
    response = client.get("/collections/collection/items/item")
    assert response.json["assets"]["data"]["order:status"] == "shipping"
    signed = client.get("/collections/collection/items/item?hrefs=signed")
    assert signed.json["assets"]["data"]["order:status"] == "shipping"
    assert "gone" not in response.json["assets"]
    etag = response.headers["ETag"]
    assert client.get("/collections/collection/items/item", headers={"If-None-Match": etag}).status_code == 304
    assert "order:status" not in client.get("/collections/collection/items/plain").text


class Observer:
    """Records the arguments of its hooks."""

    def __init__(self) -> None:
        self.decisions: list[DownloadDecision] = []
        self.streams: list[StreamResult] = []
        self.responses: list[tuple[str, str, int]] = []
        self.metrics: dict[str, float] = {}

    @hookimpl
    def download_decided(self, download_decision: DownloadDecision) -> None:
        self.decisions.append(download_decision)

    @hookimpl
    def stream_finished(self, stream_result: StreamResult) -> None:
        self.streams.append(stream_result)

    @hookimpl
    def response_ready(self, route: str, method: str, status: int, seconds: float) -> None:
        assert seconds > 0
        self.responses.append((route, method, status))

    @hookimpl
    def metric_recorded(self, name: str, value: float) -> None:
        self.metrics[name] = value


class Denies:
    """Denies every download."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.deny(self.reason)


def test_download_decided_has_the_consent_and_the_delivery(plug: Plug, publish: Publish) -> None:
    """A download is recorded once before it is sent: principal, asset, plugin, reason, and delivery."""
    publish(an_item())
    observer = Observer()
    client = plug(Authenticates(), Consents(), Store(), observer)
    client.head(DOWNLOAD)
    client.get(DOWNLOAD, headers={"X-Request-ID": "r1", "User-Agent": "test/1"})
    client.get(f"{DOWNLOAD}?delivery=stream", headers={"Range": "bytes=2-5"})
    redirect, stream = observer.decisions
    assert (redirect.principal, redirect.asset.key, redirect.decision.allowed) == (ME, "data", True)
    assert (redirect.decision.by, redirect.decision.reason, redirect.others) == ("Consents", "test", ())
    assert redirect.request_info == RequestInfo("r1", "GET", "127.0.0.1", "test/1")
    assert (redirect.delivery, redirect.byte_range) == ("redirect", ByteRange(0, None))
    assert (stream.delivery, stream.byte_range) == ("stream", ByteRange(2, 4, 10))
    assert redirect.id != stream.id


def test_download_decided_has_all_denials(plug: Plug, publish: Publish) -> None:
    """A denial is recorded with its plugin, and with the denials of other plugins. This holds for HEAD as well."""
    publish(an_item())
    observer = Observer()
    two = type("Second", (Denies,), {})
    client = plug(Denies("first"), two("second"), Store(), observer)
    assert client.get(DOWNLOAD).status_code == client.head(DOWNLOAD).status_code == 401
    for download_decision in observer.decisions:
        assert (download_decision.decision.by, download_decision.decision.reason, download_decision.delivery) == (
            "Denies",
            "first",
            None,
        )
        assert [(other.by, other.reason) for other in download_decision.others] == [("Second", "second")]
    assert [download_decision.request_info.method for download_decision in observer.decisions] == ["GET", "HEAD"]


def test_download_decided_has_missing_consents_and_denials_of_charge(plug: Plug, publish: Publish) -> None:
    """Without a consent, the decision is stacflask's own. If the quota is used up, it is that of the quota plugin."""
    publish(an_item())

    class Counts:
        @hookimpl
        def charge(self) -> Decision:
            return Decision.deny("used up", kind="exhausted")

    silent, counting = Observer(), Observer()
    assert plug(Store(), silent).get(DOWNLOAD).status_code == 401
    assert plug(Authenticates(), Consents(), Counts(), Store(), counting).get(DOWNLOAD).status_code == 429
    assert [
        (download_decision.decision.by, download_decision.decision.reason) for download_decision in silent.decisions
    ] == [("", "no plugin consented")]
    assert [
        (download_decision.decision.by, download_decision.decision.reason) for download_decision in counting.decisions
    ] == [("Counts", "used up")]


def test_download_decided_has_the_client_behind_a_trusted_proxy(plug: Plug, publish: Publish) -> None:
    """The client address is that of a trusted proxy's header, or of the connection if no proxy is trusted."""
    publish(an_item())
    trusting, wary = Observer(), Observer()
    headers = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    trust = {"STACFLASK_TRUSTED_PROXIES": "127.0.0.0/8"}
    client = plug(Consents(), Store(), trusting, environ=trust)
    client.get(DOWNLOAD, headers=headers)
    client.get(DOWNLOAD, headers={"Forwarded": 'for="[2001:db8::1]:4711";proto=https'})
    client.get(DOWNLOAD, headers={"X-Forwarded-For": "unknown"})
    plug(Consents(), Store(), wary).get(DOWNLOAD, headers=headers)
    assert [download_decision.request_info.address for download_decision in trusting.decisions] == [
        "198.51.100.7",
        "2001:db8::1",
        "127.0.0.1",
    ]
    assert [download_decision.request_info.address for download_decision in wary.decisions] == ["127.0.0.1"]


def test_stream_finished_has_the_number_of_bytes(plug: Plug, publish: Publish) -> None:
    """The end of a stream is reported once, with its bytes and completeness. Redirects are not reported."""
    publish(an_item())
    observer = Observer()
    client = plug(Consents(), Store(), observer)
    client.get(DOWNLOAD)
    client.get(f"{DOWNLOAD}?delivery=stream", headers={"Range": "bytes=2-5"}, buffered=True)
    client.get(f"{DOWNLOAD}?delivery=stream").close()
    assert [(stream_result.sent, stream_result.complete) for stream_result in observer.streams] == [
        (4, True),
        (0, False),
    ]
    assert [stream_result.download_decision for stream_result in observer.streams] == observer.decisions[1:]


def test_stream_finished_is_called_if_a_store_fails_to_open(plug: Plug, publish: Publish) -> None:
    """A download that was decided and could not be opened has ended, with no byte sent."""
    publish(an_item())

    class Closed(Store):
        @hookimpl
        def deliver(self, streamed: bool) -> Stream:
            def opened(first: int, length: int) -> Iterator[bytes]:
                raise Unavailable("closed")

            return Stream(opened, 10)

    observer = Observer()
    assert plug(Consents(), Closed(), observer).get(DOWNLOAD).status_code == 503
    assert [(stream_result.sent, stream_result.complete) for stream_result in observer.streams] == [(0, False)]


def test_response_ready_has_the_rule_and_not_the_path(plug: Plug) -> None:
    """Responses are reported by rule, so that ids do not multiply metrics. An unknown path has no rule."""
    observer = Observer()
    client = plug(observer)
    client.get("/collections/secret")
    client.post("/nowhere")
    assert observer.responses == [("/collections/<collection_id>", "GET", 404), ("", "POST", 404)]


def test_metric_recorded_has_metrics_of_stacflask_and_plugins(plug: Plug) -> None:
    """The time of the database is recorded, and the metrics of plugins."""

    class Counts:
        @hookimpl
        def startup(self, services: Any) -> None:
            services.record_metric("things", 3)

    observer = Observer()
    plug(Counts(), observer).get("/collections")
    assert observer.metrics["things"] == 3
    assert observer.metrics["database_seconds"] > 0


# --- Changes ---------------------------------------------------------------------------------------------------------


def test_authorize_change_enables_transactions(plug: Plug, publish: Publish) -> None:
    """Without a plugin for changes, the endpoints do not exist. If plugins do not decide, changes are denied."""
    publish(a_collection())

    class Silent:
        @hookimpl
        def authorize_change(self) -> None:
            return None

    closed = plug()
    assert closed.post("/collections", json=a_collection("new")).status_code == 405
    assert not any("transaction" in uri for uri in closed.get("/conformance").json["conformsTo"])
    silent = plug(Silent(), Authenticates())
    assert silent.post("/collections", json=a_collection("new")).status_code == 403
    assert any("transaction" in uri for uri in silent.get("/conformance").json["conformsTo"])


def test_authorize_change_receives_the_change(plug: Plug, publish: Publish) -> None:
    """The hook receives action, collection and item of the request."""
    publish(an_item())
    changes = []

    class Notes:
        @hookimpl
        def authorize_change(self, change: Any, request_info: RequestInfo) -> Decision:
            assert request_info.address == "127.0.0.1"
            changes.append((change.action, change.collection, change.item))
            return Decision.allow("noted")

    client = plug(Notes())
    client.post("/collections/collection/items", json=an_item("new"))
    client.put("/collections/collection/items/item", json=an_item())
    client.patch("/collections/collection/items/item", json={})
    client.delete("/collections/collection")
    assert changes == [
        ("create", "collection", None),
        ("replace", "collection", "item"),
        ("update", "collection", "item"),
        ("delete", "collection", None),
    ]


def test_changes_committed_is_called_after_a_change(plug: Plug, publish: Publish) -> None:
    """The hook gets the committed changes; see ``test_background.py``."""
    publish(a_collection())
    received: list[Any] = []

    class Observes:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

        @hookimpl
        def changes_committed(self, changes: Any) -> None:
            received.extend(changes)

    plug(Observes()).post("/collections/collection/items", json=an_item())
    waiting_for(lambda: received == [Change("create", "collection", "item")])


def test_shutdown_is_called_at_the_end() -> None:
    """The hook is called when a process ends; see ``test_background.py``."""
    called = []

    class Ends:
        @hookimpl
        def shutdown(self) -> None:
            called.append(True)

    loading.shutdown(loading.manage({"ends": Ends()}), seconds=120)
    assert called == [True]


# --- Wrong plugins stop the start ------------------------------------------------------------------------------------


def test_misspelt_hook_stops_the_start() -> None:
    """A hook that does not exist is reported with the name of the plugin."""
    misspelt = type("Plugin", (), {"authorise": hookimpl(lambda self: None)})()
    with pytest.raises(SettingError, match=r"STACFLASK_PLUGINS: mine: .*authorise"):
        loading.manage({"mine": misspelt})


def test_unknown_argument_stops_the_start() -> None:
    """An argument that the hook does not have is reported."""
    wrong = type("Plugin", (), {"authorize": hookimpl(lambda self, user: None)})()
    with pytest.raises(SettingError, match=r"mine: .*user"):
        loading.manage({"mine": wrong})


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["plugins.no_such"], "there is no module 'plugins.no_such'"),
        (["nosuch"], "there is no plugin 'nosuch'"),
        (["quotas"], "Is quota meant?"),
        (["open_access", "open_access"], "named twice"),
    ],
)
def test_wrong_names_stop_the_start(names: list[str], problem: str) -> None:
    """A plugin that does not exist, or is named twice, is reported by its name."""
    with pytest.raises(SettingError, match=problem):
        loading.load_plugins(names, {})


def test_plugins_are_called_in_the_order_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leftmost plugin is called first, and ``implementations`` has the same order."""
    manager = loading.manage({"left": Consents(), "right": Consents()})
    assert dict(loading.implementations(manager))["authorize"] == ["left", "right"]
    assert dict(loading.implementations(manager))["charge"] == []


def test_specs_and_module_agree() -> None:
    """The hooks in the source are those that are registered with pluggy."""
    assert SPECS.keys() == {name for name in vars(loading.manage({}).hook) if hasattr(hookspecs, name)}
