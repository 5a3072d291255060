"""Hooks: each is documented with its exact arguments, called from one place, and does what its spec says."""

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

from stacflask import (
    ANONYMOUS,
    Asset,
    BadCredentials,
    ByteRange,
    Challenge,
    Cookie,
    Decision,
    DownloadDecision,
    Endpoint,
    EndpointResponse,
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

ROOT = Path(__file__).parents[2]
DOWNLOAD = "/collections/collection/items/item/download/data"
ME = Principal("me", scheme="test")


def specs() -> dict[str, list[str]]:
    """Give each hook with its arguments, as specified."""
    tree = ast.parse((ROOT / "stacflask" / "hookspecs.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {function.name: [argument.arg for argument in function.args.args] for function in functions}


SPECS = specs()


@pytest.mark.parametrize("hook", SPECS)
def test_each_hook_is_documented_with_its_arguments(hook: str) -> None:
    """docs/hooks.md has a heading that is the hook's exact signature."""
    assert f"### `{hook}({', '.join(SPECS[hook])})`" in (ROOT / "docs" / "hooks.md").read_text()


def test_docs_name_no_other_hooks() -> None:
    """A hook that was renamed or withdrawn does not live on in the docs."""
    named = re.findall(r"^### `(\w+)\(", (ROOT / "docs" / "hooks.md").read_text(), re.MULTILINE)
    assert set(named) == SPECS.keys()


@pytest.mark.parametrize("hook", SPECS)
def test_each_hook_has_a_test_here(hook: str) -> None:
    """This module tests each hook, in a test named after it."""
    assert any(name.startswith(f"test_{hook}_") for name in globals())


def calls(hook: str) -> Iterator[str]:
    for path in sorted((ROOT / "stacflask").rglob("*.py")):
        yield from re.findall(rf"\bhook\.{hook}\b(?!\.get_hookimpls)", path.read_text())


# The server and the command line are two programs: each begins its plugins itself.
@pytest.mark.parametrize("hook", sorted(SPECS.keys() - {"startup"}))
def test_each_hook_is_called_from_one_place(hook: str) -> None:
    """A hook that fires in one place fires in no other."""
    assert len(list(calls(hook))) == 1


class Somebody:
    """Authenticates everybody as ``me``."""

    @hookimpl
    def authenticate(self) -> Principal:
        return ME


class Consents:
    """Consents to every download."""

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.allow("test", headers={"X-Consent": "yes"})


class Store:
    """Finds and delivers whatever it is asked for; keeps count."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        self.asked.append("resolve")
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        from datetime import timedelta

        self.asked.append("deliver")
        if streamed:
            return Stream(lambda first, length: iter([b"0123456789"[first : first + length]]), 10, '"tag"')
        return Redirect("https://store.example.org/signed", timedelta(minutes=15))


# --- At the start ----------------------------------------------------------------------------------------------------


def test_startup_gives_storage(plug: Plug) -> None:
    """A plugin reaches its own tables through the services it is given at the start."""

    class Stateful:
        @hookimpl
        def startup(self, services: Any) -> None:
            self.rows = services.storage.rows("SELECT :one AS one", one=1)

    plugin = Stateful()
    plug(plugin)
    assert plugin.rows == [{"one": 1}]


def test_extend_api_adds_a_documented_address(plug: Plug) -> None:
    """An endpoint of a plugin is served with its principal, values and body, and stands in the OpenAPI document."""

    class Echo:
        @hookimpl
        def extend_api(self) -> list[Endpoint]:
            def handler(call: Any) -> EndpointResponse:
                return EndpointResponse({"who": call.principal.id, "name": call.values["name"], "body": call.body}, 201)

            return [Endpoint("POST", "/echo/{name}", handler, "Echo.", {"type": "object"}, {"type": "object"}, 201)]

    client = plug(Echo(), Somebody())
    answer = client.post("/echo/x", json={"a": 1})
    assert (answer.status_code, answer.json) == (201, {"who": "me", "name": "x", "body": {"a": 1}})
    assert "/echo/{name}" in client.get("/api").json["paths"]
    assert client.post("/echo/x", data="{").status_code == 400


def test_extend_api_holds_credentials_to_their_scopes(plug: Plug) -> None:
    """A limited credential opens only endpoints whose scope it has; unless said, GET needs read and all else write."""

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
    asked = [("GET", "/one"), ("POST", "/two"), ("POST", "/three")]
    for scope, statuses in {
        "read": [200, 403, 403],
        "write": [403, 200, 403],
        "download": [403, 403, 200],
        "read write download": [200, 200, 200],
    }.items():
        answers = [client.open(path, method=method, headers={"Scopes": scope}) for method, path in asked]
        assert [answer.status_code for answer in answers] == statuses
        assert {answer.json.get("code") for answer in answers} <= {None, "InsufficientScope"}
    assert "403" in client.get("/api", headers={"Scopes": "read"}).json["paths"]["/one"]["get"]["responses"]


def test_extend_api_answers_as_a_page_with_cookies(plug: Plug) -> None:
    """An endpoint may redirect, set cookies, answer HTML, read query and cookies, and ask nobody who it is."""

    class Pages:
        @hookimpl
        def authenticate(self) -> None:
            raise BadCredentials("whoever it is")

        @hookimpl
        def extend_api(self) -> list[Endpoint]:
            def enter(call: Any) -> EndpointResponse:
                where = f"{call.base_url}{call.request.query['next']}"
                return EndpointResponse.redirect(where, [Cookie("a", "1", 60), Cookie("b", "", 0, "/b", secure=False)])

            def page(call: Any) -> EndpointResponse:
                return EndpointResponse(f"<p>{call.request.cookies['a']}", media_type="text/html")

            html: Any = {"media_type": "text/html", "for_anybody": True}
            return [
                Endpoint("GET", "/in", enter, "In.", {}, status=303, query={"next": "Whither."}, for_anybody=True),
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
    """`stacflask check` prints the notes of each plugin, the leftmost plugin first."""
    folder = Path(__file__).parents[1]
    environ = {
        "DATABASE_URL": database_url,
        "STACFLASK_PLUGINS": "plugins.collection_groups,plugins.local_files",
        "STACFLASK_LOCAL_FILES_ROOTS": json.dumps({str(folder): "*"}),
    }
    assert run(["check"], environ) == 0
    first, second = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert "STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES" in first
    assert f"STACFLASK_LOCAL_FILES_ROOTS: {folder}" in second


def test_extend_cli_adds_a_command() -> None:
    """A plugin's commands are collected from all plugins."""

    class Commands:
        @hookimpl
        def extend_cli(self) -> list[click.Command]:
            return [click.Command("mine")]

    (commands,) = loading.manage({"commands": Commands()}).hook.extend_cli()
    assert [command.name for command in commands] == ["mine"]


# --- Who asks --------------------------------------------------------------------------------------------------------


def test_authenticate_takes_the_leftmost_answer(plug: Plug) -> None:
    """The first plugin in the setting's order that knows the credentials decides, and those after it are not asked."""
    asked = []

    def plugin(name: str, answer: Principal | None) -> object:
        class Asked:
            @hookimpl
            def authenticate(self) -> Principal | None:
                asked.append(name)
                return answer

        return Asked()

    manager = loading.manage({"a": plugin("a", None), "b": plugin("b", ME), "c": plugin("c", ANONYMOUS)})
    assert Gate(manager).authenticate(None) is ME  # type: ignore[arg-type]
    assert asked == ["a", "b"]


def test_authenticate_wrong_credentials_are_401_everywhere(plug: Plug) -> None:
    """A credential that is recognised and wrong is a refusal even where nobody need say who they are."""

    class Wrong:
        @hookimpl
        def authenticate(self) -> None:
            raise BadCredentials("no such key")

    answer = plug(Wrong(), Somebody()).get("/collections")
    assert (answer.status_code, answer.json["code"]) == (401, "InvalidCredentials")


def test_challenge_tells_caches_what_answers_depend_on(plug: Plug) -> None:
    """Where people are known by a header field of its own, no cache gives one's answer to another."""

    class Proxied:
        @hookimpl
        def challenge(self) -> list[Challenge]:
            return [Challenge("", "proxy", {"type": "apiKey", "in": "header", "name": "X-Remote-User"})]

    assert "X-Remote-User" in plug(Proxied()).get("/collections").vary
    assert "X-Remote-User" not in plug(Somebody()).get("/collections").vary


def test_challenge_is_sent_and_documented(plug: Plug) -> None:
    """How a plugin wants to be asked stands in WWW-Authenticate, with the error of a wrong token, and in OpenAPI."""

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


def test_refresh_principal_says_who_somebody_is_now(plug: Plug) -> None:
    """Through its services a plugin learns who the holder of an earlier credential is now, from who knows the kind."""

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


def test_challenge_by_cookie_is_in_vary(plug: Plug) -> None:
    """Where a plugin knows people by a cookie, no cache may hand one's answer to another's."""

    class Cookies:
        @hookimpl
        def challenge(self) -> list[Challenge]:
            return [Challenge("", "session", {"type": "apiKey", "in": "cookie", "name": "session"})]

    assert "Cookie" in plug(Cookies()).get("/collections").vary
    assert "Cookie" not in plug().get("/collections").vary


class Tokens:
    """Knows two kinds of credentials, and says what is wrong with one."""

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
def test_challenge_tells_the_error_of_the_scheme_used(plug: Plug, authorization: str, challenges: list[str]) -> None:
    """What is wrong with a token is told to who sent one (RFC 6750, 3), and to nobody else; each challenge once."""
    answer = plug(Tokens()).get("/collections", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json["description"]) == (401, 'It has "expired".')
    assert answer.headers.getlist("WWW-Authenticate") == challenges


def test_challenge_names_the_scope_that_is_missing(plug: Plug, publish: Publish) -> None:
    """A good token that is not meant for this is 403, with the scope it lacks in a challenge."""
    publish(an_item())
    answer = plug(Tokens(), Consents(), Store()).get(DOWNLOAD, headers={"Authorization": "Bearer narrow"})
    assert (answer.status_code, answer.json["code"]) == (403, "InsufficientScope")
    (challenge,) = answer.headers.getlist("WWW-Authenticate")
    assert challenge.startswith('Bearer realm="r", error="insufficient_scope", scope="download", error_description="')


# --- What may be seen ------------------------------------------------------------------------------------------------


def test_restrict_narrows_and_never_widens(plug: Plug, publish: Publish) -> None:
    """Conditions of several plugins are joined by AND; hidden collections hide their items."""
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


@pytest.mark.parametrize(
    ("wrong", "paths"),
    [
        ("collections", ("/search", "/collections", "/collections/collection", DOWNLOAD)),
        ("items", ("/search", "/collections/collection/items", "/collections/collection/items/item", DOWNLOAD)),
    ],
)
def test_a_restriction_that_is_no_condition_shows_nothing(
    plug: Plug, publish: Publish, wrong: str, paths: tuple[str, ...]
) -> None:
    """A policy's mistake is not told as one of the query's: nothing is shown, with 500, and the log says why."""
    publish(an_item())

    class Mistaken:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "no such operator", "args": []} if of == wrong else None

    client = plug(Mistaken())
    for path in paths:
        answer = client.get(path)
        assert (answer.status_code, answer.json["code"]) == (500, "ServerError"), path
        assert "operator" not in answer.text


# --- A download ------------------------------------------------------------------------------------------------------


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
def test_authorize_settles_denials_over_consents(decisions: list[Decision], allowed: bool, reason: str) -> None:
    """One denial outweighs any number of consents, and silence refuses."""
    settled = combine_decisions(decisions)
    assert (settled.allowed, settled.reason) == (allowed, reason)


def test_authorize_many_stands_for_authorize() -> None:
    """Of many assets, a plugin that answers at once is not asked one by one, and each asset has its own outcome."""
    asked = []

    class Slow:
        @hookimpl
        def authorize(self) -> None:
            asked.append("slow")

        @hookimpl
        def authorize_many(self, assets: Any) -> list[Decision | None]:
            return [Decision.deny("even") if int(asset.key) % 2 == 0 else None for asset in assets]

    class Quick:
        @hookimpl
        def authorize(self, asset: Any) -> Decision | None:
            asked.append(asset.key)
            return None if asset.key == "3" else Decision.allow("odd")

    assets = [Asset("c", "i", key, "s3://b/k") for key in "0123"]
    manager = loading.manage({"slow": Slow(), "quick": Quick()})
    weighed = Gate(manager).authorize_each(ME, assets)
    outcomes = [(one.decision if isinstance(one, Grant) else one).reason for one in weighed]
    assert outcomes == ["even", "odd", "even", "no plugin consented"]
    assert asked == ["0", "1", "2", "3"]
    unfit = replace(ME, scopes=frozenset({"read"}))
    assert not any(isinstance(one, Grant) for one in Gate(manager).authorize_each(unfit, assets))
    assert Gate(manager).authorize_each(ME, []) == []


def test_authorize_many_that_is_only_wrapped_answers_nothing() -> None:
    """Who sees what others say of many at once has not said anything: it is asked one by one."""

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
    (weighed,) = gate.authorize_each(ME, [Asset("c", "i", "k", "s3://b/k")])
    assert (weighed.decision if isinstance(weighed, Grant) else weighed).reason == "never"


def test_authorize_many_of_shipped_plugins_says_the_same(storage: Any, database: Any) -> None:
    """A quota with little left, and licences, say of many assets at once what they say of each."""
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


def test_presign_makes_hrefs_that_need_nobody(plug: Plug, publish: Publish) -> None:
    """Where hrefs are asked for ready to use, a store gives addresses at once, and each is charged."""
    publish(an_item())
    charged = []

    class Signs(Store):
        @hookimpl
        def presign(self, asset: Any, location: Location, grant_id: str) -> Redirect:
            return Redirect(f"https://store.example.org/{asset.key}?{location.path}", timedelta(minutes=15))

        @hookimpl
        def charge(self, asset: Any) -> None:
            charged.append(asset.key)

    asset = plug(Signs(), Consents()).get("/search?hrefs=signed").json["features"][0]["assets"]["data"]
    assert asset["href"].startswith("https://store.example.org/data?s3://")
    assert datetime.fromisoformat(asset["href:expires"]) > datetime.now(UTC)
    assert charged == ["data"]


def test_storage_href_is_stored_for_a_temporary_address(plug: Plug, publish: Publish) -> None:
    """An address with a query that a plugin recognises is stored as its storage address."""

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


def test_presign_and_resolve_may_be_wrapped() -> None:
    """A plugin that wraps hooks is in the way of each of many assets, too."""

    class Signs:
        @hookimpl
        def resolve(self, asset: Any) -> Location:
            return Location("store", asset.key)

        @hookimpl
        def presign(self, location: Location) -> Redirect:
            return Redirect(f"https://store.example.org/{location.path}", timedelta(minutes=15))

    class Wraps:
        @hookimpl(wrapper=True)
        def resolve(self, asset: Any) -> Any:
            found = yield
            return None if asset.key == "hidden" else found

        @hookimpl(wrapper=True)
        def presign(self, location: Location) -> Any:
            redirect = yield
            return replace(redirect, url=f"{redirect.url}?{location.store}")

    assets = [Asset("c", "i", key, "s3://b/k") for key in ("shown", "hidden")]
    gate = Gate(loading.manage({"signs": Signs(), "wraps": Wraps(), "consents": Consents()}))
    grants = [one for one in gate.authorize_each(ME, assets) if isinstance(one, Grant)]
    signed = gate.presign(grants)
    assert [redirect and redirect.url for redirect in signed] == ["https://store.example.org/shown?store", None]


def test_sign_queries_makes_download_addresses_that_need_no_headers(plug: Plug, publish: Publish) -> None:
    """What somebody counts is not presigned: it keeps its download address, with what a plugin lends for it."""
    publish(an_item())

    class Counts(Store):
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.abstain("counted", counted=True)

        @hookimpl
        def presign(self) -> Redirect:
            raise AssertionError

        @hookimpl
        def charge(self) -> None:
            raise AssertionError

    class Lends:
        @hookimpl
        def sign_queries(self, assets: Any) -> SignedQueries:
            return SignedQueries([f"ticket={asset.key}" for asset in assets], timedelta(minutes=15))

    counts = Counts()
    asset = plug(counts, Consents(), Lends()).get("/search?hrefs=signed").json["features"][0]["assets"]["data"]
    assert asset["href"] == f"http://localhost{DOWNLOAD}?ticket=data"
    assert datetime.fromisoformat(asset["href:expires"]) > datetime.now(UTC)
    plain = plug(counts, Consents()).get("/search?hrefs=signed").json["features"][0]["assets"]["data"]
    assert (plain["href"], plain.get("href:expires")) == (f"http://localhost{DOWNLOAD}", None)


def test_authorize_settled_consent_keeps_all_headers() -> None:
    """Header fields of consents and remarks reach the client, and one that counts makes the whole counted."""
    settled = combine_decisions(
        [Decision.allow("a", headers={"A": "1"}), Decision.abstain("b", headers={"B": "2"}, counted=True)]
    )
    assert (settled.headers, settled.counted) == ({"A": "1", "B": "2"}, True)


def test_authorize_refusal_ends_the_walk(plug: Plug, publish: Publish) -> None:
    """After a refusal no store is asked, and the client sees the detail but not the reason."""
    publish(an_item())
    store = Store()

    class Denies:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.deny("the reason", detail="The detail.", code="Mine", link="/terms", extra={"more": 1})

    answer = plug(Somebody(), Consents(), Denies(), store).get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"], answer.json["description"]) == (
        403,
        "Mine",
        "The detail. See http://localhost/terms.",
    )
    assert answer.json["more"] == 1
    assert answer.json["links"][0]["href"] == "http://localhost/terms"
    assert "the reason" not in answer.text
    assert store.asked == []


def test_authorize_silence_refuses(plug: Plug, publish: Publish) -> None:
    """If no plugin has an opinion, nothing leaves: 401 for who has not said who they are, else 403."""
    publish(an_item())
    assert plug(Store()).get(DOWNLOAD).status_code == 401
    assert plug(Somebody(), Store()).get(DOWNLOAD).status_code == 403


def test_resolve_silence_is_an_error_that_shows_nothing(plug: Plug, publish: Publish) -> None:
    """An href that no plugin resolves is a 404 whose answer does not name it."""
    publish(an_item())
    answer = plug(Consents()).get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"]) == (404, "NoStore")
    assert "s3://" not in answer.text


def test_deliver_redirects_or_streams(plug: Plug, publish: Publish) -> None:
    """GET is a redirect, unless the client asks for the bytes from here; a consent's headers come along."""
    publish(an_item())
    client = plug(Consents(), Store())
    redirect = client.get(DOWNLOAD)
    assert (redirect.status_code, redirect.location) == (307, "https://store.example.org/signed")
    assert redirect.headers["X-Consent"] == "yes"
    assert redirect.headers["Cache-Control"] == "private, max-age=840"
    stream = client.get(f"{DOWNLOAD}?delivery=stream")
    assert (stream.status_code, stream.data) == (200, b"0123456789")


def test_deliver_may_not_redirect_elsewhere_than_to_the_web(plug: Plug, publish: Publish) -> None:
    """An address that is none, or would smuggle header fields in, is an error and never sent."""
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
    """Has everything on tape: nobody has asked for it yet."""

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        raise Offline(order=Order("orderable"))


class Archivist:
    """Brings data online, and hears how it stands."""

    def __init__(self) -> None:
        self.ordered: list[str] = []
        self.told: list[str] = []

    @hookimpl
    def order(self, asset: Any) -> Order:
        self.ordered.append(asset.key)
        return Order("ordered", 60)

    @hookimpl
    def order_changed(self, principal: Principal, asset: Any, order: Order) -> None:
        self.told.append(f"{principal.id} {asset.key} {order.status}")


def test_order_brings_data_online_for_get_alone(plug: Plug, publish: Publish) -> None:
    """Who asks for data on tape orders them, and is told where to look; looking orders nothing."""
    publish(an_item())
    archivist = Archivist()
    client = plug(Somebody(), Consents(), Tape(), archivist)
    status = DOWNLOAD.replace("/download/", "/orders/")
    assert client.head(DOWNLOAD).status_code == 202
    assert client.get(status).json["order:status"] == "orderable"
    assert archivist.ordered == []
    answer = client.get(DOWNLOAD)
    assert (answer.status_code, answer.json["order:status"], answer.headers["Retry-After"]) == (202, "ordered", "60")
    assert answer.headers["Location"] == f"http://localhost{status}"
    assert archivist.ordered == ["data"]


def test_order_by_nobody_is_503(plug: Plug, publish: Publish) -> None:
    """Where no plugin brings the data online, coming again soon would be in vain."""
    publish(an_item())
    answer = plug(Consents(), Tape()).get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "Offline", "86400")


def test_order_changed_hears_how_it_stands(plug: Plug, publish: Publish) -> None:
    """After each 202 and each look, until the data are there."""
    publish(an_item())
    archivist = Archivist()
    client = plug(Somebody(), Consents(), Tape(), archivist)
    client.head(DOWNLOAD)
    client.get(DOWNLOAD)
    plug(Somebody(), Consents(), Store(), archivist).get(DOWNLOAD.replace("/download/", "/orders/"))
    assert archivist.told == ["me data orderable", "me data ordered", "me data succeeded"]


def test_charge_comes_last_and_may_refuse(plug: Plug, publish: Publish) -> None:
    """A download is booked once all else is ready, its bytes known; HEAD books nothing; a denial sends nothing."""
    publish(an_item())
    booked = []

    class Counts:
        @hookimpl
        def charge(self, byte_range: Any) -> Decision | None:
            booked.append((byte_range.first, byte_range.length))
            return Decision.deny("used up", kind="exhausted", retry_after=7) if len(booked) > 2 else None

    store = Store()
    client = plug(Somebody(), Consents(), Counts(), store)
    client.head(DOWNLOAD)
    assert booked == []
    client.get(DOWNLOAD)
    client.get(f"{DOWNLOAD}?delivery=stream", headers={"Range": "bytes=2-5"})
    assert booked == [(0, None), (2, 4)]
    refused = client.get(DOWNLOAD)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert "Location" not in refused.headers


def test_charge_many_books_an_archive_or_nothing_of_it(plug: Plug, publish: Publish) -> None:
    """Of an archive, a plugin that books at once is not asked one by one; who refuses it, refuses each asset of it."""
    publish(an_item(assets={key: {"href": f"s3://bucket/{key}"} for key in "abc"}))
    asked: list[Any] = []

    class AtOnce:
        room = 3

        @hookimpl
        def charge(self) -> None:
            asked.append("never")

        @hookimpl
        def charge_many(self, assets: Any, byte_ranges: Any) -> Decision | None:
            asked.append(
                [(asset.key, byte_range.length) for asset, byte_range in zip(assets, byte_ranges, strict=True)]
            )
            return None if len(assets) <= self.room else Decision.deny("too much", kind="exhausted")

    class OneByOne:
        @hookimpl
        def charge(self, asset: Any) -> None:
            asked.append(asset.key)

    at_once, hears = AtOnce(), Hears()
    client = plug(Somebody(), Consents(), at_once, OneByOne(), hears, Store())
    archive = DOWNLOAD.replace("/download/data", "/download.zip")
    assert client.get(archive).status_code == 200
    assert asked == [[("a", 10), ("b", 10), ("c", 10)], "a", "b", "c"]
    asked.clear()
    hears.verdicts.clear()
    at_once.room = 2
    assert client.get(archive).status_code == 429
    assert asked == [[("a", 10), ("b", 10), ("c", 10)]]
    assert sorted((one.asset.key, one.decision.reason) for one in hears.verdicts) == [
        (key, "too much") for key in "abc"
    ]


def test_charge_many_that_is_only_wrapped_books_nothing() -> None:
    """Who sees what others book at once has not booked anything: it is asked one by one."""
    booked: list[str] = []

    class Watches:
        @hookimpl
        def charge(self, asset: Any) -> None:
            booked.append(asset.key)

        @hookimpl(wrapper=True)
        def charge_many(self) -> Any:
            return (yield)

    gate = Gate(loading.manage({"watches": Watches(), "consents": Consents()}))
    grants = [gate.authorize(ME, Asset("c", "i", key, "s3://b/k")) for key in "ab"]
    assert len(list(gate.charge_many(grants, [ByteRange(0, 1)] * 2, "stream"))) == 2
    assert booked == ["a", "b"]


def test_charge_is_not_asked_when_no_bytes_leave(plug: Plug, publish: Publish) -> None:
    """304, 412 and 416 cost nothing."""
    publish(an_item())

    class Counts:
        @hookimpl
        def charge(self) -> Decision:
            return Decision.deny("must not be asked")

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
def test_a_plugin_that_breaks_closes_the_door(plug: Plug, publish: Publish, hook: str) -> None:
    """Whatever hook of a download breaks, no address and no bytes leave."""
    publish(an_item())

    def breaks(self: object) -> None:
        raise RuntimeError("broken")

    broken = type("Broken", (), {hook: hookimpl(breaks)})()
    answer = plug(broken, Consents(), Store()).get(DOWNLOAD)
    assert answer.status_code == 500
    assert "Location" not in answer.headers


def test_unavailable_says_when_to_come_again(plug: Plug, publish: Publish) -> None:
    """A plugin that cannot tell right now leads to a 503 with Retry-After."""
    publish(an_item())

    class Away:
        @hookimpl
        def authorize(self) -> None:
            raise Unavailable("The licence server is away.", retry_after=30)

    answer = plug(Away(), Consents(), Store()).get(DOWNLOAD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_order_states_are_put_into_the_item(plug: Plug, publish: Publish) -> None:
    """What plugins know of orders stands at the assets; an item of which nothing is known is as it was."""
    publish(an_item(), an_item("plain"))

    class Knows:
        def __init__(self, status: str) -> None:
            self.status = status

        @hookimpl
        def order_states(self, collection: str, item: str) -> dict[str, str] | None:
            return {"data": self.status, "gone": "shipping"} if item == "item" else None

    client = plug(Knows("shipping"), type("Second", (Knows,), {})("succeeded"))
    known = client.get("/collections/collection/items/item")
    assert known.json["assets"]["data"]["order:status"] == "shipping"
    signed = client.get("/collections/collection/items/item?hrefs=signed")
    assert signed.json["assets"]["data"]["order:status"] == "shipping"
    assert "gone" not in known.json["assets"]
    assert (
        client.get("/collections/collection/items/item", headers={"If-None-Match": known.headers["ETag"]}).status_code
        == 304
    )
    assert "order:status" not in client.get("/collections/collection/items/plain").text


class Hears:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.verdicts: list[DownloadDecision] = []
        self.transfers: list[StreamResult] = []
        self.answers: list[tuple[str, str, int]] = []
        self.figures: dict[str, float] = {}

    @hookimpl
    def download_decided(self, download_decision: DownloadDecision) -> None:
        self.verdicts.append(download_decision)

    @hookimpl
    def stream_finished(self, stream_result: StreamResult) -> None:
        self.transfers.append(stream_result)

    @hookimpl
    def response_ready(self, route: str, method: str, status: int, seconds: float) -> None:
        assert seconds > 0
        self.answers.append((route, method, status))

    @hookimpl
    def metric_recorded(self, name: str, value: float) -> None:
        self.figures[name] = value


class Refuses:
    """Refuses every download."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.deny(self.reason)


def test_download_decided_tells_who_granted_what_and_how(plug: Plug, publish: Publish) -> None:
    """A download about to leave is told once: to whom, what, which plugin consented and why, and how it leaves."""
    publish(an_item())
    hears = Hears()
    client = plug(Somebody(), Consents(), Store(), hears)
    client.head(DOWNLOAD)
    client.get(DOWNLOAD, headers={"X-Request-ID": "r1", "User-Agent": "test/1"})
    client.get(f"{DOWNLOAD}?delivery=stream", headers={"Range": "bytes=2-5"})
    redirect, stream = hears.verdicts
    assert (redirect.principal, redirect.asset.key, redirect.decision.allowed) == (ME, "data", True)
    assert (redirect.decision.by, redirect.decision.reason, redirect.others) == ("Consents", "test", ())
    assert redirect.request_info == RequestInfo("r1", "GET", "127.0.0.1", "test/1")
    assert (redirect.delivery, redirect.byte_range) == ("redirect", ByteRange(0, None))
    assert (stream.delivery, stream.byte_range) == ("stream", ByteRange(2, 4, 10))
    assert redirect.id != stream.id


def test_download_decided_tells_who_refused_and_who_else_would_have(plug: Plug, publish: Publish) -> None:
    """A refusal is told with the plugin that decided and those that would have refused as well, for HEAD too."""
    publish(an_item())
    hears = Hears()
    two = type("Second", (Refuses,), {})
    client = plug(Refuses("first"), two("second"), Store(), hears)
    assert client.get(DOWNLOAD).status_code == client.head(DOWNLOAD).status_code == 401
    for download_decision in hears.verdicts:
        assert (download_decision.decision.by, download_decision.decision.reason, download_decision.delivery) == (
            "Refuses",
            "first",
            None,
        )
        assert [(other.by, other.reason) for other in download_decision.others] == [("Second", "second")]
    assert [download_decision.request_info.method for download_decision in hears.verdicts] == ["GET", "HEAD"]


def test_download_decided_tells_of_silence_and_of_a_charge_that_is_refused(plug: Plug, publish: Publish) -> None:
    """Where nobody vouched, the house itself decided; where the quota is used up, the plugin that counts did."""
    publish(an_item())

    class Counts:
        @hookimpl
        def charge(self) -> Decision:
            return Decision.deny("used up", kind="exhausted")

    silent, counting = Hears(), Hears()
    assert plug(Store(), silent).get(DOWNLOAD).status_code == 401
    assert plug(Somebody(), Consents(), Counts(), Store(), counting).get(DOWNLOAD).status_code == 429
    assert [
        (download_decision.decision.by, download_decision.decision.reason) for download_decision in silent.verdicts
    ] == [("", "no plugin consented")]
    assert [
        (download_decision.decision.by, download_decision.decision.reason) for download_decision in counting.verdicts
    ] == [("Counts", "used up")]


def test_download_decided_sees_the_client_behind_a_trusted_proxy(plug: Plug, publish: Publish) -> None:
    """The client's address is what a trusted proxy tells, and the connection's own where nobody is trusted."""
    publish(an_item())
    trusting, wary = Hears(), Hears()
    told = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    trust = {"STACFLASK_TRUSTED_PROXIES": "127.0.0.0/8"}
    client = plug(Consents(), Store(), trusting, environ=trust)
    client.get(DOWNLOAD, headers=told)
    client.get(DOWNLOAD, headers={"Forwarded": 'for="[2001:db8::1]:4711";proto=https'})
    client.get(DOWNLOAD, headers={"X-Forwarded-For": "unknown"})
    plug(Consents(), Store(), wary).get(DOWNLOAD, headers=told)
    assert [download_decision.request_info.address for download_decision in trusting.verdicts] == [
        "198.51.100.7",
        "2001:db8::1",
        "127.0.0.1",
    ]
    assert [download_decision.request_info.address for download_decision in wary.verdicts] == ["127.0.0.1"]


def test_stream_finished_tells_what_was_sent(plug: Plug, publish: Publish) -> None:
    """The end of a stream is told once, with the bytes that left and whether they were all; redirects have none."""
    publish(an_item())
    hears = Hears()
    client = plug(Consents(), Store(), hears)
    client.get(DOWNLOAD)
    client.get(f"{DOWNLOAD}?delivery=stream", headers={"Range": "bytes=2-5"}, buffered=True)
    client.get(f"{DOWNLOAD}?delivery=stream").close()
    assert [(stream_result.sent, stream_result.complete) for stream_result in hears.transfers] == [
        (4, True),
        (0, False),
    ]
    assert [stream_result.download_decision for stream_result in hears.transfers] == hears.verdicts[1:]


def test_stream_finished_tells_of_a_store_that_does_not_open(plug: Plug, publish: Publish) -> None:
    """What was decided and then could not be opened has ended, too, with nothing sent."""
    publish(an_item())

    class Closed(Store):
        @hookimpl
        def deliver(self, streamed: bool) -> Stream:
            def opened(first: int, length: int) -> Iterator[bytes]:
                raise Unavailable("closed")

            return Stream(opened, 10)

    hears = Hears()
    assert plug(Consents(), Closed(), hears).get(DOWNLOAD).status_code == 503
    assert [(stream_result.sent, stream_result.complete) for stream_result in hears.transfers] == [(0, False)]


def test_response_ready_tells_the_rule_and_never_the_path(plug: Plug) -> None:
    """Each answer is told with its rule, so that ids do not multiply what is measured; an unknown address has none."""
    hears = Hears()
    client = plug(hears)
    client.get("/collections/secret")
    client.post("/nowhere")
    assert hears.answers == [("/collections/<collection_id>", "GET", 404), ("", "POST", 404)]


def test_metric_recorded_hears_the_house_and_its_plugins(plug: Plug) -> None:
    """The time of the database is told, and whatever a plugin observes."""

    class Counts:
        @hookimpl
        def startup(self, services: Any) -> None:
            services.record_metric("things", 3)

    hears = Hears()
    plug(Counts(), hears).get("/collections")
    assert hears.figures["things"] == 3
    assert hears.figures["database_seconds"] > 0


# --- Changes ---------------------------------------------------------------------------------------------------------


def test_authorize_change_switches_transactions_on(plug: Plug, publish: Publish) -> None:
    """Without a plugin that has a word on changes there is no such address; with silent ones, each is refused."""
    publish(a_collection())

    class Silent:
        @hookimpl
        def authorize_change(self) -> None:
            return None

    closed = plug()
    assert closed.post("/collections", json=a_collection("new")).status_code == 405
    assert not any("transaction" in uri for uri in closed.get("/conformance").json["conformsTo"])
    silent = plug(Silent(), Somebody())
    assert silent.post("/collections", json=a_collection("new")).status_code == 403
    assert any("transaction" in uri for uri in silent.get("/conformance").json["conformsTo"])


def test_authorize_change_knows_what_is_changed(plug: Plug, publish: Publish) -> None:
    """Action, collection and item are what the request is about."""
    publish(an_item())
    changes = []

    class Notes:
        @hookimpl
        def authorize_change(self, change: Any) -> Decision:
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


# --- Wrong plugins stop the start ------------------------------------------------------------------------------------


def test_misspelt_hook_stops_the_start() -> None:
    """A hook that does not exist is told with the plugin's name."""
    misspelt = type("Plugin", (), {"authorise": hookimpl(lambda self: None)})()
    with pytest.raises(SettingError, match=r"STACFLASK_PLUGINS: mine: .*authorise"):
        loading.manage({"mine": misspelt})


def test_unknown_argument_stops_the_start() -> None:
    """So is an argument that the hook does not have."""
    wrong = type("Plugin", (), {"authorize": hookimpl(lambda self, user: None)})()
    with pytest.raises(SettingError, match=r"mine: .*user"):
        loading.manage({"mine": wrong})


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["plugins.no_such"], "there is no module 'plugins.no_such'"),
        (["nosuch"], "no installed distribution"),
        (["plugins.open_access", "plugins.open_access"], "named twice"),
    ],
)
def test_wrong_names_stop_the_start(names: list[str], complaint: str) -> None:
    """A plugin that is not there, or named twice, is told by its name."""
    with pytest.raises(SettingError, match=complaint):
        loading.load_plugins(names, {})


def test_order_is_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leftmost name is asked first, and ``answerers`` shows that order."""
    manager = loading.manage({"left": Consents(), "right": Consents()})
    assert dict(loading.answerers(manager))["authorize"] == ["left", "right"]
    assert dict(loading.answerers(manager))["charge"] == []


def test_specs_and_module_agree() -> None:
    """What this module reads from the source is what pluggy has registered."""
    assert SPECS.keys() == {name for name in vars(loading.manage({}).hook) if hasattr(hookspecs, name)}
