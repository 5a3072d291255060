"""Every field of every value that a plugin returns is validated. A wrong value grants nothing and names the plugin."""
# mypy: disable-error-code="arg-type,list-item,misc,var-annotated"

import copy
import json
from collections import OrderedDict, UserList, deque, namedtuple
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import abort, redirect
from werkzeug.routing import RequestRedirect

from stacflask import (
    ANONYMOUS,
    Asset,
    Challenge,
    Cookie,
    Decision,
    DownloadDecision,
    Endpoint,
    EndpointResponse,
    Location,
    Missing,
    Offline,
    Order,
    Principal,
    Redirect,
    Refused,
    Request,
    SettingError,
    SignedQueries,
    Stream,
    Unavailable,
    hookimpl,
)
from stacflask.gate import Gate
from stacflask.pluginmanager import loading, result_checks
from stacflask.testing import Plug, Publish, an_item

DOWNLOAD = "/collections/collection/items/item/download/data"
ITEM = "/collections/collection/items/item"
SOON = timedelta(minutes=5)
ME = Principal("me", scheme="test")
WRONG: Any = object()


class FixedResult:
    """Implements one hook that returns ``given``, or the result of ``given`` if it is a function."""

    given: Any = None

    def answer(self) -> Any:
        return self.given() if callable(self.given) and not isinstance(self.given, type) else self.given


def a_plugin_with(hook: str) -> FixedResult:
    """Return a plugin that implements one hook."""
    mine: FixedResult = type("Mine", (FixedResult,), {hook: hookimpl(lambda self: self.answer())})()
    return mine


class Store:
    """Resolves and delivers every asset."""

    @hookimpl
    def resolve(self, asset: Asset) -> Location:
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        return Stream(lambda _first, length: iter([b"x" * length]), 10) if streamed else Redirect("https://s/", SOON)


class Consents:
    """Allows every download."""

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.allow("anybody")


@pytest.fixture
def check_500(plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Return a function that checks that each wrong result of a hook is a 500, and is logged with the plugin's name."""
    publish(an_item())

    def check(hook: str, wrong: list[Any], path: str = DOWNLOAD, *others: object, **more: Any) -> None:
        plugin = a_plugin_with(hook)
        client = plug(plugin, *(others or (Consents(), Store())))
        for given in wrong:
            plugin.given = given
            answer = client.open(path, **more)
            assert (answer.status_code, answer.json["code"]) == (500, "ServerError"), given
            assert f"Mine: {hook}: " in capfd.readouterr().err, given

    return check


# --- Fields ----------------------------------------------------------------------------------------------------------


def test_every_field_of_every_value_has_a_check() -> None:
    """Each field of each value has a check, including fields that are added later."""
    for kind, checks in result_checks.FIELDS.items():
        assert list(checks) == [field.name for field in fields(kind)]


PRINCIPAL: Any = Principal
LOCATION: Any = Location


def decision(**members: Any) -> Any:
    return Decision(**{"allowed": True, "reason": "mine", **members})


def test_wrong_decisions_grant_nothing(check_500: Any) -> None:
    """A decision with a wrong field is an error, even if another plugin consents."""
    inner = type("Inner", (Decision,), {})
    wrong = [
        *[decision(allowed=value) for value in (0, 1, "no", "", 0.0, [], "False", object())],
        *[decision(reason=value) for value in (None, b"x", 3, "\ud800", "x" * 20_000)],
        *[decision(detail=value) for value in (3, b"x", ["x"], "\udfff")],
        *[decision(kind=value) for value in (None, "teapot", 403, [])],
        *[decision(code=value) for value in (3, "", "a b", 'a"b', "a\r\nb")],
        *[
            decision(link=value)
            for value in ("https://elsewhere.org/", "//elsewhere.org", "/\\e", "/a b", "/a\r\nb", 3)
        ],
        *[decision(retry_after=value) for value in (-1, True, 1.5, "5", float("nan"), 10**400)],
        *[decision(counted=value) for value in (0, 1, None, "yes")],
        *[decision(rel=value) for value in (None, "", "License", 'a"b', "a b", "https://a/>b", "x" * 2_000)],
        *[decision(scope=value) for value in (3, 'a"b', "a\nb")],
        *[decision(extra=value) for value in (None, [], {"code": "Mine"}, {"a": {1}}, {1: 2}, {"a": "x" * 100_000})],
        lambda: inner(True, "mine"),
    ]
    check_500("authorize", wrong)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "0"},
        {"content-type": "text/html"},
        {"Cache-Control": "public"},
        {"Set-Cookie": "a=b"},
        {"Location": "https://elsewhere.org"},
        {"X-Accel-Redirect": "/secret"},
        {"X-Sendfile": "/etc/passwd"},
        {"X-Content-Type-Options": ""},
        {"X-Request-ID": "mine"},
        {"Access-Control-Allow-Origin": "*"},
        {"Transfer-Encoding": "chunked"},
        {"WWW-Authenticate": "Basic"},
        {"ETag": '"x"'},
        {"Vary": "*"},
        {"X-Mine": "a\r\nSet-Cookie: b=c"},
        {"X-Mine\r\nSet-Cookie": "b=c"},
        {"X-Mine": 3},
        {"X-Mine": None},
        {"X-Mine": b"x"},
        {"X-Mine": "€"},
        {"X-Mine": ["a", "b"]},
        {"X-Mine": "a", "x-mine": "b"},
        {3: "a"},
        {"": "a"},
        [("X-Mine", "a")],
        None,
    ],
)
def test_decisions_cannot_set_reserved_header_fields(headers: Any) -> None:
    """A decision can set rate limits, links and custom X- fields with valid values, and no other fields."""
    for given in (decision(headers=headers), Decision(False, "no", headers=headers)):
        plugin = a_plugin_with("authorize")
        plugin.given = given
        with pytest.raises(TypeError, match="Mine: authorize: expected headers to be"):
            Gate(loading.manage({"Mine": plugin})).authorize(ME, Asset("c", "i", "k", "s3://b/k"))


def test_wrong_principals_grant_nothing(check_500: Any) -> None:
    """A principal must have a name, groups and scopes of the right types."""
    wrong = [
        *[PRINCIPAL(value, scheme="x") for value in (None, "", 3, b"me", "a\nb", "a\0", "\ud800")],
        *[PRINCIPAL("me", value, "x") for value in (["a"], {"a"}, "a", None, frozenset({1}), frozenset({""}))],
        *[PRINCIPAL("me", scheme=value) for value in (None, 3, "a\r\n")],
        *[PRINCIPAL("me", scheme="x", scopes=value) for value in ("read", ["read"], frozenset({1}), ())],
        *[PRINCIPAL("me", scheme="x", claims=value) for value in (None, [], "a", {1: 2})],
        *[PRINCIPAL("me", scheme="x", reference=value) for value in (None, 3, "a\0")],
        *[PRINCIPAL("me", scheme="x", until=value) for value in (3, "2030-01-01", datetime(2030, 1, 1))],  # noqa: DTZ001
        type("Me", (Principal,), {"may": lambda self, scope: True})("me", scheme="x"),
        Principal,
        "me",
    ]
    check_500("authenticate", [lambda given=given: given for given in wrong])


def test_wrong_further_groups_grant_nothing(check_500: Any) -> None:
    """Further groups that are not a frozenset of names are an error."""
    check_500("principal_groups", ["members", ["members"], {"members"}, frozenset({1}), frozenset({""}), True, {}])


def test_wrong_conditions_hide_all(check_500: Any) -> None:
    """A restriction must be a condition in JSON, True or False. With another value, nothing is shown."""
    deep: Any = {"op": "not", "args": []}
    for _ in range(100):
        deep = {"op": "not", "args": [deep]}
    wrong = [
        *("id = 'x'", 0, 1, b"x", [], {}, {"args": []}, {"op": 1, "args": []}, deep, 1.0, {"op": {"a"}}),
        {"op": "=", "args": [{"property": "a"}, float("nan")]},
        {"op": "in", "args": [{"property": "id"}, {"a", "b"}]},
        {"op": "=", "args": [{"property": "a"}, b"x"]},
        {"op": "=", "args": [{"property": "a"}, datetime.now(UTC)]},
        {1: 2, "op": "not", "args": [True]},
        OrderedDict(op="=", args=["a", "a"]),
        (one for one in ()),
    ]
    check_500("restrict", wrong, ITEM)


@pytest.mark.parametrize("condition", [{"op": "nope", "args": [1, 2]}, {"op": "=", "args": [{"property": "a"}]}])
def test_invalid_conditions_name_the_plugin(
    condition: Any, plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """A condition with an unknown operator is reported with the plugin's name."""
    publish(an_item())
    plugin = a_plugin_with("restrict")
    plugin.given = condition
    client = plug(plugin)
    assert [client.get(path).status_code for path in (ITEM, "/search", "/collections")] == [500] * 3
    assert "plugin Mine, hook restrict" in capfd.readouterr().err


def test_wrong_locations_grant_nothing(check_500: Any) -> None:
    """A location must have a store and a path, both of them text."""
    wrong = [
        # The placeholder of a field without a default must not skip the check.
        *[LOCATION(value, "p") for value in (None, 3, "", "a\n", b"s3", MISSING)],
        *[LOCATION("s", value) for value in (None, 3, b"x", "\ud800")],
        *[LOCATION("s", "p", value) for value in (None, [], {1: 2})],
        *("s3://b/k", ("s", "p"), Location),
    ]
    check_500("resolve", wrong)


BAD_URLS = [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "ftp://h/x",
    "//h/x",
    "/x",
    "",
    "https://",
    "https:///x",
    "https://user:password@h/x",
    "https://s3.example.org@evil.org/x",
    "https://h/a b",
    "https://h/\r\nSet-Cookie: a=b",
    "https://h/x\n  out=../../.bashrc",
    "https://h\\@evil.org/",
    "https://h/x#y",
    "https://h/ä",
    'https://h/"x',
    "https://h/<x>",
    "https://h:port/",
    "https://h:65536/",
    "https://h/\0",
    "https://h/" + "x" * 20_000,
    b"https://h/x",
    None,
    3,
]
LIFETIMES = [None, 300, 5.0, "5m", timedelta(seconds=-1), timedelta.max]


def test_wrong_redirects_are_not_sent(check_500: Any) -> None:
    """A redirect must have an absolute http or https URL, and a valid lifetime."""
    check_500(
        "deliver", [*(Redirect(url, SOON) for url in BAD_URLS), *(Redirect("https://h/", one) for one in LIFETIMES)]
    )


def test_wrong_presigned_urls_are_not_shown(check_500: Any) -> None:
    """The results of ``presign`` are validated like those of ``deliver``."""
    wrong = [*(Redirect(url, SOON) for url in BAD_URLS), *(Redirect("https://h/", one) for one in LIFETIMES)]
    check_500("presign", [*([one] for one in wrong), ["https://h/x"], []], "/search?hrefs=signed")


@pytest.mark.parametrize("form", ["json", "aria2", "list", "metalink"])
def test_urls_of_plugins_add_no_lines_to_manifests(form: str, plug: Plug, publish: Publish) -> None:
    """A line break in a presigned URL adds no line to a manifest."""
    publish(an_item())
    plugin = a_plugin_with("presign")
    plugin.given = [Redirect("https://h/x\n  out=../../.bashrc", SOON)]
    answer = plug(plugin, Consents(), Store()).post(
        f"/downloads?f={form}&hrefs=signed", json={"search": {"ids": ["item"]}}
    )
    assert (answer.status_code, b"bashrc" in answer.data) == (500, False)


def test_wrong_signed_queries_are_not_shown(check_500: Any) -> None:
    """``sign_queries`` must return one query for each asset, in characters of URLs."""

    class Counts:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("counted", counted=True)

    queries: list[Any] = [
        "",
        "x",
        "a=b c",
        "a=b#c",
        "a=b\r\nX: y",
        "https://evil.org/",
        "a=ä",
        None,
        b"a=b",
        3,
        "a\n=b",
    ]
    wrong = [
        *(SignedQueries([query], SOON) for query in queries),
        *(SignedQueries(several, SOON) for several in ([], ["a=b", "a=c"], "a", None, {"a=b"})),
        *(SignedQueries(["a=b"], one) for one in LIFETIMES),
        ["a=b"],
    ]
    check_500("sign_queries", wrong, "/search?hrefs=signed", Counts(), Store())


def stream(**members: Any) -> Any:
    return Stream(**{"open": lambda _first, _length: iter([b"x"]), "length": 1, **members})


def test_wrong_streams_are_not_sent(check_500: Any) -> None:
    """A stream must have a size in bytes if it has one, a strong validator and a time with a time zone."""
    wrong = [
        *[stream(open=value) for value in (None, b"x", iter([b"x"]))],
        *[stream(ranges=value) for value in (None, 1)],
        *[stream(changed=value) for value in (None, 1)],
        *[stream(length=value) for value in (-1, True, 1.0, "1", 1 << 63, float("inf"))],
        *[stream(etag=value) for value in ("x", 'W/"x"', '"a"b"', '"x"\r\n', b'"x"', 3, '"€"')],
        *[stream(last_modified=value) for value in (3, "today", datetime(2024, 1, 1))],  # noqa: DTZ001
        type("Mine", (Stream,), {})(lambda _first, _length: iter([b"x"]), 1),
    ]
    check_500("deliver", [lambda given=given: given for given in wrong], f"{DOWNLOAD}?delivery=stream")


@pytest.mark.parametrize(
    "given",
    [
        lambda: None,
        lambda: b"0123456789",
        lambda: ["0123456789"],
        lambda: [bytearray(b"0123456789")],
        lambda: [None],
        lambda: iter([b""] * 2_000),
        lambda: abort(404),
        lambda: (_ for _ in ()).throw(SystemExit(3)),
        lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
        lambda: (_ for _ in ()).throw(GeneratorExit()),
    ],
)
def test_wrong_chunks_abort_a_stream(given: Any) -> None:
    """The chunks of a stream must be bytes. Other chunks, and exceptions, are errors of the plugin."""
    plugin = a_plugin_with("deliver")
    plugin.given = lambda: Stream(lambda _first, _length: given(), 10)
    gate = Gate(loading.manage({"Mine": plugin, "consents": Consents()}))
    grant = gate.authorize(ME, Asset("c", "i", "k", "s3://b/k"))
    delivery: Any = gate.deliver(grant, Location("s", "p"), streamed=True)
    with pytest.raises((TypeError, RuntimeError)) as raised:
        list(delivery.open(0, 10))
    assert "Mine" in f"{raised.value} {getattr(raised.value, '__notes__', '')}"


def test_wrong_orders_are_not_shown(check_500: Any) -> None:
    """An order must have one of five states, and a number of seconds."""

    class Tape:
        @hookimpl
        def resolve(self, asset: Asset) -> Location:
            raise Offline(order=Order("orderable"))

    wrong = [
        *[Order(value) for value in ("lost", None, 3, "")],
        *[Order("ordered", value) for value in (-1, True, "5", 1.5, 10**400, None)],
        "ordered",
    ]
    check_500("order", wrong, DOWNLOAD, Consents(), Tape())


def test_wrong_states_of_orders_are_not_shown(check_500: Any) -> None:
    """An item never shows an invalid state of an order."""
    check_500("order_states", [{"data": "lost"}, {"data": None}, {3: "ordered"}, ["data"], "x", {"data": {}}], ITEM)


def test_wrong_charges_grant_nothing(check_500: Any) -> None:
    """``charge`` must return a denial or None; a consent or an abstention is an error."""
    wrong = [Decision.allow("x"), Decision.abstain("x"), True, False, Decision(0, "x"), Decision("no", "x")]
    check_500("charge", wrong)


@pytest.mark.parametrize(
    "given",
    [[], [None, None], (Decision.allow("x"),) * 3, [True], {Decision: 1}, iter([None]), None, [decision(allowed=1)]],
)
def test_authorize_many_returns_one_result_for_each_asset(given: Any) -> None:
    """Too many results, too few, and None are errors of the plugin."""

    class Many(FixedResult):
        @hookimpl
        def authorize(self) -> None:
            return None

        @hookimpl
        def authorize_many(self) -> Any:
            return self.given

    many = Many()
    many.given = given
    gate = Gate(loading.manage({"Mine": many, "consents": Consents()}))
    with pytest.raises(TypeError, match="Mine: authorize_many: "):
        gate.authorize_each(ME, [Asset("c", "i", "k", "s3://b/k")])


@pytest.mark.parametrize(
    ("hook", "given"),
    [
        ("challenge", Challenge("Mine\r\nX: y", "mine", {"type": "http"})),
        ("challenge", Challenge("Mine", "a b", {"type": "http"})),
        ("challenge", Challenge("Mine", "mine", {})),
        ("challenge", Challenge("", "mine", {"type": "apiKey", "in": "header", "name": "X\r\nY"})),
        ("challenge", Challenge("Mine", "mine", {"type": "http"}, "x")),
        ("extend_api", Endpoint("PATCH", "/mine", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/<path:x>", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/{x:path}", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/{x}/{x}", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/../search", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "//mine", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine%2f", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine", None, "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), None, {})),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), "Mine.", {}, scope="all")),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), "Mine.", {}, public=1)),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), "Mine.", {}, status="200")),
    ],
)
def test_wrong_values_at_startup_stop_the_start(hook: str, given: Any) -> None:
    """The results of hooks at startup are validated."""
    plugin = a_plugin_with(hook)
    plugin.given = [given]
    with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: mine: {hook}: ") as error:
        loading.check_constant_hooks(loading.manage({"mine": plugin}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        EndpointResponse({1, 2}),
        EndpointResponse(object()),
        EndpointResponse("\ud800"),
        EndpointResponse(b"x", media_type="text/plain"),
        EndpointResponse(None, media_type="text/html"),
        EndpointResponse({}, media_type="text/html\r\nX: y"),
        EndpointResponse({}, 99),
        EndpointResponse({}, True),
        EndpointResponse({}, "200"),
        EndpointResponse({}, 1000),
        EndpointResponse({}, headers={"Content-Length": "3"}),
        EndpointResponse({}, headers={"Set-Cookie": "a=b"}),
        EndpointResponse({}, headers={"X-Mine": "a\r\nb"}),
        EndpointResponse({}, headers={"X Mine": "a"}),
        EndpointResponse({}, cookies=[Cookie("a b", "c", 1)]),
        EndpointResponse({}, cookies=[Cookie("a", "b; Domain=example.org", 1)]),
        EndpointResponse({}, cookies=[Cookie("a", "b", -1)]),
        EndpointResponse({}, cookies=[Cookie("a", "b", 1, "/; Domain=example.org")]),
        EndpointResponse({}, cookies=["a=b"]),
        EndpointResponse.redirect("https://h/\r\nX: y"),
        {"a": 1},
        None,
        ("", 204),
        EndpointResponse,
    ],
)
def test_wrong_responses_of_endpoints_are_not_sent(given: Any, plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    """The results of endpoint handlers are validated."""
    plugin = a_plugin_with("extend_api")
    plugin.given = [Endpoint("GET", "/mine", lambda _: given, "Mine.", {})]
    assert plug(plugin).get("/mine").status_code == 500
    assert "Mine: GET /mine: expected" in capfd.readouterr().err


# --- Exceptions ------------------------------------------------------------------------------------------------------

RAISED: list[Callable[[], BaseException]] = [
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    lambda: RequestRedirect("https://elsewhere.org/"),
    lambda: SettingError("DATABASE_URL", "postgresql://u:secret@h/d"),
    lambda: BaseException("mine"),
    lambda: Unavailable("x", retry_after="5\r\nX: y"),
    lambda: Unavailable(None),
    lambda: Missing("x", code="a b\r\n"),
    lambda: Missing("\ud800"),
    lambda: Offline("x", order="soon"),
    lambda: Refused(Decision.allow("x")),
    lambda: Refused(Decision.deny("x", headers={"Set-Cookie": "a=b"})),
]


def raising(make: Callable[[], BaseException]) -> Callable[[], Any]:
    def fails() -> Any:
        raise make()

    return fails


@pytest.mark.parametrize(
    "hook",
    ["authenticate", "principal_groups", "restrict", "authorize", "resolve", "deliver", "charge", "download_decided"],
)
def test_exceptions_of_hooks_are_own_errors_or_a_500(hook: str, check_500: Any) -> None:
    """No exception of a hook ends a worker, shows a setting, or replaces the response."""
    check_500(hook, [lambda: abort(404), lambda: abort(redirect("/search")), *map(raising, RAISED)])


def test_exceptions_of_endpoints_are_own_errors_or_a_500(plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    """The same holds for the handlers of endpoints."""
    for fails in (lambda: abort(404), *map(raising, RAISED)):
        plugin = a_plugin_with("extend_api")
        plugin.given = [Endpoint("GET", "/mine", lambda _, fails=fails: fails(), "Mine.", {})]
        answer = plug(plugin).get("/mine")
        assert (answer.status_code, answer.json["code"]) == (500, "ServerError")
        assert "secret" not in answer.text
        assert "Mine: GET /mine: " in capfd.readouterr().err


def test_a_signal_in_a_plugin_ends_the_process() -> None:
    """Ctrl-C while a plugin is called interrupts the program. It is no error of the plugin."""
    import signal

    plugin = a_plugin_with("startup")
    plugin.given = lambda: signal.raise_signal(signal.SIGINT)
    manager = loading.manage({"Mine": plugin})
    with pytest.raises(KeyboardInterrupt):
        manager.hook.startup(services=None)


@pytest.mark.parametrize(("user", "status"), [(None, 401), (ME, 403)])
def test_the_status_of_a_refusal_depends_on_the_principal(plug: Plug, user: Principal | None, status: int) -> None:
    """A refusal of an endpoint is a 401 for an anonymous request, else a 403. The plugin need not state which."""
    plugin = a_plugin_with("extend_api")
    refuses = raising(lambda: Refused(Decision.deny("mine")))
    plugin.given = [Endpoint("GET", "/mine", lambda _: refuses(), "Mine.", {})]
    assert plug(plugin).get("/mine", user=user).status_code == status


def test_a_refusal_during_authentication_is_a_401(plug: Plug) -> None:
    """A refusal of ``authenticate`` has no principal, so it is a 401."""
    plugin = a_plugin_with("authenticate")
    plugin.given = raising(lambda: Refused(Decision.deny("mine")))
    assert plug(plugin).get("/search").status_code == 401


@pytest.mark.parametrize("hook", ["authorize", "charge", "resolve", "deliver"])
def test_a_raised_refusal_is_recorded(hook: str, plug: Plug, publish: Publish) -> None:
    """A plugin that raises Refused denies the download, and the denial is recorded."""
    publish(an_item())
    recorded: list[DownloadDecision] = []

    class Records:
        @hookimpl
        def download_decided(self, download_decision: DownloadDecision) -> None:
            recorded.append(download_decision)

    plugin = a_plugin_with(hook)
    plugin.given = raising(lambda: Refused(Decision.deny("mine", code="Mine")))
    client = plug(plugin, Consents(), Store(), Records())
    assert client.get(DOWNLOAD).status_code == 401
    assert [(one.decision.code, one.decision.by) for one in recorded] == [("Mine", "Mine")]


def test_a_refused_asset_does_not_affect_others(plug: Plug, publish: Publish) -> None:
    """A refusal in ``resolve`` on a page of signed hrefs is recorded, and the other assets are signed."""
    publish(an_item(assets={"data": {"href": "s3://b/closed"}, "more": {"href": "s3://b/open"}}))
    recorded: list[DownloadDecision] = []

    class Signs:
        @hookimpl
        def resolve(self, asset: Asset) -> Location:
            if asset.key == "data":
                raise Refused(Decision.deny("mine"))
            return Location("test", asset.href)

        @hookimpl
        def presign(self) -> list[Redirect]:
            return [Redirect("https://s/signed", SOON)]

        @hookimpl
        def download_decided(self, download_decision: DownloadDecision) -> None:
            recorded.append(download_decision)

    assets = plug(Signs(), Consents()).get("/collections/collection/items/item?hrefs=signed").json["assets"]
    assert assets["more"]["href"] == "https://s/signed"
    assert "/download/data" in assets["data"]["href"]
    assert [(one.asset.key, one.decision.allowed) for one in recorded] == [("data", False), ("more", True)]


@pytest.mark.parametrize("hook", ["principal_groups", "restrict", "presign", "sign_queries", "download_decided"])
def test_hooks_without_decisions_cannot_refuse(hook: str, check_500: Any) -> None:
    """A refusal in a hook whose refusals are not recorded is a 500 that names the plugin, not a 403."""
    path = f"{DOWNLOAD.partition('/download/')[0]}?hrefs=signed" if hook in ("presign", "sign_queries") else DOWNLOAD
    check_500(hook, [raising(lambda: Refused(Decision.deny("mine")))], path)


@pytest.mark.parametrize("note", ["two\nlines", "", "bell\a", 5, b"bytes"])
def test_notes_on_the_setup_are_lines(note: Any) -> None:
    """`stacflask check` prints notes of plugins, which must be text of one line."""
    plugin = a_plugin_with("check_setup")
    plugin.given = [note]
    with pytest.raises(TypeError, match="mine: check_setup: expected"):
        loading.manage({"mine": plugin}).hook.check_setup()


@pytest.mark.parametrize("hook", ["response_ready", "metric_recorded", "stream_finished"])
def test_failing_observers_change_no_response(
    hook: str, plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """The exception of an observer is logged with the plugin's name, and the other observers are called."""
    publish(an_item())
    called: list[str] = []
    watches = type("Watches", (), {hook: hookimpl(lambda self: called.append(hook))})()
    for fails in (lambda: abort(404), lambda: True, *map(raising, RAISED)):
        plugin = a_plugin_with(hook)
        plugin.given = fails
        answer = plug(plugin, watches, Consents(), Store()).get(f"{DOWNLOAD}?delivery=stream", buffered=True)
        assert (answer.status_code, answer.data) == (200, b"x" * 10)
        assert called
        assert f"plugin=Mine hook={hook}" in capfd.readouterr().err


# --- Arguments -------------------------------------------------------------------------------------------------------

CHANGES: list[Callable[[Any], Any]] = [
    lambda one: one.pop("embargoed"),
    lambda one: one.clear(),
    lambda one: one.update(embargoed=False),
    lambda one: one.__setitem__("embargoed", False),
    lambda one: one.setdefault("new", 1),
    lambda one: one.popitem(),
    lambda one: one.__delitem__("embargoed"),
    lambda one: one.__ior__({"embargoed": False}),
    lambda one: one.__init__({"embargoed": False}),
    lambda one: one["deep"].clear(),
    lambda one: one["deep"]["er"].append(1),
    lambda one: one["deep"]["er"][0].update(a=2),
    lambda one: one["list"].sort(),
    lambda one: one["list"].__iadd__([4]),
    lambda one: one["list"].__setitem__(0, 4),
    lambda one: dict(one)["deep"].clear(),
    lambda one: next(part for part in one.values() if isinstance(part, dict)).clear(),
    lambda one: dict(one.items())["deep"].clear(),
    lambda one: {**one}["deep"].clear(),
    lambda one: (one | {})["deep"].clear(),
    lambda one: copy.copy(one)["deep"].clear(),
]
HELD: dict[str, Any] = {"embargoed": True, "deep": {"er": [{"a": 1}]}, "list": [1, 2, 3]}


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_arguments_of_hooks_cannot_be_changed(change: int, plug: Plug, publish: Publish) -> None:
    """A plugin cannot change the properties by which the next plugin denies an asset."""
    publish(an_item(properties={"datetime": "2024-06-01T12:00:00Z", **HELD}))

    class Changes:
        @hookimpl
        def authorize(self, asset: Asset) -> None:
            with pytest.raises(TypeError):
                CHANGES[change](asset.properties)

    class Denies:
        @hookimpl
        def authorize(self, asset: Asset) -> Decision | None:
            held = {name: asset.properties[name] for name in HELD}
            return Decision.deny("embargoed") if held == HELD else None

    assert plug(Changes(), Denies(), Consents(), Store()).get(DOWNLOAD).status_code == 401


def test_claims_cannot_be_changed() -> None:
    """Claims are read-only. Principals without claims share one empty mapping in the process."""
    claims = {"tier": {"name": "gold"}}
    me = Principal("me", scheme="test", claims=claims)
    claims["tier"]["name"] = "lead"
    claims["more"] = {}
    assert "more" not in me.claims
    for one in (me.claims, me.claims["tier"], ANONYMOUS.claims):
        with pytest.raises(TypeError, match="read-only"):
            one["a"] = "b"


def test_sequences_of_other_classes_cannot_be_changed() -> None:
    """Claims can have values of other classes, such as a queue or a named tuple. No part of them can be changed."""
    pair = namedtuple("pair", "first second")  # noqa: PYI024 - without types, as plugins write it
    given = {"queue": deque([1]), "own": UserList([1]), "pair": pair([1], {}), "set": {1}}
    claims = Principal("me", scheme="test", claims=given).claims
    assert claims["pair"].first == [1]
    changes: list[Callable[[], Any]] = [
        lambda: claims["queue"].append(2),
        lambda: claims["own"].append(2),
        lambda: claims["pair"].first.append(2),
        lambda: claims["pair"].second.update(a=1),
        lambda: claims["set"].add(2),
    ]
    for change in changes:
        with pytest.raises((TypeError, AttributeError)):
            change()


def test_arguments_of_hooks_are_json() -> None:
    """Read-only views are dicts and lists. They can be written as JSON, compared, and copied to mutable values."""
    properties = Asset("c", "i", "k", "s3://b/k", properties=HELD).properties
    assert json.loads(json.dumps(properties)) == properties == HELD
    assert isinstance(properties["deep"], dict)
    assert isinstance(properties["list"], list)
    mine = copy.deepcopy(properties)
    mine["deep"]["er"].append({"b": 2})
    assert properties == HELD


def test_requests_cannot_be_changed(plug: Plug) -> None:
    """A plugin cannot change the request through its header fields."""
    seen: list[Request] = []

    class Reads:
        @hookimpl
        def authenticate(self, request: Request) -> None:
            seen.append(request)
            assert (request.headers["x-mine"], request.headers.get("X-Other")) == ("a", None)
            assert "X-MINE" in request.headers
            with pytest.raises(KeyError):
                request.headers["X-Other"]
            for name in ("headers", "query", "cookies"):
                with pytest.raises(TypeError):
                    getattr(request, name)["X-Mine"] = "b"

    assert plug(Reads()).get("/collections?a=b", headers={"X-Mine": "a"}).status_code == 200
    assert not hasattr(seen[0].headers, "environ")


def test_many_assets_cannot_be_changed() -> None:
    """All plugins receive the same assets in ``authorize_many``."""

    class Takes:
        @hookimpl
        def authorize(self) -> None:
            return None

        @hookimpl
        def authorize_many(self, assets: Any) -> list[None]:
            assert isinstance(assets, tuple)
            return [None] * len(assets)

    gate = Gate(loading.manage({"takes": Takes(), "consents": Consents()}))
    assert len(gate.authorize_each(ME, [Asset("c", "i", "k", "s3://b/k")])) == 1


# --- Wrappers --------------------------------------------------------------------------------------------------------


class Denies:
    """Denies every download."""

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.deny("never")


def wrapping(hook: str, change: Callable[[Any], Any]) -> object:
    """Return a plugin that wraps a hook."""

    def wraps(self: object) -> Any:
        result = yield
        return change(result)

    return type("Wraps", (), {hook: hookimpl(wrapper=True)(wraps)})()


def test_a_wrapper_that_overrides_is_logged(plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrapper can override the results of other plugins, but the change is logged with its name."""
    publish(an_item())
    changes: list[Callable[[Any], Any]] = [lambda _: [Decision.allow("mine")], lambda result: result[1:]]
    for change in changes:
        client = plug(wrapping("authorize", change), Denies(), Consents(), Store())
        assert client.get(DOWNLOAD).status_code == 307
        line = next(line for line in capfd.readouterr().err.splitlines() if "changed by wrapper" in line)
        assert "plugin=Wraps hook=authorize before=denial by Denies: never; consent by Consents: anybody" in line
    assert "by=Wraps" not in line


def test_a_wrapper_that_changes_nothing_is_not_logged(
    plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """A result that a wrapper returns unchanged is not logged."""
    publish(an_item())
    assert plug(wrapping("authorize", lambda result: result), Consents(), Store()).get(DOWNLOAD).status_code == 307
    assert "changed by wrapper" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("hook", "change"),
    [
        ("authorize", lambda _: [decision(allowed=1)]),
        ("authorize", lambda _: Decision.allow("x")),
        ("authorize", lambda _: [True]),
        ("authorize", lambda _: None),
        ("resolve", lambda _: "x"),
        ("deliver", lambda _: Redirect("file:///etc/passwd", SOON)),
        ("charge", lambda _: Decision.allow("x")),
        ("restrict", lambda _: [1]),
        ("authenticate", lambda _: "me"),
    ],
)
def test_results_of_wrappers_are_validated(
    hook: str, change: Callable[[Any], Any], plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """The result of a wrapper is validated like that of the hook."""
    publish(an_item())
    client = plug(wrapping(hook, change), Consents(), Store())
    assert client.get(DOWNLOAD).status_code == 500
    assert f"Wraps: {hook}: expected" in capfd.readouterr().err


def test_a_wrapper_cannot_change_a_result_in_place(plug: Plug, publish: Publish) -> None:
    """If a wrapper changes a restriction in place, the original restriction applies."""
    publish(an_item())

    def change(result: list[Any]) -> list[Any]:
        result[0]["args"].clear()
        result[0]["op"] = "or"
        return []

    hides = a_plugin_with("restrict")
    hides.given = {"op": "=", "args": [{"property": "id"}, "nothing"]}
    client = plug(hides, wrapping("restrict", lambda result: [*map(copy.copy, result)]))
    assert client.get(ITEM).status_code == 404
    plug(hides, wrapping("restrict", change)).get(ITEM)
    assert hides.given == {"op": "=", "args": [{"property": "id"}, "nothing"]}


# --- Kinds of functions ----------------------------------------------------------------------------------------------


async def _later(self: object) -> None:
    return None


async def _several(self: object) -> Any:
    yield None


def _generator(self: object) -> Any:
    yield None


@pytest.mark.parametrize("hook", ["authorize", "download_decided", "startup", "response_ready", "extend_api"])
def test_hooks_are_plain_functions(hook: str) -> None:
    """An async function or a generator as a hook is an error at startup, even if it returns nothing."""
    for function, kind in (
        (_later, "an async function"),
        (_several, "an async generator"),
        (_generator, "a generator"),
    ):
        plugin = type("Plugin", (), {hook: hookimpl(function)})()
        with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: mine: {hook} is {kind}; expected a plain function"):
            loading.manage({"mine": plugin})


@pytest.mark.parametrize("hook", ["authorize", "download_decided"])
def test_coroutines_of_plain_functions_grant_nothing(hook: str, check_500: Any) -> None:
    """A coroutine as the result of a plain function is an error, and so is a result where None is expected."""
    check_500(hook, [lambda: _later(None), lambda: _several(None), lambda: _generator(None), lambda: True])


def test_endpoints_and_commands_are_plain_functions() -> None:
    """An async handler or command is an error at startup."""
    import click

    async def handler(_: Any) -> EndpointResponse:
        return EndpointResponse({})

    for hook, given in (
        ("extend_api", Endpoint("GET", "/mine", handler, "Mine.", {})),
        ("extend_cli", click.Command("mine", callback=_later)),
        ("extend_cli", click.Group("mine", commands=[click.Command("part", callback=_later)])),
    ):
        plugin = a_plugin_with(hook)
        plugin.given = [given]
        with pytest.raises(SettingError, match=f"mine: {hook}: .*plain"):
            loading.check_constant_hooks(loading.manage({"mine": plugin}))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/{anything}"),
        ("GET", "/{anything}"),
        ("POST", "/collections"),
        ("PUT", "/search"),
        ("GET", "/search/"),
        ("GET", "/collections/{a}/items/{b}/download/{c}"),
        ("GET", "/collections/{a}/items/{b}/{c}/{d}"),
        ("POST", "/collections/{a}/{b}"),
        ("GET", "/{a}/{b}/items"),
        ("GET", "/co{x}"),
        ("GET", "/signed/mine"),
        ("POST", "/signed/{a}/{b}"),
    ],
)
def test_paths_of_stacflask_are_not_available(method: Any, path: str, plug: Plug) -> None:
    """A plugin cannot add an endpoint at a path of stacflask, with any method or variable."""
    plugin = a_plugin_with("extend_api")
    plugin.given = [Endpoint(method, path, lambda _: EndpointResponse({}), "Mine.", {})]
    with pytest.raises(SettingError, match=r"Mine: extend_api: .* the path is already used by /") as error:
        plug(plugin)
    assert "\n" not in str(error.value)


def test_paths_of_other_plugins_are_not_available(plug: Plug) -> None:
    """A path variable of one plugin cannot match the path of another. Paths of one plugin can overlap."""
    first, second = a_plugin_with("extend_api"), type("Other", (type(a_plugin_with("extend_api")),), {})()
    first.given = [
        Endpoint("GET", f"/mine/{one}", lambda _: EndpointResponse({}), "Mine.", {}) for one in ("{x}", "fixed")
    ]
    assert plug(first).get("/mine/fixed").status_code == 200
    second.given = [Endpoint("GET", "/mine/other", lambda _: EndpointResponse({}), "Mine.", {})]
    with pytest.raises(SettingError, match=r"the path is already used by /mine/\{x\} of Mine"):
        plug(first, second)
